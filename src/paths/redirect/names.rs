//! What the objects of this path are called, and the labels and annotations by which they are known. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

/// On a redirected Service: what it was, and for whom it was changed ([`super::record::Record`]).
pub const REDIRECT: &str = "glooshot.solo.io/redirect";
/// On every object that we create.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value; also the name under which we write.
pub const US: &str = "glooshot";
/// On every object that we create: the uid of the Service that it is for.
pub const SERVICE_UID: &str = "glooshot.solo.io/service-uid";
/// The same as an annotation: the name of that Service.
pub const SERVICE: &str = "glooshot.solo.io/service";
/// On every object that we create: the uid of the Experiment that it is for.
pub const EXPERIMENT_UID: &str = "glooshot.solo.io/experiment-uid";
/// The same as an annotation: namespace and name of that Experiment.
pub const EXPERIMENT: &str = "glooshot.solo.io/experiment";
/// On the pod template of a workload that was restarted so that callers connect anew, and so on its pods: the uid of the Experiment that
/// it was for.
pub const RESTARTED_FOR: &str = "glooshot.solo.io/restarted-for";
/// On proxy pods: the authorities that may have signed a controller's certificate. They are public.
pub const CONTROL_CA: &str = "glooshot.solo.io/control-ca";
/// On a namespace, by whoever may say so: the Secrets that proxies in it may mount, as in `ratings-tls, other`.
pub const TLS_SECRETS: &str = "glooshot.solo.io/tls-secrets";
/// The audience of the token that proxies show to controllers.
pub const AUDIENCE: &str = "glooshot-control";

/// Kubernetes accepts no longer name of a Service, and no longer value of a label.
const MAX_LABEL: usize = 63;
const ORIGIN_SUFFIX: &str = "-glooshot";

/// The name of the proxy for the Service with this uid (its Deployment, PodDisruptionBudget, ServiceAccount and NetworkPolicy), which is
/// also the value of every label that the Service selects by while it is redirected.
pub fn proxy(service_uid: &str) -> String {
    format!("{US}-{:016x}", fnv1a(service_uid))
}

/// The name of the NetworkPolicy by which the pods of the Service with this uid let its proxies in.
pub fn let_in(service_uid: &str) -> String {
    format!("{}-target", proxy(service_uid))
}

/// The name of the Service that keeps the list of the real pods.
pub fn origin(service: &str) -> String {
    if service.len() + ORIGIN_SUFFIX.len() <= MAX_LABEL {
        return format!("{service}{ORIGIN_SUFFIX}");
    }
    let hash = format!("-{:016x}", fnv1a(service));
    // Names of Services are ASCII, so that every byte is a character.
    let kept = service.get(..MAX_LABEL - hash.len() - ORIGIN_SUFFIX.len()).unwrap_or_default();
    format!("{kept}{hash}{ORIGIN_SUFFIX}")
}

/// Whether we have created this object.
pub fn is_ours(object: &ObjectMeta) -> bool {
    object.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == US)
}

/// The object whose controller keeps this one.
pub(super) fn controller(object: &impl Resource) -> Option<&OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The selector that a redirected Service had before, as its annotation tells it; none if that is not as we write it.
pub fn original_selector(annotation: &str) -> Option<BTreeMap<String, String>> {
    super::record::Record::parse(annotation).ok().map(|record| record.selector)
}

/// A hash that is the same in every version: FNV-1a of 64 bits. Uids are random already; nobody is kept from making two alike, and
/// whoever can choose the uid of a Service can do worse.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_proxy_never_changes_and_is_a_label() {
        assert_eq!(proxy(""), "glooshot-cbf29ce484222325");
        assert_eq!(proxy("a"), "glooshot-af63dc4c8601ec8c");
        assert_eq!(proxy("0a1b2c3d-0000-0000-0000-000000000000").len(), 25);
    }

    #[test]
    fn the_name_of_an_origin_is_that_of_its_service_as_long_as_there_is_room() {
        assert_eq!(origin("ratings"), "ratings-glooshot");
        let longest = "r".repeat(54);
        assert_eq!(origin(&longest), format!("{longest}-glooshot"));
        let (one, other) = (origin(&"r".repeat(55)), origin(&"r".repeat(63)));
        assert_eq!((one.len(), other.len()), (63, 63));
        assert_ne!(one, other);
    }
}
