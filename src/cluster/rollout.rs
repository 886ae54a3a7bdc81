//! Whether a Deployment's pods are ready, and if not, why, in the words of those who know.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod},
};
use kube::{Api, ResourceExt as _, api::ListParams};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Cluster, ClusterError};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Waits until all pods of a Deployment are ready; `tell` hears of what keeps it, whenever that is something else.
///
/// # Errors
/// When the cluster cannot be reached, or they are not ready in time.
pub(crate) async fn await_ready(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    deadline: Instant,
    mut tell: impl FnMut(&str),
) -> Result<(), ClusterError> {
    let deployments = Api::<Deployment>::namespaced(cluster.client(), namespace);
    let mut why = String::new();
    let ready = async {
        loop {
            let deployment = deployments.get(name).await.map_err(|error| cluster.explain(error))?;
            let Some(obstacle) = obstacle(&deployment) else { return Ok(()) };
            let obstacle = match pods_obstacle(cluster, namespace, &deployment).await? {
                Some(pods) => format!("{obstacle}; {pods}"),
                None => obstacle,
            };
            if obstacle != why {
                tell(&obstacle);
                why = obstacle;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    match timeout_at(deadline, ready).await {
        Ok(ready) => ready,
        Err(_) => Err(ClusterError::NotReady { namespace: namespace.to_owned(), name: name.to_owned(), why }),
    }
}

/// What a Deployment lacks; `None` when nothing.
pub(crate) fn obstacle(deployment: &Deployment) -> Option<String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let known = status.observed_generation >= deployment.metadata.generation;
    let (new, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    if known && new == wanted && available == wanted && status.replicas == Some(wanted) {
        return None;
    }
    let failures = status.conditions.unwrap_or_default();
    let failure = failures.into_iter().find(|it| it.type_ == "ReplicaFailure" && it.status == "True");
    Some(match failure.and_then(|it| it.message) {
        Some(message) => format!("its pods cannot be made: {message}"),
        None => format!("{} of {wanted} pods are ready", available.min(new)),
    })
}

async fn pods_obstacle(
    cluster: &Cluster,
    namespace: &str,
    deployment: &Deployment,
) -> Result<Option<String>, ClusterError> {
    let labels = deployment.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let selector = labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let pods = Api::<Pod>::namespaced(cluster.client(), namespace);
    let pods = pods.list(&ListParams::default().labels(&selector)).await.map_err(|error| cluster.explain(error))?;
    Ok(pods.items.iter().find_map(pod_obstacle))
}

/// What keeps a pod from being ready, if it says anything about it.
fn pod_obstacle(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let unscheduled = status.conditions.iter().flatten().find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(message) = unscheduled.and_then(|it| it.message.as_deref()) {
        return Some(format!("pod {name} has no node: {message}"));
    }
    let says = |container: &ContainerStatus| container_obstacle(container, &name, &pod.namespace().unwrap_or_default());
    status.container_statuses.iter().flatten().find_map(says)
}

fn container_obstacle(container: &ContainerStatus, pod: &str, namespace: &str) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    match reason {
        "ContainerCreating" | "PodInitializing" => None,
        "CrashLoopBackOff" => {
            Some(format!("pod {pod} ends again and again: `kubectl logs -n {namespace} {pod} --previous` shows why"))
        }
        // The kubelet says the same in two ways by turns.
        "ErrImagePull" | "ImagePullBackOff" => {
            let message = waiting.message.as_deref().unwrap_or_default();
            let cause = message.rsplit_once("ErrImagePull: ").map_or(message, |(_, cause)| cause);
            Some(format!("pod {pod}: its image cannot be pulled: {cause}"))
        }
        _ => Some(format!("pod {pod}: {reason}: {}", waiting.message.as_deref().unwrap_or("no reason given"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lacks(status: &Value) -> Option<String> {
        let deployment = json!({"metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": status});
        obstacle(&serde_json::from_value(deployment).unwrap())
    }

    #[test]
    fn a_deployment_is_ready_when_all_its_pods_are_and_none_of_an_older_version_is_left() {
        let status = |observed: i64, replicas: i32, updated: i32, available: i32| {
            lacks(
                &json!({"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available}),
            )
        };
        assert_eq!(status(2, 2, 2, 2), None);
        assert_eq!(
            status(1, 2, 2, 2).as_deref(),
            Some("2 of 2 pods are ready"),
            "it has not seen what was written last"
        );
        assert_eq!(status(2, 3, 2, 2).as_deref(), Some("2 of 2 pods are ready"), "one of before still runs");
        assert_eq!(status(2, 2, 1, 2).as_deref(), Some("1 of 2 pods are ready"));
        assert_eq!(lacks(&json!({})).as_deref(), Some("0 of 2 pods are ready"));
    }

    #[test]
    fn pods_that_cannot_be_made_are_told_with_the_reason() {
        let condition = json!({"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"});
        assert_eq!(
            lacks(&json!({"conditions": [condition]})).as_deref(),
            Some("its pods cannot be made: exceeded quota")
        );
    }

    #[test]
    fn a_pod_says_what_keeps_it() {
        let waiting = |reason: &str| {
            let state = json!({"waiting": {"reason": reason, "message": "no such image"}});
            let container =
                json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
            let pod =
                json!({"metadata": {"name": "p", "namespace": "n"}, "status": {"containerStatuses": [container]}});
            pod_obstacle(&serde_json::from_value(pod).unwrap())
        };
        assert_eq!(waiting("ContainerCreating"), None);
        assert_eq!(
            waiting("CreateContainerConfigError").as_deref(),
            Some("pod p: CreateContainerConfigError: no such image")
        );
        assert_eq!(waiting("ErrImagePull").as_deref(), Some("pod p: its image cannot be pulled: no such image"));
        assert_eq!(waiting("ErrImagePull"), waiting("ImagePullBackOff"));
        assert!(waiting("CrashLoopBackOff").unwrap().contains("kubectl logs -n n p --previous"));
    }
}
