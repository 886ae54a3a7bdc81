//! Envoy between a client and one upstream.

use std::{fs, net::SocketAddr};

use tempfile::TempDir;

use super::{Server, cached, port::ReservedPort};
use crate::{
    harness::{Client, eventually, get},
    program::Program,
};

/// What Envoy speaks to its upstream. Towards clients it speaks what they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// With prior knowledge.
    Http2,
}

/// How Envoy is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where its requests go.
    pub upstream: SocketAddr,
    /// What it speaks there.
    pub protocol: Protocol,
    /// How often it tries again after a 5xx, or after no answer.
    pub retries: u32,
    /// How long it waits for an answer, as a protobuf duration.
    pub timeout: &'static str,
}

impl Setup {
    /// No retries, a timeout of ten seconds.
    pub fn to(upstream: SocketAddr, protocol: Protocol) -> Self {
        Self { upstream, protocol, retries: 0, timeout: "10s" }
    }

    /// Starts it.
    #[track_caller]
    pub fn start(&self) -> Envoy {
        let folder = tempfile::tempdir().unwrap();
        let (port, admin) = (ReservedPort::new(), ReservedPort::new());
        let file = folder.path().join("envoy.yaml");
        fs::write(&file, self.configuration(port.address(), admin.address())).unwrap();
        let file = file.to_str().unwrap();
        // A line of the access log is written at once.
        let arguments =
            ["--config-path", file, "--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "1"];
        let program =
            Program::start(&cached("envoy-1.40.0"), &arguments, |line| line.contains("starting main dispatch loop"));
        port.wait_until_served();
        Envoy { program, port, admin, _folder: folder }
    }

    fn configuration(&self, listen: SocketAddr, admin: SocketAddr) -> String {
        let socket = |address: SocketAddr| {
            format!("{{socket_address: {{address: {}, port_value: {}}}}}", address.ip(), address.port())
        };
        let extensions = "type.googleapis.com/envoy.extensions";
        let protocol = match self.protocol {
            Protocol::Http1 => "http_protocol_options: {}",
            // Until a peer has said how many streams it takes, Envoy would begin any number, and let those fail that are refused.
            Protocol::Http2 => "http2_protocol_options: {max_concurrent_streams: 100}",
        };
        let retries = match self.retries {
            0 => String::new(),
            retries => format!(", retry_policy: {{retry_on: \"5xx\", num_retries: {retries}}}"),
        };
        format!(
            r#"admin: {{address: {admin}}}
static_resources:
  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: manager
        typed_config:
          "@type": {extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: downstream
          upgrade_configs: [{{upgrade_type: websocket}}]
          access_log:
          - name: stderr
            typed_config:
              "@type": {extensions}.access_loggers.stream.v3.StderrAccessLog
              log_format: {{text_format_source: {{inline_string: "request %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%\n"}}}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: upstream, timeout: {timeout}{retries}}}}}]
          http_filters:
          - name: router
            typed_config: {{"@type": {extensions}.filters.http.router.v3.Router}}
  clusters:
  - name: upstream
    type: STATIC
    load_assignment:
      cluster_name: upstream
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {upstream}}}}}]}}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {extensions}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{{protocol}}}
"#,
            admin = socket(admin),
            listen = socket(listen),
            upstream = socket(self.upstream),
            timeout = self.timeout,
        )
    }
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    program: Program,
    port: ReservedPort,
    admin: ReservedPort,
    _folder: TempDir,
}

impl Envoy {
    /// What it has counted of its upstream under `name`, as in `upstream_rq_503`; 0 when it has no such figure.
    #[track_caller]
    pub fn counted(&self, name: &str) -> u64 {
        let name = format!("cluster.upstream.{name}");
        let answer = Client::connect(self.admin.address()).ask(&get(&format!("/stats?filter=^{name}$")));
        assert_eq!(answer.status(), 200, "{answer:?}");
        let text = answer.text();
        text.trim().rsplit_once(": ").map_or(0, |(_, count)| count.parse().unwrap())
    }

    /// Waits until it has counted `count` under `name`.
    #[track_caller]
    pub fn wait_for(&self, name: &str, count: u64) {
        eventually(&format!("Envoy counts {count} of {name}"), || (self.counted(name) == count).then_some(()));
    }
}

impl Server for Envoy {
    fn address(&self) -> SocketAddr {
        self.port.address()
    }

    fn seen(&self) -> Vec<String> {
        self.program.lines().into_iter().filter(|line| line.starts_with("request ")).collect()
    }
}
