//! What is found in the Service itself, and in what stands for it already.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;

use super::{
    super::{
        Owner, names,
        names::{EXPERIMENT, EXPERIMENT_UID},
        objects::NOT_MESHED_LABELS,
        patch, pods, ports,
    },
    Findings, Reason, Seen, Wants,
};

/// Namespaces whose failure takes down the cluster, or its mesh.
const PROTECTED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "istio-system"];
/// Keys that controllers write to each pod that they make, and take from the Service again.
const CONTROLLER_KEYS: [&str; 4] = [
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];
const ROLLOUT_ANNOTATIONS: [&str; 2] = ["argo-rollouts.argoproj.io/managed-by-rollouts", "flagger.app/managed-by"];
/// Annotations of load balancers that dial pods by themselves.
const DIALS_PODS: [&str; 3] = [
    "cloud.google.com/neg",
    "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type",
    "networking.gke.io/load-balancer-type",
];

pub(super) fn inspect(seen: &Seen, service: &Service, owner: &Owner, wants: &Wants, findings: &mut Findings) {
    identity(service, findings);
    kind(service, findings);
    selector(service, findings);
    claim(seen, service, owner, findings);
    port_list(seen, service, owner, wants, findings);
    traffic(service, findings);
}

/// Whose Service it is.
fn identity(service: &Service, findings: &mut Findings) {
    let namespace = service.namespace().unwrap_or_default();
    if PROTECTED.contains(&namespace.as_str()) {
        findings.error(
            Reason::ProtectedNamespace,
            format!("faults in {namespace} could take down the whole cluster; choose a Service of an application"),
        );
    }
    if service.metadata.deletion_timestamp.is_some() {
        findings.error(Reason::BeingDeleted, "the Service is being deleted; wait until it has been created again");
    }
    if names::is_ours(&service.metadata) {
        findings.error(
            Reason::OwnObject,
            "this is the origin of a Service that glooshot redirects; name that Service itself",
        );
    }
    if let Some(controller) = names::controller(service) {
        findings.error(
            Reason::OwnedByController,
            format!(
                "{} {} writes this Service and would take back what we change; name a Service that no controller owns, \
                 or use the Istio path",
                controller.kind, controller.name
            ),
        );
    }
    if let Some(tool) = ROLLOUT_ANNOTATIONS.into_iter().find(|key| service.annotations().contains_key(*key)) {
        findings.error(
            Reason::RolloutTool,
            format!("a rollout tool changes the selector of this Service ({tool}); name one that it does not manage"),
        );
    }
}

/// What kind of Service it is.
fn kind(service: &Service, findings: &mut Findings) {
    let Some(spec) = &service.spec else { return };
    match spec.type_.as_deref() {
        Some("ExternalName") => findings.error(
            Reason::ExternalName,
            "the Service is only a name for something outside the cluster; use the Istio path with a ServiceEntry",
        ),
        Some("LoadBalancer") => findings.warn(
            Reason::LoadBalancer,
            "its load balancer checks health through the proxies and counts their faults; exempt its addresses, or \
             break a Service behind it",
        ),
        _ => {}
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        findings.error(
            Reason::Headless,
            "a headless Service has no address of its own: clients dial its pods; name a Service with a ClusterIP, or \
             use the Istio path",
        );
    }
    if let Some(key) = DIALS_PODS.into_iter().find(|key| service.annotations().contains_key(*key)) {
        findings.warn(
            Reason::LoadBalancer,
            format!(
                "its load balancer dials pods by itself ({key}) and may take minutes to follow; raise routing.settle"
            ),
        );
    }
}

/// By what it selects.
fn selector(service: &Service, findings: &mut Findings) {
    let selector = patch::original(service);
    if selector.is_empty() {
        findings.error(
            Reason::NoSelector,
            "the Service has no selector: somebody else writes its endpoints; name a Service that selects pods",
        );
    }
    for key in selector.keys() {
        if CONTROLLER_KEYS.contains(&key.as_str()) {
            findings.error(
                Reason::ControllerKey,
                format!("the Service selects by {key}, which a controller changes with each rollout; name the stable Service"),
            );
        }
        let reserved = [names::MANAGED_BY, names::SERVICE_UID, names::EXPERIMENT_UID];
        if reserved.contains(&key.as_str()) || NOT_MESHED_LABELS.iter().any(|(other, _)| other == key) {
            findings.error(
                Reason::ReservedKey,
                format!("the Service selects by {key}, which our own pods need; select by a label of the application"),
            );
        }
    }
}

