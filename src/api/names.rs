//! Names of Services, their ports, and upstreams such as `bookinfo-ratings-9080`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `{name, namespace}` as an author writes it: an upstream (`bookinfo-ratings-9080` in Glooshot's namespace), or a Service itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRef {
    /// The name of an upstream or a Service.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The namespace that it lives in; for an upstream that is Glooshot's own.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A Service: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceName {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
}

impl ServiceName {
    /// The name by which it is found inside a cluster, and which certificates are for.
    pub fn dns_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// The Service.
    pub service: ServiceName,
    /// The port number of the Service (not of its pods).
    pub port: u16,
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.port)
    }
}

/// What a reference was found to mean: a Service, one port of it or all, the whole of it or one subset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The Service.
    pub service: ServiceName,
    /// The port, or every port of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The subset (`v4`), or all of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if let Some(subset) = &self.subset {
            write!(f, "@{subset}")?;
        }
        Ok(())
    }
}

/// A Service port and the subsets that are known of it: what references are resolved against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPort {
    /// The Service and the port.
    pub port: ServicePort,
    /// The names of its subsets, as in `v1`, `v4`; empty if it has none.
    pub subsets: Vec<String>,
}

/// Whether this is a namespace of Kubernetes itself, in which nothing is ever broken.
pub fn is_protected_namespace(namespace: &str) -> bool {
    ["kube-system", "kube-public", "kube-node-lease"].contains(&namespace)
}

/// The name of the upstream for a Service's port, or for one subset of it: `<namespace>-<service>[-<subset>]-<port>`.
pub fn upstream_name(port: &ServicePort, subset: Option<&str>) -> String {
    let ServicePort { service: ServiceName { namespace, name }, port } = port;
    let text = match subset {
        Some(subset) => format!("{namespace}-{name}-{subset}-{port}"),
        None => format!("{namespace}-{name}-{port}"),
    };
    text.to_lowercase().replace('.', "-")
}

/// Why a reference means nothing, or more than one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing has this name.
    #[error("{reference} is neither an upstream nor a Service that is known here{}", near(.candidates))]
    Unknown {
        /// What was asked for.
        reference: ResourceRef,
        /// Names that are near, or all if there are few.
        candidates: Vec<String>,
    },
    /// Several things have this name.
    #[error("{reference} could mean any of {}: name the Service itself, as in {{name: ratings, namespace: bookinfo}}", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        reference: ResourceRef,
        /// What it could mean.
        candidates: Vec<String>,
    },
}

fn near(candidates: &[String]) -> String {
    if candidates.is_empty() { String::new() } else { format!("; known are {}", candidates.join(", ")) }
}

/// Candidates named in an error at the most; an error stays readable in a large cluster.
const MAX_CANDIDATES: usize = 10;

/// Finds what a reference means among the known ports: a Service named by itself, or an upstream name.
///
/// # Errors
/// When nothing, or more than one thing, has this name; both list candidates.
pub fn resolve(reference: &ResourceRef, known: &[KnownPort]) -> Result<Destination, ResolveError> {
    let mut found: Vec<Destination> = Vec::new();
    let mut add = |destination: Destination| {
        if !found.contains(&destination) {
            found.push(destination);
        }
    };
    for KnownPort { port, subsets } in known {
        let service = &port.service;
        let named_directly = service.name == reference.name
            && reference.namespace.as_ref().is_none_or(|namespace| *namespace == service.namespace);
        if named_directly {
            add(Destination { service: service.clone(), port: None, subset: None });
        }
        if upstream_name(port, None) == reference.name {
            add(Destination { service: service.clone(), port: Some(port.port), subset: None });
        }
        for subset in subsets {
            if upstream_name(port, Some(subset)) == reference.name {
                add(Destination { service: service.clone(), port: Some(port.port), subset: Some(subset.clone()) });
            }
        }
    }
    match found.len() {
        1 => found.pop().ok_or_else(|| unknown(reference, known)),
        0 => Err(unknown(reference, known)),
        _ => Err(ResolveError::Ambiguous {
            reference: reference.clone(),
            candidates: found.iter().take(MAX_CANDIDATES).map(ToString::to_string).collect(),
        }),
    }
}

/// The error for a name that nothing has, with the nearest known upstreams first.
fn unknown(reference: &ResourceRef, known: &[KnownPort]) -> ResolveError {
    let mut candidates: Vec<String> = known
        .iter()
        .flat_map(|k| {
            std::iter::once(upstream_name(&k.port, None))
                .chain(k.subsets.iter().map(|subset| upstream_name(&k.port, Some(subset))))
        })
        .collect();
    candidates.sort_by_key(|candidate| strsim::levenshtein(candidate, &reference.name));
    candidates.dedup();
    candidates.truncate(MAX_CANDIDATES);
    ResolveError::Unknown { reference: reference.clone(), candidates }
}
