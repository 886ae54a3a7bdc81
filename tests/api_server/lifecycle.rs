//! What may change when: the spec until the start, the status only through its subresource.

use serde_json::{Value, json};

use super::{
    cases::with,
    client::{ApiClient, causes},
    control_plane::registered,
};

/// A stored experiment of this name.
fn stored(client: &ApiClient, name: &str) -> Value {
    let mut object = with("/duration", json!("1m"));
    object["metadata"]["name"] = json!(name);
    client.creates(&object)
}

fn in_state(state: &str) -> Value {
    json!({"status": {"result": {"state": state, "timeStarted": "2026-01-01T00:00:00.000000001Z"}}})
}

fn longer() -> Value {
    json!({"spec": {"spec": {"duration": "2m"}}})
}

#[test]
fn the_status_changes_through_its_subresource_and_nothing_else_does() {
    let client = ApiClient::of(registered());
    let object = stored(&client, "status");
    let both = json!({"spec": longer()["spec"], "status": in_state("Started")["status"]});

    let after = client.patch(&object, "", &both).unwrap();
    assert_eq!((&after["spec"]["spec"]["duration"], &after["status"]), (&json!("2m"), &Value::Null));
    assert_eq!(after["metadata"]["generation"], 2);

    let after =
        client.patch(&object, "/status", &json!({"spec": {"spec": {"duration": "3m"}}, "status": both["status"]}));
    let after = after.unwrap();
    assert_eq!((&after["spec"]["spec"]["duration"], &after["status"]), (&json!("2m"), &both["status"]));
    assert_eq!(after["metadata"]["generation"], 2, "a status is not a change of the experiment");
}

#[test]
fn an_experiment_that_has_not_started_can_be_changed() {
    let client = ApiClient::of(registered());
    let object = stored(&client, "pending");
    client.patch(&object, "/status", &in_state("Pending")).unwrap();
    assert_eq!(client.patch(&object, "", &longer()).unwrap()["spec"]["spec"]["duration"], "2m");
}

#[test]
fn an_experiment_that_has_started_cannot_be_changed_any_more() {
    let client = ApiClient::of(registered());
    for state in ["Started", "Failed", "Succeeded", "Inconclusive"] {
        let object = stored(&client, &format!("is-{}", state.to_lowercase()));
        client.patch(&object, "/status", &in_state(state)).unwrap();
        let refused = client.patch(&object, "", &longer()).unwrap_err();
        assert_eq!(refused.code, 422, "{state}: {refused:?}");
        assert!(
            causes(&refused)
                .iter()
                .any(|(_, says)| says.contains("cannot be changed: create another one under a new name")),
            "{state}: {refused:?}"
        );
        // What others write about it is no change of it.
        let noted = json!({"metadata": {"annotations": {"a": "b"}, "finalizers": ["glooshot.solo.io/restore"]}});
        assert!(client.patch(&object, "", &noted).is_ok(), "{state}");
        assert!(client.patch(&object, "/status", &in_state("Failed")).is_ok(), "{state}");
        assert!(client.patch(&object, "", &json!({"metadata": {"finalizers": null}})).is_ok(), "{state}");
    }
}

#[test]
fn a_status_that_the_schema_does_not_know_is_refused() {
    let client = ApiClient::of(registered());
    let object = stored(&client, "odd-status");
    let refused = client.patch(&object, "/status", &in_state("Exploded")).unwrap_err();
    assert!(causes(&refused).iter().any(|(at, _)| at == "status.result.state"), "{refused:?}");
}
