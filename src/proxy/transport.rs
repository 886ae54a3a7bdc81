//! How the upstream of a Service port is spoken to: in which version of HTTP, and inside TLS or not; pure.

use std::sync::Arc;

use http::{Version, uri::Scheme};

use super::tls::UpstreamTls;

/// In which version of HTTP an upstream is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// As the client speaks: who speaks HTTP/2 to a service without TLS does so because the service speaks it. Where the
    /// client's TLS ends here and the upstream is plain, that says nothing about the upstream, and it is HTTP/1.
    #[default]
    Same,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by prior knowledge where there is no TLS.
    Http2,
}

/// What goes over a connection to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How the upstream of a listener is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    /// The version that was asked for.
    pub(crate) protocol: UpstreamProtocol,
    /// TLS towards the upstream.
    pub(crate) tls: Option<Arc<UpstreamTls>>,
    /// Whether the client's TLS ends here.
    pub(crate) ends_tls: bool,
    /// Tells connections inside TLS of one listener from those of others; 0 without TLS.
    pub(crate) id: usize,
}

impl Transport {
    /// What a client's request in `version` goes over.
    pub(crate) fn wire(&self, version: Version) -> Wire {
        let as_client = if version == Version::HTTP_2 { Wire::Http2 } else { Wire::Http1 };
        match self.protocol {
            UpstreamProtocol::Http1 => Wire::Http1,
            UpstreamProtocol::Http2 => Wire::Http2,
            UpstreamProtocol::Same if self.ends_tls && self.tls.is_none() => Wire::Http1,
            UpstreamProtocol::Same => as_client,
        }
    }

    /// Whether HTTP/1 will do where the upstream's TLS does not offer HTTP/2.
    pub(crate) fn falls_back(&self) -> bool {
        self.tls.is_some() && self.protocol != UpstreamProtocol::Http2
    }

    /// The scheme of the requests.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(protocol: UpstreamProtocol, ends_tls: bool, version: Version) -> Wire {
        Transport { protocol, tls: None, ends_tls, id: 0 }.wire(version)
    }

    #[test]
    fn an_upstream_is_spoken_to_as_the_client_speaks_unless_it_is_said_otherwise() {
        use UpstreamProtocol::{Http1, Http2, Same};
        assert_eq!(wire(Same, false, Version::HTTP_2), Wire::Http2);
        assert_eq!(wire(Same, false, Version::HTTP_11), Wire::Http1);
        assert_eq!(wire(Same, false, Version::HTTP_10), Wire::Http1);
        assert_eq!(wire(Same, true, Version::HTTP_2), Wire::Http1);
        assert_eq!(wire(Http1, false, Version::HTTP_2), Wire::Http1);
        assert_eq!(wire(Http2, true, Version::HTTP_11), Wire::Http2);
    }
}
