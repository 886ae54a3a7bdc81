//! Go's net/http as an upstream (`tests/interop/goserver`), HTTP/1 and HTTP/2 without TLS on one port.

use std::net::SocketAddr;

use super::{Server, cached};
use crate::program::Program;

/// A running server that answers every request with its target.
#[derive(Debug)]
pub struct GoServer {
    program: Program,
    address: SocketAddr,
}

impl GoServer {
    /// Starts it.
    #[track_caller]
    pub fn start() -> Self {
        let program = Program::start(&cached("goserver"), &[], |line| line.starts_with("listening on "));
        let address = program.lines().iter().find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        Self { program, address: address.unwrap() }
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
