//! The certificate that a server shows to new sessions; a change of it cuts none that there are.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The certificate in force.
#[derive(Debug)]
pub struct CurrentCertificate(ArcSwap<CertifiedKey>);

impl CurrentCertificate {
    /// Shows this one.
    pub fn new(certificate: Arc<CertifiedKey>) -> Self {
        Self(ArcSwap::new(certificate))
    }

    /// From now on shows this one.
    pub fn set(&self, certificate: Arc<CertifiedKey>) {
        self.0.store(certificate);
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
