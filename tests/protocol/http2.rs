//! HTTP/2 with prior knowledge: a raw client in front of the real binary, raw upstreams of both versions behind it.

mod bad_upstream;
mod conformance;
mod draining;
mod faults;
mod field_blocks;
mod floods;
mod flow_control;
mod from_http1;
mod lengths;
mod malformed;
mod resets;
mod slow_peers;
mod small_data;
mod streams;
mod the_harness;
mod to_http1;
mod to_http2;
mod upstream_failures;

use crate::harness::{Glooshot, Setup, Upstream, glooshot::SERVICE, h2};

/// `glooshot proxy` with an upstream that is spoken to in HTTP/1, whatever the client speaks.
fn to_http1(upstream: &Upstream) -> Setup {
    let protocol = format!("{SERVICE}=http1");
    Setup::proxy().to(upstream.address()).with(["--upstream-protocol", &protocol])
}

/// The same, started.
#[track_caller]
fn before_http1(upstream: &Upstream) -> Glooshot {
    to_http1(upstream).start()
}

/// `glooshot proxy` with default settings in front of an upstream that speaks HTTP/2.
#[track_caller]
fn before_http2(upstream: &h2::Upstream) -> Glooshot {
    Setup::proxy().to(upstream.address()).start()
}
