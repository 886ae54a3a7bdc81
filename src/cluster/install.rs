//! What an installation consists of: the templates in `manifests/install`, filled in. Pure.

use kube::core::DynamicObject;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

/// The templates, in the order in which their objects are written.
const PARTS: [(&str, &str); 6] = [
    ("namespace.yaml", include_str!("../../manifests/install/namespace.yaml")),
    ("access.yaml", include_str!("../../manifests/install/access.yaml")),
    ("policies.yaml", include_str!("../../manifests/install/policies.yaml")),
    ("network-policies.yaml", include_str!("../../manifests/install/network-policies.yaml")),
    ("controller.yaml", include_str!("../../manifests/install/controller.yaml")),
    (PROMETHEUS, include_str!("../../manifests/install/prometheus.yaml")),
];
const PROMETHEUS: &str = "prometheus.yaml";
/// What allows the controller to work in one more namespace.
const ENABLED: (&str, &str) = ("enabled.yaml", include_str!("../../manifests/install/enabled.yaml"));

/// The label of everything that belongs to an installation.
pub(crate) const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "glooshot");
/// The controller's Deployment, which is also what its pods are named by [`NAME`].
pub(crate) const CONTROLLER: &str = "glooshot-controller";
/// The label by which pods of an installation are told apart.
pub(crate) const NAME: &str = "app.kubernetes.io/name";
/// The Prometheus's Deployment, Service and ConfigMap.
pub(crate) const PROMETHEUS_SERVER: &str = "glooshot-prometheus-server";
/// The RoleBinding in each namespace that is enabled.
pub(crate) const ENABLING: &str = "glooshot-workloads";

/// What differs between installations.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// Where Glooshot itself lives.
    pub(crate) namespace: String,
    /// The image of the controller and of the proxies.
    pub(crate) image: String,
    /// Secrets in that namespace with which it is pulled.
    pub(crate) pull_secrets: Vec<String>,
    /// Secrets in the namespaces of the targets with which it is pulled.
    pub(crate) proxy_pull_secrets: Vec<String>,
    /// Hosts that `webhookUrl` may name.
    pub(crate) allow_hosts: Vec<String>,
    /// Where queries are sent.
    pub(crate) prometheus: PrometheusServer,
}

/// Which Prometheus is asked.
#[derive(Clone, Debug)]
pub(crate) enum PrometheusServer {
    /// One of our own, of this image.
    Own {
        /// The image.
        image: String,
    },
    /// One that is there already.
    At {
        /// Its address.
        url: String,
    },
}

/// A template cannot be filled in. Our own mistake: no value that a user gives can cause it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// The template.
    #[error("the template of the installation is broken: {0:#}")]
    Template(#[from] minijinja::Error),
    /// What it gave.
    #[error("the template of the installation does not give objects: {0}")]
    Object(String),
}

/// One part of an installation, as text and as objects.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// YAML, as it is printed.
    pub(crate) text: String,
    /// The same.
    pub(crate) objects: Vec<DynamicObject>,
}

/// Everything that is installed, in the order in which it is written.
///
/// # Errors
/// When a template is broken.
pub(crate) fn parts(values: &Values) -> Result<Vec<Part>, InstallError> {
    let own = matches!(values.prometheus, PrometheusServer::Own { .. });
    let chosen = PARTS.iter().filter(|(name, _)| own || *name != PROMETHEUS);
    chosen.map(|(name, text)| part(name, text, values, "")).collect()
}

/// What allows the controller of `values` to work in `target`.
///
/// # Errors
/// When the template is broken.
pub(crate) fn enabling(namespace: &str, target: &str) -> Result<Part, InstallError> {
    let values = Values {
        namespace: namespace.to_owned(),
        image: String::new(),
        pull_secrets: Vec::new(),
        proxy_pull_secrets: Vec::new(),
        allow_hosts: Vec::new(),
        prometheus: PrometheusServer::At { url: String::new() },
    };
    part(ENABLED.0, ENABLED.1, &values, target)
}

