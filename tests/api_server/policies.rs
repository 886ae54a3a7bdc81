//! The admission policies of an installation: what the controller may not write where it is enabled, whatever its roles say.

use std::{sync::LazyLock, time::Duration};

use glooshot::engine::data_path::DataPath as _;
use kube::core::Status;
use serde_json::{Value, json};

use super::{
    client::{ApiClient, collection},
    control_plane::registered,
    harness::within,
    installation::{CONTROLLER, IMAGE, enable, install},
    redirect_stage::Stage,
};

pub const NAMESPACE: &str = "policies";
/// For the API server to learn of what was installed, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(30);
const SERVICES: &str = "glooshot-services";
const WORKLOADS: &str = "glooshot-workloads";
const PROXIES: &str = "glooshot-proxies";
const RESTARTS: &str = "glooshot-restarts";
/// What a proxy may be given, in the words of the policy.
const SECRETS: &str = "those certificates (tls.crt and tls.key) that its namespace names in the annotation \
                       glooshot.solo.io/tls-secrets, and nothing else";
/// What it may do with what it is given.
const SHOWN: &str = "a proxy shows nobody anything but its own token, and runs no other command";
/// The Secrets that its namespace names.
const CERTIFICATES: [&str; 2] = ["ratings-tls", "other.tls"];
/// The workloads that it may restart.
const KINDS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

/// A namespace in which the controller may work, with a Service that it has redirected.
pub struct Enabled {
    controller: ApiClient,
    owner: ApiClient,
    /// What the controller has made: Deployment, budget, account, origin.
    made: [Value; 4],
}

/// For every test, since nothing in it is changed.
pub fn enabled() -> &'static Enabled {
    static ENABLED: LazyLock<Enabled> = LazyLock::new(|| {
        let (owner, controller) = (ApiClient::of(registered()), ApiClient::acting_as(registered(), CONTROLLER));
        install(registered());
        let stage = Stage::new(registered(), NAMESPACE);
        let certificates = format!("glooshot.solo.io/tls-secrets= {} ", CERTIFICATES.join(" , "));
        stage.kubectl.succeeds(["annotate", "namespace", NAMESPACE, &certificates]);
        enable(registered(), NAMESPACE);
        stage.apply(&stage.manifest(&json!({"app": "ratings"}), None), &[]);
        let path = stage.path("abort");
        stage.wait(path.route(&stage.scenario())).unwrap();
        let (proxy, origin) = (stage.proxy(), "ratings-glooshot".to_owned());
        let kinds = [
            ("apis/apps/v1", "deployments", &proxy),
            ("apis/policy/v1", "poddisruptionbudgets", &proxy),
            ("api/v1", "serviceaccounts", &proxy),
            ("api/v1", "services", &origin),
        ];
        let made = kinds.map(|(group, plural, name)| {
            let path = format!("/{group}/namespaces/{NAMESPACE}/{plural}/{name}");
            owner.send("GET", &path, "application/json", &Value::Null).unwrap()
        });
        stage.wait(path.restore()).unwrap();
        stage.wait(stage.redirect.release(&stage.uid("abort"))).unwrap();
        let enabled = Enabled { controller, owner, made };
        let services = ["shop", "shop-glooshot"].map(foreign);
        for object in services.into_iter().chain(KINDS.map(foreign_workload)) {
            enabled.owns(&object);
        }
        // The API server learns of policies and rights by watches of its own.
        let wrong = with(&enabled.origin(), "/spec/type", json!("NodePort"));
        for probe in [foreign("other"), wrong, with(&enabled.account(), "/metadata/name", json!("other"))] {
            within(SOON, "the policies are in force", || {
                enabled.creates(&probe).err().filter(|it| it.message.contains("ValidatingAdmissionPolicy"))
            });
        }
        let wrong = with(&enabled.deployment(), "/spec/template/spec/hostPID", json!(true));
        within(SOON, "the policy of proxies is in force", || {
            enabled.creates(&wrong).err().filter(|it| it.message.contains(PROXIES))
        });
        // What no role of ours allows is refused all the same.
        let more = ["--verb=create,delete", "--resource=statefulsets.apps,daemonsets.apps", "-n", NAMESPACE];
        stage.kubectl.succeeds(["create", "role", "more"].into_iter().chain(more));
        let account = "--serviceaccount=glooshot:glooshot-controller";
        stage.kubectl.succeeds(["create", "rolebinding", "more", "--role=more", account, "-n", NAMESPACE]);
        within(SOON, "the policy of restarts is in force", || {
            enabled.deletes(&foreign_workload(KINDS[2])).err().filter(|it| it.message.contains(RESTARTS))
        });
        enabled
    });
    &ENABLED
}

