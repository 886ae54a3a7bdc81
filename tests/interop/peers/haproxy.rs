//! HAProxy as an upstream, in front of a backend that logs every byte.

use std::{fs, net::SocketAddr};

use tempfile::TempDir;

use super::{Server, port::ReservedPort};
use crate::{harness::Upstream, program::Program};

/// A running HAProxy; the backend behind it answers every request with its target.
#[derive(Debug)]
pub struct HaProxy {
    program: Program,
    port: ReservedPort,
    backend: Upstream,
    _folder: TempDir,
}

impl HaProxy {
    /// Starts it.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = ReservedPort::new();
        let backend = Upstream::naming_the_target();
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration(port.address(), backend.address())).unwrap();
        // In the foreground it is one process, so that killing it leaves nothing behind.
        let program = Program::start("/usr/sbin/haproxy", &["-db", "-V", "-f", file.to_str().unwrap()], |line| {
            line.starts_with("Available filters")
        });
        port.wait_until_served();
        Self { program, port, backend, _folder: folder }
    }
}

impl HaProxy {
    /// How many requests have reached the backend.
    pub fn passed_on(&self) -> usize {
        self.backend.account().requests.len()
    }
}

impl Server for HaProxy {
    fn address(&self) -> SocketAddr {
        self.port.address()
    }

    fn seen(&self) -> Vec<String> {
        self.program.lines().into_iter().filter(|line| line.starts_with("request ")).collect()
    }
}

fn configuration(listen: SocketAddr, backend: SocketAddr) -> String {
    // A connection without a byte is not logged (dontlognull): the proxy may close an idle one at any time.
    format!(
        "global
  nbthread 1
  maxconn 512
  tune.bufsize 131072
  log stderr format raw local0
defaults
  mode http
  log global
  option dontlognull
  timeout client 30s
  timeout server 30s
  timeout connect 5s
  log-format \"request %{{+Q}}r %ST\"
frontend front
  bind {listen}
  default_backend back
backend back
  server only {backend}
"
    )
}
