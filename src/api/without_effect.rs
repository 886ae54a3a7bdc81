//! Fields that are checked and have no effect where an experiment runs, and what to do instead: one list for every place.

use std::fmt;

use crate::experiment::ExperimentBody;

/// Where an experiment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On one machine, in one process.
    Machine,
    /// In a cluster, through proxies of our own.
    Cluster,
}

/// A field that was set, and does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithoutEffect {
    /// Its path, as in `spec.spec.tls`.
    pub path: &'static str,
    /// Where it does nothing.
    pub place: Place,
    /// What to do instead, or why there is nothing to do.
    pub instead: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "on this machine",
            Self::Cluster => "in a cluster",
        })
    }
}

impl fmt::Display for WithoutEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is noted; it has no effect {}: {}", self.path, self.place, self.instead)
    }
}

/// The fields of an experiment that have no effect in this place.
pub fn without_effect(body: &ExperimentBody, place: Place) -> Vec<WithoutEffect> {
    const ADDRESS: &str = "callers are given the address of the proxy, and nothing else is routed";
    const NO_SERVICE: &str = "no Service goes through proxies, since there is neither a fault nor a traffic condition";
    let triggers = body.failure_conditions.iter().filter_map(|condition| condition.trigger.as_ref());
    let routes_nothing = body.faults.is_empty() && triggers.into_iter().all(|trigger| trigger.traffic.is_none());
    let (always, of_routing) = match place {
        Place::Machine => (
            vec![
                (body.target_mesh.is_some(), "spec.spec.targetMesh", "the proxy in this process is the only data path"),
                (!body.tls.is_empty(), "spec.spec.tls", "--tls names certificates here"),
            ],
            Some(ADDRESS),
        ),
        Place::Cluster => (Vec::new(), routes_nothing.then_some(NO_SERVICE)),
    };
    let routing = body.routing.clone().unwrap_or_default();
    let routing = [
        (routing.reconnect.is_some(), "spec.spec.routing.reconnect"),
        (routing.keep_routed.is_some(), "spec.spec.routing.keepRouted"),
        (routing.network_policy.is_some(), "spec.spec.routing.networkPolicy"),
    ];
    let routing = of_routing.into_iter().flat_map(|why| routing.map(|(is_set, path)| (is_set, path, why)));
    let set = always.into_iter().chain(routing).filter(|(is_set, ..)| *is_set);
    set.map(|(_, path, instead)| WithoutEffect { path, place, instead }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(spec: &str, place: Place) -> Vec<&'static str> {
        let body: ExperimentBody = serde_json::from_str(spec).unwrap();
        without_effect(&body, place).into_iter().map(|it| it.path.strip_prefix("spec.spec.").unwrap()).collect()
    }

    #[test]
    fn what_is_set_for_nothing_is_said_where_it_does_nothing() {
        let tls = r#"{"tls": [{"service": {"name": "ratings"}, "certificateSecret": "ratings-tls"}]}"#;
        let mesh = r#"{"targetMesh": {"name": "glooshot-proxy", "namespace": "glooshot"}}"#;
        let routing = |field: &str| format!(r#"{{"routing": {{{field}}}}}"#);
        let fault = r#"{"faults": [{"destinationServices": [{"name": "ratings"}], "fault": {"percentage": 10}}], "routing": {"keepRouted": "5s"}}"#;
        let traffic = r#"{"failureConditions": [{"trigger": {"traffic": {"service": {"name": "ratings"}, "metric": "ErrorRate", "thresholdValue": 0.5}}}], "routing": {"keepRouted": "5s"}}"#;
        let query = r#"{"failureConditions": [{"trigger": {"webhookUrl": "u"}}], "routing": {"keepRouted": "5s"}}"#;
        let kept = || vec!["routing.keepRouted"];
        let policy = || vec!["routing.networkPolicy"];
        let none: [&str; 0] = [];
        let table = [
            ("{}".to_owned(), none.to_vec(), none.to_vec()),
            (tls.to_owned(), vec!["tls"], vec![]),
            (mesh.to_owned(), vec!["targetMesh"], vec![]),
            (routing(r#""settle": "5s""#), vec![], vec![]),
            (routing(r#""keepRouted": "5s""#), kept(), kept()),
            (routing(r#""networkPolicy": "Refuse""#), policy(), policy()),
            (routing(r#""networkPolicy": "Mirror""#), policy(), policy()),
            (routing(r#""reconnect": "None""#), vec!["routing.reconnect"], vec!["routing.reconnect"]),
            (fault.to_owned(), kept(), vec![]),
            (traffic.to_owned(), kept(), vec![]),
            (query.to_owned(), kept(), kept()),
        ];
        for (spec, on_a_machine, in_a_cluster) in table {
            assert_eq!(found(&spec, Place::Machine), on_a_machine, "{spec}");
            assert_eq!(found(&spec, Place::Cluster), in_a_cluster, "{spec}");
        }
    }
}