fn part(name: &str, text: &str, values: &Values, target: &str) -> Result<Part, InstallError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Every value is written as JSON, which is YAML: none can become more than a value.
    environment.set_auto_escape_callback(|_| AutoEscape::Json);
    let Values { namespace, image, pull_secrets, proxy_pull_secrets, allow_hosts, prometheus } = values;
    let (prometheus_url, prometheus_image) = match prometheus {
        PrometheusServer::Own { image } => (format!("http://{PROMETHEUS_SERVER}.{namespace}.svc:9090"), image.as_str()),
        PrometheusServer::At { url } => (url.clone(), ""),
    };
    let references: Vec<_> = pull_secrets.iter().map(|name| context! { name }).collect();
    let mut text = environment.render_named_str(
        name,
        text,
        context! {
            namespace, image, pull_secrets => references, proxy_pull_secrets, allow_hosts,
            prometheus_url, prometheus_image, target,
        },
    )?;
    // The engine takes the last line's end away.
    text.push('\n');
    let objects =
        serde_saphyr::from_multiple(&text).map_err(|error| InstallError::Object(format!("{name}: {error}")))?;
    Ok(Part { text, objects })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::rbac::v1::PolicyRule;
    use kube::ResourceExt as _;

    use super::*;

    fn values() -> Values {
        Values {
            namespace: "chaos".to_owned(),
            image: "registry.test/glooshot:1".to_owned(),
            pull_secrets: vec!["pull".to_owned()],
            proxy_pull_secrets: vec!["pull-proxy".to_owned()],
            allow_hosts: vec!["hooks.test:443".to_owned()],
            prometheus: PrometheusServer::Own { image: "registry.test/prometheus:1".to_owned() },
        }
    }

    fn objects(values: &Values) -> Vec<DynamicObject> {
        parts(values).unwrap().into_iter().flat_map(|part| part.objects).collect()
    }

    fn kind(object: &DynamicObject) -> &str {
        object.types.as_ref().map_or("", |types| types.kind.as_str())
    }

    /// The rules of every role that the controller is or can be given, and whether they hold in all namespaces.
    fn rules() -> Vec<(bool, PolicyRule)> {
        let objects = objects(&values());
        let roles = objects.iter().filter(|object| matches!(kind(object), "Role" | "ClusterRole"));
        let rules = roles.flat_map(|role| {
            let everywhere = kind(role) == "ClusterRole";
            let rules: Vec<PolicyRule> = serde_json::from_value(role.data["rules"].clone()).unwrap();
            rules.into_iter().map(move |rule| (everywhere, rule))
        });
        rules.collect()
    }

    #[test]
    fn everything_says_that_it_belongs_to_the_installation_and_lives_in_its_namespace() {
        for object in objects(&values()) {
            assert_eq!(object.labels().get(PART_OF.0).map(String::as_str), Some(PART_OF.1), "{object:?}");
            assert!(object.name_any() == "chaos" || object.name_any().starts_with("glooshot-"), "{object:?}");
            if let Some(namespace) = object.namespace() {
                assert_eq!(namespace, "chaos");
            }
        }
    }

    #[test]
    fn a_prometheus_that_is_there_is_used_and_none_is_installed() {
        let url = "http://prometheus.monitoring:9090".to_owned();
        let values = Values { prometheus: PrometheusServer::At { url: url.clone() }, ..values() };
        let parts = parts(&values).unwrap();
        let text: String = parts.iter().map(|part| part.text.as_str()).collect();
        assert!(text.contains(&url) && !text.contains(PROMETHEUS_SERVER), "{text}");
    }

    #[test]
    fn the_controllers_pods_are_found_by_their_label() {
        let objects = objects(&values());
        let controller = objects.iter().find(|it| kind(it) == "Deployment" && it.name_any() == CONTROLLER).unwrap();
        assert_eq!(controller.data["spec"]["template"]["metadata"]["labels"][NAME], CONTROLLER);
    }

    #[test]
    fn no_value_can_become_more_than_a_value() {
        let evil = "x\"\n- y: '}}{{ namespace }}\\";
        let values = Values { image: evil.to_owned(), ..values() };
        let objects = objects(&values);
        let controller = objects.iter().find(|it| kind(it) == "Deployment" && it.name_any() == CONTROLLER).unwrap();
        assert_eq!(controller.data["spec"]["template"]["spec"]["containers"][0]["image"], evil);
    }

    #[test]
    fn no_rule_has_a_wildcard_or_a_right_to_raise_rights() {
        for (_, rule) in rules() {
            let words = [&rule.api_groups, &rule.resources].into_iter().flatten().flatten().chain(&rule.verbs);
            for word in words {
                assert!(!["*", "escalate", "bind", "impersonate", "pods/exec"].contains(&word.as_str()), "{rule:?}");
            }
        }
    }

    #[test]
    fn secrets_are_read_in_its_own_namespace_by_name_only() {
        let reads = |rule: &PolicyRule| rule.verbs.iter().any(|verb| verb != "create");
        for (everywhere, rule) in rules() {
            if rule.resources.iter().flatten().any(|resource| resource == "secrets") {
                assert!(!everywhere, "{rule:?}");
                assert!(
                    !reads(&rule) || rule.resource_names.as_ref().is_some_and(|names| !names.is_empty()),
                    "{rule:?}"
                );
            }
        }
    }

    #[test]
    fn nobody_may_write_endpoints() {
        let reading = BTreeSet::from(["get", "list", "watch"]);
        for (_, rule) in rules() {
            if rule.resources.iter().flatten().any(|resource| resource.starts_with("endpoint")) {
                assert!(rule.verbs.iter().all(|verb| reading.contains(verb.as_str())), "{rule:?}");
            }
        }
    }

    #[test]
    fn a_namespace_is_enabled_by_a_role_binding_in_it() {
        let part = enabling("chaos", "bookinfo").unwrap();
        let [binding] = part.objects.as_slice() else { panic!("{part:?}") };
        assert_eq!((binding.name_any().as_str(), binding.namespace().as_deref()), (ENABLING, Some("bookinfo")));
        assert_eq!(binding.data["subjects"][0]["namespace"], "chaos");
    }
}
