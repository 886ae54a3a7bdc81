//! The `Mesh` resource: a data path that experiments can name, written by discovery.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// A data path. Exactly one of the two is set.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "glooshot.solo.io",
    version = "v1",
    kind = "Mesh",
    plural = "meshes",
    namespaced,
    derive = "PartialEq",
    category = "chaos",
    doc = "A data path that experiments can name as their targetMesh. Written by Glooshot's discovery.",
    printcolumn(name = "Istio", type_ = "string", json_path = ".spec.istio.version"),
    printcolumn(name = "Installed in", type_ = "string", json_path = ".spec.istio.installationNamespace"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_of(&["istio", "proxy"], "a mesh is exactly one of istio and proxy"))]
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
    #[schemars(length(min = 1, max = 63))]
    pub installation_namespace: String,
    /// Its version.
    #[schemars(length(max = 64))]
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
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