/// Who has redirected it already.
fn claim(seen: &Seen, service: &Service, owner: &Owner, findings: &mut Findings) {
    match patch::record(service) {
        Err(error) => findings.error(
            Reason::BrokenAnnotation,
            format!(
                "{error}; remove it: kubectl annotate service -n {} {} {}-",
                service.namespace().unwrap_or_default(),
                service.name_any(),
                names::REDIRECT
            ),
        ),
        Ok(Some(record)) if record.experiment.uid != owner.uid => {
            findings.error(Reason::AlreadyRedirected, already(&record.experiment.to_string()));
        }
        Ok(_) => {}
    }
    let Some(origin) = &seen.origin else { return };
    if !names::is_ours(&origin.metadata) {
        findings.error(
            Reason::OriginNameTaken,
            format!("there is a Service {} that is not ours, in the place of the origin; rename it", origin.name_any()),
        );
    } else if origin.labels().get(EXPERIMENT_UID) != Some(&owner.uid) {
        let first = origin
            .annotations()
            .get(EXPERIMENT)
            .map_or_else(|| "another experiment".to_owned(), |it| format!("the experiment {it}"));
        if !findings.0.iter().any(|finding| finding.reason == Reason::AlreadyRedirected) {
            findings.error(Reason::AlreadyRedirected, already(&first));
        }
    }
}

fn already(first: &str) -> String {
    format!("{first} has redirected this Service; wait until it is over, or delete it")
}

/// Where its ports lead.
fn port_list(seen: &Seen, service: &Service, owner: &Owner, wants: &Wants, findings: &mut Findings) {
    for port in ports::ports(service).filter(|port| !ports::is_tcp(port)) {
        let protocol = port.protocol.as_deref().unwrap_or_default();
        findings.error(
            Reason::NotTcp,
            format!(
                "port {} is one of {protocol}, which would lead nowhere; put it into a Service of its own",
                port.port
            ),
        );
    }
    let selector = patch::original(service);
    let ready = |selector| -> Vec<&Pod> {
        let selected = seen.pods.iter().filter(|pod| pods::is_selected(pod, selector));
        selected.filter(|pod| pods::is_ready(pod)).collect()
    };
    let mut pods = ready(&selector);
    // A run that has redirected it already goes on, with what the proxies say of the ports.
    if pods.is_empty() && patch::is_redirected_by(service, &owner.uid) {
        pods = ready(&patch::selector(service));
    }
    if pods.is_empty() && !selector.is_empty() {
        findings.error(
            Reason::NoReadyPods,
            "no pod of the Service is ready, so that nothing could be learned; wait until one is",
        );
        return;
    }
    match ports::listens(service, &pods) {
        Err(error) => findings.error(Reason::UnknownTargetPort, format!("{error}; correct the Service or its pods")),
        Ok(listens) => {
            for listen in listens.iter().filter(|listen| !listen.also.is_empty()) {
                let all: Vec<String> =
                    [listen.service_port].iter().chain(&listen.also).map(ToString::to_string).collect();
                let message = format!(
                    "ports {} lead to port {} of the pods and cannot be told apart there",
                    all.join(", "),
                    listen.number
                );
                if listen.also.iter().any(|port| wants.ports.contains(port)) {
                    findings.error(
                        Reason::SharedTargetPort,
                        format!("{message}; name port {}, or none", listen.service_port),
                    );
                } else {
                    findings.warn(Reason::SharedTargetPort, message);
                }
            }
        }
    }
}

/// How traffic comes to it.
fn traffic(service: &Service, findings: &mut Findings) {
    let Some(spec) = &service.spec else { return };
    let local = |policy: Option<&str>| policy == Some("Local");
    if local(spec.internal_traffic_policy.as_deref()) || local(spec.external_traffic_policy.as_deref()) {
        findings.error(
            Reason::LocalTrafficPolicy,
            "with a traffic policy of Local, nodes without a proxy would drop its traffic; use Cluster",
        );
    }
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        findings.warn(
            Reason::SessionAffinity,
            "while it is redirected, a client stays with one proxy, but its requests are spread over the pods",
        );
    }
}
