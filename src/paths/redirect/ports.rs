//! The ports that a proxy has to listen on for a Service: its own target ports, as numbers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Container, Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// A port that a proxy listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    /// The number, as the real pods have it.
    pub(super) number: u16,
    /// The names under which the Service finds it, where it does so by name.
    pub(super) names: Vec<String>,
    /// The port of the Service that it is for: the first one with this number.
    pub(super) service_port: u16,
    /// Other ports of the Service with the same number: who comes through them cannot be told apart from the rest.
    pub(super) also: Vec<u16>,
}

/// Why there is nothing to listen on for a port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unlistenable {
    /// No pod says which number the name of the target port has.
    #[error("no ready pod has a container port named {name:?}, which port {port} of the Service leads to")]
    Unnamed {
        /// The name.
        name: String,
        /// The port of the Service.
        port: i32,
    },
    /// The number is not one that a port can have.
    #[error("port {0} of the Service leads to no port that there is")]
    Number(i32),
}

/// What a proxy listens on for the TCP ports of a Service, whose ready pods are `pods`.
pub(super) fn listens(service: &Service, pods: &[&Pod]) -> Result<Vec<Listen>, Unlistenable> {
    let mut listens: BTreeMap<u16, Listen> = BTreeMap::new();
    for port in ports(service).filter(|port| is_tcp(port)) {
        let service_port = u16::try_from(port.port).map_err(|_| Unlistenable::Number(port.port))?;
        let (number, name) = target(port, pods)?;
        let listen =
            listens.entry(number).or_insert_with(|| Listen { number, names: vec![], service_port, also: vec![] });
        if listen.service_port != service_port {
            listen.also.push(service_port);
        }
        listen.names.extend(name.filter(|name| !listen.names.contains(name)));
    }
    Ok(listens.into_values().collect())
}

/// The ports of a Service.
pub(super) fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

/// Whether a port is one of TCP, which is what a port is that does not say.
pub(super) fn is_tcp(port: &ServicePort) -> bool {
    port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
}

/// The number that a port leads to, and its name if it has one.
fn target(port: &ServicePort, pods: &[&Pod]) -> Result<(u16, Option<String>), Unlistenable> {
    let number =
        |number: i32| u16::try_from(number).ok().filter(|number| *number > 0).ok_or(Unlistenable::Number(port.port));
    match &port.target_port {
        None => Ok((number(port.port)?, None)),
        // The API server has 0 where a target port was left out by some clients.
        Some(IntOrString::Int(0)) => Ok((number(port.port)?, None)),
        Some(IntOrString::Int(target)) => Ok((number(*target)?, None)),
        Some(IntOrString::String(name)) => {
            // Pods may differ in the number; any will do, since Kubernetes looks for the name in our pods, too.
            let numbers = pods.iter().flat_map(|pod| named(pod, name, "TCP"));
            let lowest = numbers.min().ok_or(Unlistenable::Unnamed { name: name.clone(), port: port.port })?;
            Ok((number(lowest)?, Some(name.clone())))
        }
    }
}

/// The numbers that a name of this protocol has in a pod.
pub(super) fn named(pod: &Pod, name: &str, protocol: &str) -> BTreeSet<i32> {
    let ports = containers(pod).flat_map(|container| container.ports.iter().flatten());
    let of_protocol = ports.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == protocol);
    of_protocol.filter(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port).collect()
}

/// The containers that serve in a pod: sidecars are among its init containers.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    let sidecars = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.into_iter().flat_map(|spec| &spec.containers).chain(sidecars)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Number, names, port of the Service, its other ports.
    type Told = (u16, Vec<String>, u16, Vec<u16>);

    fn listens_of(ports: &Value, pods: &[Value]) -> Result<Vec<Told>, String> {
        let service: Service = serde_json::from_value(json!({"spec": {"ports": ports}})).unwrap();
        let pods: Vec<Pod> = pods
            .iter()
            .map(|ports| json!({"spec": {"containers": [{"name": "c", "ports": ports}]}}))
            .map(|pod| serde_json::from_value(pod).unwrap())
            .collect();
        let listens = super::listens(&service, &pods.iter().collect::<Vec<_>>()).map_err(|error| error.to_string())?;
        Ok(listens.into_iter().map(|it| (it.number, it.names, it.service_port, it.also)).collect())
    }

    #[test]
    fn a_proxy_listens_where_the_real_pods_do() {
        let http = || json!([{"name": "http", "containerPort": 8080}]);
        let cases = [
            ("no target", json!([{"port": 80}]), vec![], vec![(80, vec![], 80, vec![])]),
            ("a number", json!([{"port": 80, "targetPort": 8080}]), vec![], vec![(8080, vec![], 80, vec![])]),
            (
                "a name",
                json!([{"port": 80, "targetPort": "http"}]),
                vec![http()],
                vec![(8080, vec!["http".to_owned()], 80, vec![])],
            ),
            (
                "a name with two numbers",
                json!([{"port": 80, "targetPort": "http"}]),
                vec![json!([{"name": "http", "containerPort": 9090}]), http()],
                vec![(8080, vec!["http".to_owned()], 80, vec![])],
            ),
            (
                "two ports that lead to one",
                json!([{"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81, "targetPort": "http"}]),
                vec![http()],
                vec![(8080, vec!["http".to_owned()], 80, vec![81])],
            ),
            (
                "UDP is not ours",
                json!([{"port": 53, "protocol": "UDP"}, {"port": 80}]),
                vec![],
                vec![(80, vec![], 80, vec![])],
            ),
        ];
        for (case, ports, pods, expected) in cases {
            assert_eq!(listens_of(&ports, &pods), Ok(expected), "{case}");
        }
    }

    #[test]
    fn a_name_that_no_pod_has_is_told() {
        let error = listens_of(&json!([{"port": 80, "targetPort": "web"}]), &[]).unwrap_err();
        assert!(error.contains("\"web\"") && error.contains("port 80"), "{error}");
    }
}