/// A Service of somebody else.
fn foreign(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": {"team": "shop"}, "annotations": {"owner": "us"},
            "finalizers": ["shop.test/keep"],
        },
        "spec": {
            "type": "LoadBalancer", "selector": {"app": name, "tier": "glooshot-0123456789abcdef"},
            "ports": [{"name": "http", "port": 80}], "sessionAffinity": "ClientIP",
        },
    })
}

/// A workload of somebody else.
fn foreign_workload(kind: &str) -> Value {
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {
            "name": "shop", "namespace": NAMESPACE, "labels": {"team": "shop"}, "annotations": {"owner": "us"},
            "finalizers": ["shop.test/keep"],
        },
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}}, "minReadySeconds": 1,
            "template": {
                "metadata": {"labels": {"app": "shop"}, "annotations": {"owner": "us"}},
                "spec": {"containers": [{"name": "shop", "image": "shop.test/shop:1"}]},
            },
        },
    });
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = json!("shop");
    }
    workload
}

/// The restart of a workload for the Experiment with this uid.
fn restart(uid: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"glooshot.solo.io/restarted-for": uid}}}}})
}

const UID: &str = "0a1b2c3d-0000-4000-8000-0123456789ab";

/// An object with another value at this pointer; a number past the end of a list makes it longer.
pub fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = object.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match changed.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}")) {
        Value::Array(list) => match list.get_mut(key.parse::<usize>().unwrap()) {
            Some(standing) => *standing = value,
            None => list.push(value),
        },
        object => object[key] = value,
    }
    changed
}

/// What the API server made of an object, to be made again under another name.
fn anew(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "managedFields", "creationTimestamp", "generation"] {
        metadata.remove(field);
    }
    metadata.insert("name".into(), name.into());
    if object["kind"] == "Service" {
        let spec = object["spec"].as_object_mut().unwrap();
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    object
}

pub type Answer = Result<Value, Box<Status>>;

impl Enabled {
    fn deployment(&self) -> Value {
        anew(&self.made[0], "glooshot-other")
    }

    fn account(&self) -> Value {
        anew(&self.made[2], "glooshot-other")
    }

    fn origin(&self) -> Value {
        anew(&self.made[3], "other-glooshot")
    }

    /// Stores an object of somebody else.
    #[track_caller]
    pub fn owns(&self, object: &Value) {
        self.owner.send("POST", &collection(object), "application/json", object).unwrap();
    }

    /// What the API server says to the controller; nothing is stored.
    pub fn creates(&self, object: &Value) -> Answer {
        let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(object));
        self.controller.send("POST", &path, "application/json", object)
    }

    pub fn changes(&self, object: &Value, patch: &Value) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!("{}/{name}?dryRun=All&fieldValidation=Strict", collection(object));
        self.controller.send("PATCH", &path, "application/merge-patch+json", patch)
    }

    pub fn deletes(&self, object: &Value) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!("{}/{name}?dryRun=All", collection(object));
        self.controller.send("DELETE", &path, "application/json", &json!({}))
    }
}

/// Refused by this policy, with these words.
#[track_caller]
pub fn refused(answer: Answer, policy: &str, message: &str, what: &str) {
    let status = answer.err().unwrap_or_else(|| panic!("{what} was allowed"));
    let is_said = status.message.contains(&format!("'{policy}'")) && status.message.contains(message);
    assert!(is_said, "{what}: {}", status.message);
}

