//! The `RoutingRule` resource: the traffic-shifting half of SuperGloo's, which the tutorial uses.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::ResourceRef;

/// Which upstreams' traffic is shifted, and where to.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "glooshot.solo.io",
    version = "v1",
    kind = "RoutingRule",
    namespaced,
    status = "RoutingRuleStatus",
    derive = "PartialEq",
    shortname = "rr",
    category = "chaos",
    doc = "Shifts the traffic of an upstream to others by weight, on both data paths.",
    printcolumn(name = "Mesh", type_ = "string", json_path = ".spec.targetMesh.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RoutingRuleSpec {
    /// The data path, by the name of its Mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_mesh: Option<ResourceRef>,
    /// The upstreams whose traffic is shifted.
    pub destination_selector: DestinationSelector,
    /// What is done with it.
    pub spec: RoutingRuleBody,
}

/// The upstreams whose traffic is shifted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationSelector {
    /// By name.
    pub upstream_selector: UpstreamSelector,
}

/// Upstreams by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamSelector {
    /// The upstreams, as in `bookinfo-reviews-9080`.
    #[schemars(length(min = 1, max = 32))]
    pub upstreams: Vec<ResourceRef>,
}

/// What is done with the selected traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingRuleBody {
    /// It is shared out by weight.
    pub traffic_shifting: TrafficShifting,
}

/// Shares of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficShifting {
    /// Where it goes.
    pub destinations: WeightedDestinations,
}

/// A list of destinations with weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightedDestinations {
    /// The destinations.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.exists(d, d.weight > 0)").message("the weights add up to 0: give one destination a weight, as in weight: 1"))]
    pub destinations: Vec<WeightedDestination>,
}

/// One destination and its weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightedDestination {
    /// The destination.
    pub destination: UpstreamDestination,
    /// Its share, in proportion to the sum of all weights.
    #[schemars(range(max = 1_000_000))]
    pub weight: u32,
}

/// An upstream as a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamDestination {
    /// The upstream, as in `bookinfo-reviews-v4-9080`.
    pub upstream: ResourceRef,
}

/// Whether the rule is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingRuleStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Pending`, `Accepted` (in force) or `Rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub state: Option<String>,
    /// Why it is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub reason: Option<String>,
}
