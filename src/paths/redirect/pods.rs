//! What is read off a pod: whether it is selected and ready, and what its labels call it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::tls;

/// Labels that controllers write: they tell pods of one version apart.
const OF_CONTROLLERS: [&str; 3] = ["pod-template-hash", "controller-revision-hash", "pod-template-generation"];

/// Whether a selector selects a pod; an empty one selects none.
pub(crate) fn is_selected(pod: &Pod, selector: &BTreeMap<String, String>) -> bool {
    let labels = pod.labels();
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether Kubernetes sends it requests.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Whether its addresses are its own: not those of its node, and not those of one that has ended.
pub(super) fn has_addresses(pod: &Pod) -> bool {
    let host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    !host && !matches!(phase, "Succeeded" | "Failed")
}

/// The name by which its application calls itself.
pub(crate) fn application(pod: &Pod) -> Option<&str> {
    ["app", "app.kubernetes.io/name", "k8s-app"].iter().find_map(|key| pod.labels().get(*key)).map(String::as_str)
}

/// The version by which it does.
pub(super) fn version(pod: &Pod) -> Option<&str> {
    ["version", "app.kubernetes.io/version"].iter().find_map(|key| pod.labels().get(*key)).map(String::as_str)
}

/// The subset that it belongs to among the pods of a selector: the values of its other labels, in the order of their keys.
pub(crate) fn subset(pod: &Pod, selector: &BTreeMap<String, String>) -> Option<String> {
    // A label with a prefix belongs to a tool, not to the person who told versions apart.
    let tells = |key: &str| !selector.contains_key(key) && !key.contains('/') && !OF_CONTROLLERS.contains(&key);
    let labels = pod.labels().iter().filter(|(key, value)| tells(key) && !value.is_empty());
    let values: Vec<&str> = labels.map(|(_, value)| value.as_str()).collect();
    if values.is_empty() { None } else { Some(values.join("-")) }
}

/// Why it is not ready, in the words of Kubernetes; `None` if it says nothing.
pub(super) fn obstacle(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let state = container.state.as_ref()?;
        let waiting = state.waiting.as_ref().map(|it| (it.reason.clone(), it.message.clone()));
        let ended = state.terminated.as_ref().map(|it| (it.reason.clone(), it.message.clone()));
        let (reason, message) = waiting.or(ended)?;
        Some([reason, message].into_iter().flatten().collect::<Vec<_>>().join(": "))
    });
    let scheduling = || {
        let conditions = status.conditions.iter().flatten();
        let failing = conditions.filter(|it| it.type_ == "PodScheduled" && it.status == "False");
        failing
            .map(|it| [it.reason.clone(), it.message.clone()].into_iter().flatten().collect::<Vec<_>>().join(": "))
            .next()
    };
    let told = waiting.or_else(scheduling).filter(|told| !told.is_empty())?;
    // A volume that cannot be mounted is told in events alone; by then the pod has no network either.
    let has_begun =
        status.conditions.iter().flatten().any(|it| it.type_ == "PodReadyToStartContainers" && it.status == "True");
    let awaited = if told == "ContainerCreating" && !has_begun { tls::awaited(pod) } else { None };
    let awaited = awaited.map_or_else(String::new, |awaited| format!(": {awaited}"));
    Some(format!("pod {}: {told}{awaited}", pod.name_any()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(labels: &serde_json::Value, status: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "labels": labels}, "status": status})).unwrap()
    }

    #[test]
    fn a_subset_is_what_the_selector_leaves_open() {
        let selector = BTreeMap::from([("app".to_owned(), "reviews".to_owned())]);
        let cases = [
            (json!({"app": "reviews", "version": "v4"}), Some("v4")),
            (json!({"app": "reviews", "version": "v4", "pod-template-hash": "x", "example.com/a": "b"}), Some("v4")),
            (json!({"app": "reviews", "tier": "a", "version": "v4"}), Some("a-v4")),
            (json!({"app": "reviews"}), None),
        ];
        for (labels, expected) in cases {
            assert_eq!(subset(&pod(&labels, &json!({})), &selector).as_deref(), expected, "{labels}");
        }
    }

    #[test]
    fn an_obstacle_is_told_in_the_words_of_kubernetes() {
        let waiting = json!({"containerStatuses": [{
            "name": "proxy", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }]});
        assert_eq!(obstacle(&pod(&json!({}), &waiting)).as_deref(), Some("pod p: ImagePullBackOff: no such image"));
        let scheduling = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}]});
        assert_eq!(obstacle(&pod(&json!({}), &scheduling)).as_deref(), Some("pod p: Unschedulable: full"));
        assert_eq!(obstacle(&pod(&json!({}), &json!({}))), None);
    }

    #[test]
    fn what_a_pod_waits_for_is_told_until_it_may_start_containers() {
        let creating = |ready: &str| {
            json!({
                "containerStatuses": [{
                    "name": "proxy", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
                    "state": {"waiting": {"reason": "ContainerCreating"}},
                }],
                "conditions": [{"type": "PodReadyToStartContainers", "status": ready}],
            })
        };
        let mounting = |ready: &str| {
            let mut pod = serde_json::to_value(pod(&json!({}), &creating(ready))).unwrap();
            let volumes = json!([{"name": "certificate-443", "secret": {"secretName": "ratings-tls"}}]);
            pod["spec"] = json!({"containers": [], "volumes": volumes});
            obstacle(&serde_json::from_value(pod).unwrap()).unwrap()
        };
        assert!(
            mounting("False").contains("ContainerCreating: it waits for its volumes: is there a Secret ratings-tls")
        );
        assert_eq!(mounting("True"), "pod p: ContainerCreating");
        assert_eq!(obstacle(&pod(&json!({}), &creating("False"))).as_deref(), Some("pod p: ContainerCreating"));
    }
}