#[test]
fn what_the_controller_makes_it_may_make() {
    let enabled = enabled();
    for (object, name) in enabled.made.iter().zip(["glooshot-a", "glooshot-a", "glooshot-a", "a-glooshot"]) {
        let answer = enabled.creates(&anew(object, name));
        assert!(answer.is_ok(), "{object:#}: {answer:?}");
    }
    let redirect = json!({
        "metadata": {"annotations": {"glooshot.solo.io/redirect": "{}"}},
        "spec": {"selector": {"app": "glooshot-1", "tier": "back"}},
    });
    let answer = enabled.changes(&foreign("shop"), &redirect);
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn it_makes_and_removes_no_service_that_is_not_its_own() {
    const MESSAGE: &str =
        "glooshot creates and deletes only Services whose name ends with -glooshot and that it labels as its own";
    let enabled = enabled();
    let unlabelled = with(&enabled.origin(), "/metadata/labels", json!({}));
    let unnamed = anew(&enabled.origin(), "other");
    for object in [unlabelled, unnamed, foreign("other")] {
        refused(enabled.creates(&object), SERVICES, MESSAGE, "a creation");
    }
    for name in ["shop", "shop-glooshot"] {
        refused(enabled.deletes(&foreign(name)), SERVICES, MESSAGE, "a deletion");
    }
}

#[test]
fn its_own_services_are_reachable_inside_the_cluster_only() {
    const MESSAGE: &str = "a Service of glooshot's own is reachable inside the cluster only";
    let enabled = enabled();
    let origin = enabled.origin();
    let outside = [
        ("/spec/type", json!("NodePort")),
        ("/spec/type", json!("LoadBalancer")),
        ("/spec/externalIPs", json!(["192.0.2.1"])),
    ];
    for (pointer, value) in outside {
        let answer = enabled.creates(&with(&origin, pointer, value.clone()));
        refused(answer, SERVICES, MESSAGE, &format!("{pointer}: {value}"));
    }
}

#[test]
fn of_a_selector_it_changes_values_to_and_from_its_proxies_and_nothing_else() {
    const MESSAGE: &str = "of a selector glooshot changes only the values, to and from names of its proxies";
    let enabled = enabled();
    let selectors = [
        json!({"app": "another"}),
        json!({"app": "glooshot-1", "added": "glooshot-1"}),
        json!({"app": null}),
        json!({"app": "another", "tier": "back"}),
    ];
    for selector in selectors {
        let answer = enabled.changes(&foreign("shop"), &json!({"spec": {"selector": selector}}));
        refused(answer, SERVICES, MESSAGE, &selector.to_string());
    }
}

#[test]
fn of_the_metadata_of_a_service_it_changes_its_own_annotation_and_nothing_else() {
    const MESSAGE: &str = "of the metadata of a Service glooshot changes only its annotation glooshot.solo.io/redirect";
    let enabled = enabled();
    let metadata = [
        json!({"labels": {"team": "other"}}),
        json!({"labels": {"app.kubernetes.io/managed-by": "glooshot"}}),
        json!({"labels": null}),
        json!({"annotations": {"owner": "others"}}),
        json!({"annotations": {"owner": null}}),
        json!({"annotations": {"another": "one"}}),
        json!({"finalizers": null}),
        json!({"finalizers": ["shop.test/keep", "glooshot.test/keep"]}),
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}]}),
    ];
    for metadata in metadata {
        for name in ["shop", "shop-glooshot"] {
            let answer = enabled.changes(&foreign(name), &json!({"metadata": metadata}));
            refused(answer, SERVICES, MESSAGE, &metadata.to_string());
        }
    }
}

