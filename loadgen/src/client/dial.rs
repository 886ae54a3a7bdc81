//! Opens connections: TCP, and TLS where the target is `https://`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::transport::{Stream, Traffic, Transport};
use crate::summary::ErrorClass;

/// Protocol name of HTTP/2 in TLS (RFC 9113 §3.2).
pub(crate) const H2: &[u8] = b"h2";

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) local_address: Option<IpAddr>,
    pub(crate) tls: Option<Tls>,
}

#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) server_name: ServerName<'static>,
    /// Whether the server must agree to speak HTTP/2.
    pub(crate) must_be_h2: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Origin {
    /// Opens a connection.
    pub(crate) async fn dial(&self, traffic: &Rc<Traffic>) -> Result<Transport, ErrorClass> {
        let tcp = self.connect().await.map_err(|_| ErrorClass::Connect)?;
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                let stream = tls.connector.connect(tls.server_name.clone(), tcp).await;
                let stream = stream.map_err(|_| ErrorClass::Tls)?;
                if tls.must_be_h2 && stream.get_ref().1.alpn_protocol() != Some(H2) {
                    return Err(ErrorClass::Tls);
                }
                Stream::Tls(Box::new(stream))
            }
        };
        Ok(Transport::new(stream, Rc::clone(traffic)))
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(local) = self.local_address {
            // A port in TIME_WAIT may be taken again: a bound socket picks its port before it knows its peer.
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(local, 0))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
