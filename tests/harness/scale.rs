//! The one table of how large each test is: small for every run, large for the drill (`GLOOSHOT_DRILL=1`).

use std::env;

/// A number of requests, connections, rounds or units of time, small and large.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    small: u64,
    large: u64,
}

/// E1: requests through a proxy without a plan.
pub const ZERO_PLAN: Scale = Scale { small: 20_000, large: 10_000_000 };
/// E2: requests of which a percentage is aborted.
pub const ABORT_RATE: Scale = Scale { small: 20_000, large: 100_000 };
/// E4: requests that just fail to match.
pub const SCOPE: Scale = Scale { small: 5_000, large: 1_000_000 };
/// E14: connections of which a percentage is reset.
pub const CONNECTIONS: Scale = Scale { small: 2_000, large: 20_000 };
/// E5: stops under load.
pub const STOPS: Scale = Scale { small: 1, large: 50 };
/// A18: bytes through an upgraded connection, each way.
pub const TUNNEL_BYTES: Scale = Scale { small: 10 << 20, large: 1 << 30 };
/// Bytes of one WebSocket frame that is echoed.
#[allow(dead_code, reason = "only the suite interop sends frames")]
pub const WEB_SOCKET_FRAME: Scale = Scale { small: 1 << 20, large: 16 << 20 };
/// C2: streams that are opened and reset at once.
pub const RAPID_RESETS: Scale = Scale { small: 10_000, large: 100_000 };
/// C3: bytes of field blocks without an end.
pub const ENDLESS_FIELDS: Scale = Scale { small: 8 << 20, large: 256 << 20 };
/// C5, C6: frames that carry nothing or next to nothing.
pub const FLOOD_FRAMES: Scale = Scale { small: 50_000, large: 1_000_000 };
/// The bytes of an answer that is read slowly or not at all.
pub const LARGE_ANSWER: Scale = Scale { small: 16 << 20, large: 512 << 20 };

/// D1 to D5: slow connections at a time.
pub const SLOW_PEERS: Scale = Scale { small: 200, large: 5_000 };
/// D1 to D5: good clients beside them.
pub const GOOD_CLIENTS: Scale = Scale { small: 10, large: 100 };
/// D1 to D5: milliseconds that they are given; more connections need more time to be made.
pub const SLOW_LIMIT: Scale = Scale { small: 1_500, large: 10_000 };
/// D6: bytes of an answer that is read slowly or not at all.
pub const SLOW_READER: Scale = Scale { small: 32 << 20, large: 100 << 20 };
/// D7: connections to a proxy that has no file descriptor left.
pub const CONNECTS: Scale = Scale { small: 200, large: 4_000 };
/// D11: requests of 10 KiB at a time.
pub const AMPLIFIERS: Scale = Scale { small: 300, large: 3_000 };
/// D12: seconds of twice the load that can be served.
pub const OVERLOAD_SECONDS: Scale = Scale { small: 3, large: 60 };
/// F3: seconds in which the plan changes a hundred times.
pub const HOT_SWAP_SECONDS: Scale = Scale { small: 3, large: 60 };
/// F2: seconds in which proxies are restarted in turn.
pub const ROLLING_SECONDS: Scale = Scale { small: 3, large: 60 };
/// Hundreds of requests that three proxies of one Service share 90 to 9 to 1.
#[allow(dead_code, reason = "only the suite control has them")]
pub const SKEWED_HUNDREDS: Scale = Scale { small: 1, large: 5 };
/// Seconds of a run in a cluster in which something dies.
#[allow(dead_code, reason = "only the suite in-cluster has one")]
pub const DEATH_RUN_SECONDS: Scale = Scale { small: 20, large: 120 };
/// Seconds in which a cluster's API server stands still.
#[allow(dead_code, reason = "only the suite in-cluster has one")]
pub const API_SERVER_AWAY_SECONDS: Scale = Scale { small: 20, large: 60 };
/// Connections a second to a Service in a cluster that is redirected and put back.
#[allow(dead_code, reason = "only the suite in-cluster has one")]
pub const NEW_CONNECTIONS: Scale = Scale { small: 200, large: 500 };
/// Experiments in a cluster that a condition stops.
#[allow(dead_code, reason = "only the suite in-cluster has one")]
pub const CLUSTER_STOPS: Scale = Scale { small: 3, large: 50 };
/// Forms of a manifest for each who applies a Service in a cluster again: with its target port written, or implied.
#[allow(dead_code, reason = "only the suite in-cluster has them")]
pub const MANIFEST_FORMS: Scale = Scale { small: 1, large: 2 };
/// Seconds in which a cluster has no controller.
#[allow(dead_code, reason = "only the suite in-cluster has one")]
pub const ALONE_SECONDS: Scale = Scale { small: 5, large: 180 };
/// Seconds in which a node's kube-proxy stands still.
#[allow(dead_code, reason = "only the suite in-cluster has one")]
pub const KUBE_PROXY_STOPPED_SECONDS: Scale = Scale { small: 5, large: 10 };
/// Seconds in which a node is cut off: in the drill until Kubernetes has given it up.
#[allow(dead_code, reason = "only the suite in-cluster has one")]
pub const NODE_AWAY_SECONDS: Scale = Scale { small: 15, large: 90 };
/// Writes of a controller at which it dies, of each of two lives of an Experiment; all of them in the drill.
#[allow(dead_code, reason = "only the suite controller has them")]
pub const CRASHES: Scale = Scale { small: 2, large: 1_000 };
/// Experiments at one time on the number of Services that follows.
#[allow(dead_code, reason = "only the suite controller has them")]
pub const CROWD_EXPERIMENTS: Scale = Scale { small: 12, large: 50 };
/// Services that all of these want.
#[allow(dead_code, reason = "only the suite controller has them")]
pub const CROWD_SERVICES: Scale = Scale { small: 5, large: 20 };

impl Scale {
    /// The number for this run.
    pub fn get(self) -> u64 {
        if env::var("GLOOSHOT_DRILL").is_ok_and(|value| value == "1") { self.large } else { self.small }
    }
}