#[test]
fn of_the_specification_of_a_service_it_changes_the_selector_and_nothing_else() {
    const MESSAGE: &str = "of the specification of a Service glooshot changes only the selector";
    let enabled = enabled();
    let specs = [
        json!({"ports": [{"name": "http", "port": 81}]}),
        json!({"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}),
        json!({"type": "NodePort"}),
        json!({"type": "ExternalName", "externalName": "evil.test", "clusterIP": null, "clusterIPs": null}),
        json!({"ipFamilyPolicy": "PreferDualStack"}),
        json!({"externalIPs": ["192.0.2.1"]}),
        json!({"externalTrafficPolicy": "Local"}),
        json!({"internalTrafficPolicy": "Local"}),
        json!({"trafficDistribution": "PreferClose"}),
        json!({"sessionAffinity": "None"}),
        json!({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}}),
        json!({"publishNotReadyAddresses": true}),
        json!({"allocateLoadBalancerNodePorts": false}),
        json!({"loadBalancerIP": "192.0.2.1"}),
        json!({"loadBalancerSourceRanges": ["192.0.2.0/24"]}),
    ];
    for spec in specs {
        refused(enabled.changes(&foreign("shop"), &json!({"spec": spec})), SERVICES, MESSAGE, &spec.to_string());
    }
}

#[test]
fn it_makes_changes_and_removes_no_workload_that_is_not_its_own() {
    const MESSAGE: &str =
        "glooshot writes only workloads whose name begins with glooshot- and that it labels as its own";
    let enabled = enabled();
    for made in &enabled.made[..3] {
        let unnamed = anew(made, "other");
        refused(enabled.creates(&unnamed), WORKLOADS, MESSAGE, "a creation under another name");
        let unlabelled = with(&anew(made, "glooshot-foreign"), "/metadata/labels", json!({}));
        refused(enabled.creates(&unlabelled), WORKLOADS, MESSAGE, "a creation without a label");
        // Somebody else's, with and without a name like ours.
        for object in [with(&unnamed, "/metadata/labels", json!({})), unlabelled] {
            enabled.owns(&object);
            let claim = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "glooshot"}}});
            let (policy, message) = if object["kind"] == "Deployment" {
                (RESTARTS, "of the metadata of a workload of others glooshot changes nothing")
            } else {
                (WORKLOADS, MESSAGE)
            };
            refused(enabled.changes(&object, &claim), policy, message, "a change");
            refused(enabled.deletes(&object), WORKLOADS, MESSAGE, "a deletion");
        }
    }
}

