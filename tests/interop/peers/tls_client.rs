//! rustls as a client, under the raw bytes of HTTP/1.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{
    ClientConnection, Error, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};

use super::certificates::Authority;
use crate::harness::{
    Message,
    patience::PATIENCE,
    wire::{self, Parsed, readable},
};

/// One session.
#[derive(Debug)]
pub struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl TlsClient {
    /// Connects to `address`, trusts `authority` to name `name`, and offers `protocols` by ALPN.
    pub fn try_connect(
        address: SocketAddr,
        authority: &Authority,
        name: &str,
        protocols: &[&str],
    ) -> Result<Self, std::io::Error> {
        let config = Arc::new(authority.client(protocols));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(config, name).unwrap();
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { stream: StreamOwned::new(session, socket) })
    }

    /// The same; fails the test when no session comes about.
    #[track_caller]
    pub fn connect(address: SocketAddr, authority: &Authority, name: &str, protocols: &[&str]) -> Self {
        Self::try_connect(address, authority, name, protocols).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What was agreed by ALPN.
    pub fn agreed(&self) -> Option<String> {
        self.stream.conn.alpn_protocol().map(wire::latin1)
    }

    /// The certificate of the other end.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// Sends `request` and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, request: &[u8]) -> Message {
        self.stream.write_all(request).unwrap();
        let mut come = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match wire::response(&come, "GET", false) {
                Parsed::Whole(message) => return *message,
                Parsed::Broken(why) => panic!("{why}: {}", readable(&come)),
                Parsed::Partial => {
                    let count = self.stream.read(&mut buffer).unwrap();
                    assert_ne!(count, 0, "the session ended behind {}", readable(&come));
                    come.extend_from_slice(&buffer[..count]);
                }
            }
        }
    }

    /// The stream inside the session.
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.stream
    }
}

/// The TLS alert that ended a handshake, if one did.
pub fn alert(error: &std::io::Error) -> Option<rustls::AlertDescription> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}
