//! Fields that are checked and have no effect where an experiment runs, and what to do instead: one list for every place.

use std::fmt;

use crate::experiment::{ExperimentBody, NetworkPolicyMode};

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
    const NOTHING_IS_ROUTED: &str = "callers are given the address of the proxy, and nothing else is routed";
    let routing = body.routing.as_ref();
    let all = match place {
        Place::Machine => vec![
            (body.target_mesh.is_some(), "spec.spec.targetMesh", "the proxy in this process is the only data path"),
            (!body.tls.is_empty(), "spec.spec.tls", "--tls names certificates here"),
            (routing.is_some_and(|it| it.reconnect.is_some()), "spec.spec.routing.reconnect", NOTHING_IS_ROUTED),
            (routing.is_some_and(|it| it.keep_routed.is_some()), "spec.spec.routing.keepRouted", NOTHING_IS_ROUTED),
            (
                routing.is_some_and(|it| it.network_policy.is_some()),
                "spec.spec.routing.networkPolicy",
                NOTHING_IS_ROUTED,
            ),
        ],
        Place::Cluster => vec![(
            // Refusing is what is done.
            routing.is_some_and(|it| it.network_policy == Some(NetworkPolicyMode::Mirror)),
            "spec.spec.routing.networkPolicy",
            "no policy is mirrored; let pods with the label app.kubernetes.io/managed-by=glooshot in by the policies that isolate the target",
        )],
    };
    let set = all.into_iter().filter(|(is_set, ..)| *is_set);
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
        let none: [&str; 0] = [];
        let table = [
            ("{}".to_owned(), none.to_vec(), none.to_vec()),
            (tls.to_owned(), vec!["tls"], vec![]),
            (mesh.to_owned(), vec!["targetMesh"], vec![]),
            (routing(r#""settle": "5s""#), vec![], vec![]),
            (routing(r#""keepRouted": "5s""#), vec!["routing.keepRouted"], vec![]),
            (routing(r#""networkPolicy": "Refuse""#), vec!["routing.networkPolicy"], vec![]),
            (routing(r#""networkPolicy": "Mirror""#), vec!["routing.networkPolicy"], vec!["routing.networkPolicy"]),
        ];
        for (spec, on_a_machine, in_a_cluster) in table {
            assert_eq!(found(&spec, Place::Machine), on_a_machine, "{spec}");
            assert_eq!(found(&spec, Place::Cluster), in_a_cluster, "{spec}");
        }
    }
}