#[test]
fn its_deployments_are_proxies_without_any_privilege() {
    const CONTAINER: &str = "a proxy has one container, which runs `glooshot proxy` of the image";
    const NODE: &str = "a proxy has nothing of its node, an account of its own, and no rights in the API";
    const PRIVILEGE: &str = "a proxy runs without any privilege";
    let enabled = enabled();
    let deployment = enabled.deployment();
    let other = json!({"name": "other", "image": IMAGE, "args": ["proxy"]});
    let changes = [
        ("containers/0/image", json!("evil.test/image:1"), CONTAINER),
        ("containers/0/command", json!(["sh"]), CONTAINER),
        ("containers/0/args", json!(["controller"]), CONTAINER),
        ("containers/0/args", json!([]), CONTAINER),
        ("containers/1", other.clone(), CONTAINER),
        ("initContainers", json!([other]), CONTAINER),
        ("hostNetwork", json!(true), NODE),
        ("hostPID", json!(true), NODE),
        ("hostIPC", json!(true), NODE),
        ("shareProcessNamespace", json!(true), NODE),
        ("volumes/1", json!({"name": "host", "hostPath": {"path": "/"}}), NODE),
        ("containers/0/ports/0/hostPort", json!(9080), NODE),
        ("serviceAccountName", json!("default"), NODE),
        ("automountServiceAccountToken", json!(true), NODE),
        // What a proxy is given it can be told to send to any address.
        ("volumes/1", json!({"name": "other", "secret": {"secretName": "other"}}), SECRETS),
        ("volumes/1", json!({"name": "other", "configMap": {"name": "other"}}), SECRETS),
        ("volumes/1", json!({"name": "other", "emptyDir": {}}), SECRETS),
        ("volumes/1", json!({"name": "other", "csi": {"driver": "secrets.test", "readOnly": true}}), SECRETS),
        ("volumes/1", json!({"name": "other", "persistentVolumeClaim": {"claimName": "other"}}), SECRETS),
        (
            "volumes/1",
            json!({"name": "other", "projected": {"sources": [{"secret": {"name": "ratings-tls"}}]}}),
            SECRETS,
        ),
        ("volumes/0/projected/sources/2", json!({"secret": {"name": "other"}}), SECRETS),
        ("volumes/0/projected/sources/0/serviceAccountToken/audience", json!("other"), SECRETS),
        ("containers/0/env", json!([{"name": "A", "value": "b"}]), SECRETS),
        ("containers/0/envFrom", json!([{"secretRef": {"name": "other"}}]), SECRETS),
        ("containers/0/args", json!(["proxy", "--control-token", "/var/run/glooshot/token"]), SHOWN),
        ("containers/0/args", json!(["proxy", "--control-token=/var/run/glooshot/other"]), SHOWN),
        ("containers/0/lifecycle", json!({"postStart": {"exec": {"command": ["glooshot", "proxy"]}}}), SHOWN),
        ("containers/0/livenessProbe", json!({"exec": {"command": ["glooshot", "proxy"]}}), SHOWN),
        ("containers/0/readinessProbe", json!({"exec": {"command": ["glooshot", "proxy"]}}), SHOWN),
        ("containers/0/startupProbe", json!({"exec": {"command": ["glooshot", "proxy"]}}), SHOWN),
        ("securityContext/seccompProfile/type", json!("Unconfined"), PRIVILEGE),
        ("containers/0/securityContext/seccompProfile", json!({"type": "Unconfined"}), PRIVILEGE),
        ("containers/0/securityContext/runAsNonRoot", json!(false), PRIVILEGE),
        ("securityContext/runAsNonRoot", json!(false), PRIVILEGE),
        ("containers/0/securityContext/allowPrivilegeEscalation", json!(true), PRIVILEGE),
        ("containers/0/securityContext/privileged", json!(true), PRIVILEGE),
        ("containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"]), PRIVILEGE),
        ("containers/0/securityContext/capabilities/drop", json!(["CHOWN"]), PRIVILEGE),
        ("containers/0/securityContext/capabilities", json!({}), PRIVILEGE),
    ];
    for (field, value, message) in changes {
        let mut changed = with(&deployment, &format!("/spec/template/spec/{field}"), value.clone());
        if field.ends_with("/privileged") {
            // The API server itself refuses the one without the other.
            let escalation = "/spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation";
            changed = with(&changed, escalation, json!(true));
        }
        if field == "serviceAccountName" {
            changed = with(&changed, "/spec/template/spec/serviceAccount", json!("default"));
        }
        if field == "hostNetwork" {
            // Its ports are the node's then.
            let ports = changed.pointer_mut("/spec/template/spec/containers/0/ports").unwrap();
            for port in ports.as_array_mut().unwrap() {
                port["hostPort"] = port["containerPort"].clone();
            }
        }
        refused(enabled.creates(&changed), PROXIES, message, &format!("{field}: {value}"));
    }
}

/// A Deployment like this one whose proxies mount another volume, where ours would be.
fn mounting(deployment: &Value, volume: &Value) -> Value {
    let name = volume["name"].as_str().unwrap();
    let mount = json!({"name": name, "mountPath": format!("/var/run/glooshot-tls/{name}"), "readOnly": true});
    let mounted = with(deployment, "/spec/template/spec/volumes/1", volume.clone());
    with(&mounted, "/spec/template/spec/containers/0/volumeMounts/1", mount)
}

