//! As its parent: until the branch `redirect` is merged.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub const REDIRECT: &str = "glooshot.solo.io/redirect";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const US: &str = "glooshot";
pub const SERVICE_UID: &str = "glooshot.solo.io/service-uid";
pub const SERVICE: &str = "glooshot.solo.io/service";
pub fn is_ours(m: &ObjectMeta) -> bool {
    m.labels.as_ref().and_then(|l| l.get(MANAGED_BY)).is_some_and(|v| v == US)
}
pub fn proxy(uid: &str) -> String {
    format!("glooshot-{}", &uid[..8])
}
pub fn original_selector(text: &str) -> Option<std::collections::BTreeMap<String, String>> {
    serde_json::from_str::<serde_json::Value>(text)
        .ok()?
        .get("selector")
        .and_then(|s| serde_json::from_value(s.clone()).ok())
}
pub const AUDIENCE: &str = "glooshot-control";
