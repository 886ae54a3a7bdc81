//! Go's net/http as an upstream (`tests/interop/goserver`), HTTP/1 and HTTP/2 on one port.

use std::net::SocketAddr;

use super::{Server, cached, certificates::Files};
use crate::program::Program;

/// A running server that answers every request with its target.
#[derive(Debug)]
pub struct GoServer {
    program: Program,
    address: SocketAddr,
}

impl GoServer {
    /// Starts it without TLS.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts it with a certificate.
    #[track_caller]
    pub fn start_tls(files: &Files) -> Self {
        Self::start_with(&[files.certificate().as_str(), files.key().as_str()])
    }

    #[track_caller]
    fn start_with(arguments: &[&str]) -> Self {
        let program = Program::start(&cached("goserver"), arguments, |line| line.starts_with("listening on "));
        let address = program.lines().iter().find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        Self { program, address: address.unwrap() }
    }

    /// All that it has said.
    pub fn lines(&self) -> Vec<String> {
        self.program.lines()
    }
}

impl Server for GoServer {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn seen(&self) -> Vec<String> {
        self.program.lines().into_iter().filter(|line| line.starts_with("request ")).collect()
    }
}