#[test]
fn its_proxies_mount_the_certificates_that_their_namespace_names_and_no_other_secret() {
    let enabled = enabled();
    let deployment = enabled.deployment();
    let items = |keys: &[(&str, &str)]| {
        keys.iter().map(|(key, path)| json!({"key": key, "path": path})).collect::<Vec<Value>>()
    };
    let secret = |name: &str, keys: &[(&str, &str)]| json!({"name": "certificate-443", "secret": {"secretName": name, "items": items(keys)}});
    let authority = |keys: &[(&str, &str)]| json!({"name": "authority-443", "configMap": {"name": "ratings-ca", "items": items(keys)}});
    let pair = [("tls.crt", "tls.crt"), ("tls.key", "tls.key")];
    for volume in CERTIFICATES.map(|name| secret(name, &pair)).into_iter().chain([authority(&[("ca.crt", "ca.crt")])]) {
        let answer = enabled.creates(&mounting(&deployment, &volume));
        assert!(answer.is_ok(), "{volume}: {answer:?}");
    }
    let refusals = [
        secret("other", &pair),
        secret("ratings", &pair),
        secret("ratings-tls,other.tls", &pair),
        secret("ratings-tls", &[]),
        secret("ratings-tls", &[("tls.crt", "tls.crt"), ("password", "password")]),
        secret("ratings-tls", &[("tls.key", "token")]),
        authority(&[]),
        authority(&[("ca.crt", "ca.crt"), ("settings", "settings")]),
        authority(&[("settings", "ca.crt")]),
        authority(&[("ca.crt", "token")]),
    ];
    for volume in refusals {
        refused(enabled.creates(&mounting(&deployment, &volume)), PROXIES, SECRETS, &volume.to_string());
    }
    // In the place of the token.
    let mounted = mounting(&deployment, &secret("ratings-tls", &pair));
    let mounts = "/spec/template/spec/containers/0/volumeMounts";
    let elsewhere = [
        (format!("{mounts}/1/mountPath"), json!("/var/run/glooshot/token")),
        (format!("{mounts}/1/mountPath"), json!("/var/run/glooshot-tls/../glooshot")),
        (format!("{mounts}/1/subPath"), json!("tls.key")),
        (format!("{mounts}/1/subPathExpr"), json!("tls.key")),
        (format!("{mounts}/0/mountPath"), json!("/var/run/other")),
    ];
    for (pointer, value) in elsewhere {
        refused(
            enabled.creates(&with(&mounted, &pointer, value.clone())),
            PROXIES,
            SHOWN,
            &format!("{pointer}: {value}"),
        );
    }
    let other =
        json!({"name": "other", "projected": deployment["spec"]["template"]["spec"]["volumes"][0]["projected"]});
    refused(enabled.creates(&mounting(&deployment, &other)), PROXIES, SECRETS, "another token");
}

