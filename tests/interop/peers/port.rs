//! Ports for programs that must be told where to listen.

use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::harness::eventually;

/// A port of loopback that the kernel gives to nobody else while this lives, and on which one program can listen.
///
/// A bound socket that does not listen keeps the port, and lets others bind to it that ask for the port by number and allow
/// reuse, as servers do (socket(7), SO_REUSEADDR).
#[derive(Debug)]
pub struct ReservedPort(Socket);

impl ReservedPort {
    /// Reserves a port.
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// Waits until a program accepts connections there.
    #[track_caller]
    pub fn wait_until_served(&self) {
        eventually("the program accepts connections", || TcpStream::connect(self.address()).ok());
    }
}
