//! The `Mesh` resource: a data path that experiments can name, written by discovery.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A data path. Exactly one of the two is set.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "glooshot.solo.io",
    version = "v1",
    kind = "Mesh",
    plural = "meshes",
    namespaced,
    derive = "PartialEq",
    category = "chaos"
)]
#[serde(rename_all = "camelCase")]
pub struct MeshSpec {
    /// An Istio installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio: Option<IstioMesh>,
    /// Glooshot's own proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyMesh>,
}

/// An Istio installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IstioMesh {
    /// The namespace of its control plane.
    pub installation_namespace: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether its sidecars require mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls_enabled: Option<bool>,
}

/// Glooshot's own proxy, which is always there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyMesh {
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