#[test]
fn what_a_namespace_does_not_allow_any_more_is_refused() {
    let enabled = enabled();
    let namespace = "policies-withdrawn";
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    enabled.owner.send("POST", "/api/v1/namespaces", "application/json", &object).unwrap();
    enable(registered(), namespace);
    let items = json!([{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]);
    let volume = json!({"name": "certificate-443", "secret": {"secretName": "ratings-tls", "items": items}});
    let deployment = with(&mounting(&enabled.deployment(), &volume), "/metadata/namespace", json!(namespace));
    let deployment = with(&deployment, "/metadata/ownerReferences", json!([]));
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All");
    let creates = || enabled.controller.send("POST", &path, "application/json", &deployment);
    let annotate = |value: Value| {
        let patch = json!({"metadata": {"annotations": {"glooshot.solo.io/tls-secrets": value}}});
        let path = format!("/api/v1/namespaces/{namespace}");
        enabled.owner.send("PATCH", &path, "application/merge-patch+json", &patch).unwrap();
    };
    let is_refused = || creates().err().filter(|status| status.message.contains(SECRETS));
    within(SOON, "a namespace without the annotation allows nothing", is_refused);
    annotate(json!("ratings-tls"));
    within(SOON, "the namespace allows it", || creates().ok());
    annotate(Value::Null);
    within(SOON, "the namespace allows it no more", is_refused);
}

#[test]
fn the_workloads_of_others_it_restarts_and_changes_in_no_other_way() {
    const METADATA: &str = "of the metadata of a workload of others glooshot changes nothing";
    const SPEC: &str =
        "of a workload of others glooshot changes only the annotation glooshot.solo.io/restarted-for of its pods";
    const VALUE: &str = "the annotation glooshot.solo.io/restarted-for is the uid of an Experiment";
    let enabled = enabled();
    let pods = |template: Value| json!({"spec": {"template": template}});
    let containers = |image: &str, more: Value| {
        let mut container = json!({"name": "shop", "image": image});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pods(json!({"spec": {"containers": [container]}}))
    };
    let changes = [
        (json!({"metadata": {"labels": {"team": "other"}}}), METADATA),
        (json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "glooshot"}}}), METADATA),
        (json!({"metadata": {"labels": null}}), METADATA),
        (json!({"metadata": {"annotations": {"owner": "others"}}}), METADATA),
        (json!({"metadata": {"annotations": {"another": "one"}}}), METADATA),
        (json!({"metadata": {"finalizers": null}}), METADATA),
        (
            json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}]}}),
            METADATA,
        ),
        (json!({"spec": {"minReadySeconds": 2}}), SPEC),
        (json!({"spec": {"minReadySeconds": null}}), SPEC),
        (pods(json!({"metadata": {"labels": {"app": "shop", "more": "x"}}})), SPEC),
        (pods(json!({"metadata": {"annotations": {"owner": "others"}}})), SPEC),
        (pods(json!({"metadata": {"annotations": {"owner": null}}})), SPEC),
        (pods(json!({"metadata": {"annotations": {"another": "one"}}})), SPEC),
        (pods(json!({"spec": {"hostPID": true}})), SPEC),
        (pods(json!({"spec": {"serviceAccountName": "other"}})), SPEC),
        (pods(json!({"spec": {"volumes": [{"name": "other", "secret": {"secretName": "other"}}]}})), SPEC),
        (containers("evil.test/image:1", json!({})), SPEC),
        (containers("shop.test/shop:1", json!({"command": ["sh"]})), SPEC),
        (containers("shop.test/shop:1", json!({"env": [{"name": "A", "value": "b"}]})), SPEC),
        (restart("another note"), VALUE),
        (restart(""), VALUE),
        (json!({"spec": {}}), VALUE),
    ];
    for workload in KINDS.map(foreign_workload) {
        let kind = &workload["kind"];
        let answer = enabled.changes(&workload, &restart(UID));
        assert!(answer.is_ok(), "{kind}: {answer:?}");
        for (change, message) in &changes {
            // Also in the same write as a restart, which would be allowed.
            let mut both = change.clone();
            if *message != VALUE {
                merge(&mut both, &restart(UID));
            }
            for change in [change, &both] {
                refused(enabled.changes(&workload, change), RESTARTS, message, &format!("{kind}: {change}"));
            }
        }
    }
}

/// The fields of both, as far as the first has none of its own.
fn merge(first: &mut Value, second: &Value) {
    match (first, second) {
        (Value::Object(first), Value::Object(second)) => {
            for (key, value) in second {
                merge(first.entry(key).or_insert_with(|| json!({})), value);
            }
        }
        (first, second) if *first == json!({}) => *first = second.clone(),
        _ => {}
    }
}

#[test]
fn it_makes_and_removes_no_workload_of_another_kind() {
    const MESSAGE: &str = "glooshot makes and removes no StatefulSet and no DaemonSet";
    let enabled = enabled();
    for workload in KINDS[1..].iter().map(|kind| foreign_workload(kind)) {
        let labels = json!({"app.kubernetes.io/managed-by": "glooshot"});
        let claimed = with(&anew(&workload, "glooshot-other"), "/metadata/labels", labels);
        refused(enabled.creates(&claimed), RESTARTS, MESSAGE, "a creation");
        refused(enabled.deletes(&workload), RESTARTS, MESSAGE, "a deletion");
    }
}
