//! nginx as an upstream; its access log says what it has seen.

use std::{fs, net::SocketAddr};

use tempfile::TempDir;

use super::{Server, port::ReservedPort};
use crate::program::Program;

/// A running nginx that answers every request with its target.
#[derive(Debug)]
pub struct Nginx {
    program: Program,
    port: ReservedPort,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = ReservedPort::new();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("nginx.conf"), configuration(&at, port.address())).unwrap();
        let arguments = ["-e", "stderr", "-c", &at("nginx.conf")];
        // One process, so that killing it leaves no worker behind.
        let program = Program::start("/usr/sbin/nginx", &arguments, |line| line.contains("OS: "));
        port.wait_until_served();
        Self { program, port, _folder: folder }
    }
}

impl Server for Nginx {
    fn address(&self) -> SocketAddr {
        self.port.address()
    }

    fn seen(&self) -> Vec<String> {
        self.program.lines().into_iter().filter(|line| line.starts_with("request ")).collect()
    }
}

fn configuration(at: &dyn Fn(&str) -> String, listen: SocketAddr) -> String {
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|purpose| format!("{purpose}_temp_path {};", at(purpose)))
        .join("\n  ");
    format!(
        "daemon off;
master_process off;
pid {};
error_log stderr notice;
events {{ worker_connections 512; }}
http {{
  {folders}
  log_format seen 'request \"$request\" $status';
  access_log /dev/stderr seen;
  keepalive_requests 1000000;
  client_header_buffer_size 128k;
  large_client_header_buffers 4 128k;
  server {{
    listen {listen};
    location / {{ return 200 $request_uri; }}
  }}
}}
",
        at("pid")
    )
}
