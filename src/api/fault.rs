//! What an experiment breaks: which requests or connections, and how.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{names::ResourceRef, quantity::GoDuration, rules};

/// One fault and the requests, or new connections, that it applies to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.destinationServices) && size(self.destinationServices) > 0").message(
    "destinationServices must name at least one service, as in [{name: bookinfo-ratings-9080, namespace: glooshot}]"
))]
#[x_kube(validation = Rule::new("!has(self.match) || !has(self.fault) || !has(self.fault.connection)").message(
    "match does not apply to a connection fault, since there is no request yet: leave it out; originServices chooses by caller"
))]
#[x_kube(validation = rules::required("fault", "fault is missing: say what to do, as in fault: {abort: {httpStatus: 500}, percentage: 50}"))]
pub struct InjectedFault {
    /// Only requests sent by these services; any caller when empty.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origin_services: Vec<ResourceRef>,
    /// Requests sent to these services. Must not be empty. For a connection fault whole services only, no subset.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destination_services: Vec<ResourceRef>,
    /// Only requests that match; all when omitted. Not for a connection fault.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<RequestMatch>,
    /// What is done to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// Exactly one of `abort`, `delay` and `connection`, and the percentage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_of(&["abort", "delay", "connection"], "a fault is exactly one of abort, delay and connection, as in abort: {httpStatus: 500}"))]
#[x_kube(validation = Rule::new("has(self.percentage) && self.percentage > 0.0 && self.percentage <= 100.0").message(
    "percentage is required, above 0 and at most 100, as in percentage: 25"
))]
pub struct Fault {
    /// Answer in the place of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
    /// Hold the request back before the service sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Reset or hold back new connections, whatever they speak: also TLS and other TCP, which are passed through unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionFault>,
    /// The share of the matching requests, or of the new connections, above 0 and at most 100. Required: there is no
    /// safe default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentage: Option<f64>,
}

/// An answer in the place of the service: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_of(&["httpStatus", "grpcStatus"], "an abort is exactly one of httpStatus and grpcStatus, as in httpStatus: 500"))]
pub struct Abort {
    /// An HTTP status from 200 to 599.
    #[x_kube(validation = rules::within(200, 599, "an HTTP status", "500"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,
    /// A gRPC status, 1 to 16, answered as trailers only.
    #[x_kube(validation = rules::within(1, 16, "a gRPC status", "14"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<i32>,
}

/// What is done to a new connection before a byte of it is read: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_of(&["reset", "delay"], "a connection fault is exactly one of reset and delay, as in connection: {reset: true}"))]
pub struct ConnectionFault {
    /// `true`: the client gets a TCP reset, and the service sees nothing.
    #[x_kube(validation = Rule::new("self").message("reset is true or left out, as in connection: {reset: true}"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<bool>,
    /// Held back before the service is contacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
}

/// A delay before the service is contacted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::jitter_within_the_delay())]
pub struct Delay {
    /// How long: above 0 and at most 60s.
    #[x_kube(validation = rules::duration_up_to("60s"))]
    pub duration: GoDuration,
    /// Each delay is longer or shorter by up to this, uniformly.
    #[x_kube(validation = rules::duration_from_zero_up_to("60s"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<GoDuration>,
}

/// Which requests a fault applies to: all the given parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestMatch {
    /// The path as it was sent, without the query: exactly one of the three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Any of these methods, in capitals.
    #[schemars(length(max = 16), inner(length(min = 1, max = 32)))]
    #[x_kube(validation = Rule::new("self.all(method, method.matches(\"^[!#$%&'*+.^_`|~0-9A-Z-]+$\"))").message(
        "a method is written in capitals, as in GET"
    ))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// All of these headers.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
}

/// Exactly one way to match the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_of(&["exact", "prefix", "regex"], "a path is matched by exactly one of exact, prefix and regex, as in prefix: /api/"))]
pub struct PathMatch {
    /// The whole path.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("a path begins with /, as in /api/v1"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The beginning of the path.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("a path begins with /, as in /api/"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A regular expression (RE2 syntax) that the whole path must match.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// One header, and exactly one way to match it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_of(&["exact", "prefix", "regex", "present"], "a header is matched by exactly one of exact, prefix, regex and present, as in {name: x-user, exact: jason}"))]
pub struct HeaderMatch {
    /// The header's name, in any case.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches(\"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$\")").message(
        "a header name has letters, digits and hyphens only, as in x-user"
    ))]
    pub name: String,
    /// The whole value.
    #[schemars(length(max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The beginning of the value.
    #[schemars(length(max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A regular expression (RE2 syntax) that the whole value must match.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Whether the header is there at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}
