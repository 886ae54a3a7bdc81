//! TLS towards targets: whom to believe, and which version of HTTP to offer.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::client::dial::H2;
use crate::config::{ConfigError, Trust};

/// Name of HTTP/1.1 in TLS (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The configuration of all connections of a run.
pub(crate) fn client_config(trust: &Trust, http2: bool) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::Trust(error.to_string()))?;
    let mut config = match trust {
        Trust::Web => {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Pem(pem) => builder.with_root_certificates(read(pem)?).with_no_client_auth(),
        Trust::Anyone => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![if http2 { H2.to_vec() } else { HTTP_1_1.to_vec() }];
    Ok(config)
}

fn read(pem: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| ConfigError::Trust(error.to_string()))?;
        roots.add(certificate).map_err(|error| ConfigError::Trust(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(ConfigError::Trust("there is no certificate (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(roots)
}

/// Believes every certificate, and still checks that the server has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let pem = Trust::Pem(pem.to_owned().into());
            assert!(matches!(client_config(&pem, false), Err(ConfigError::Trust(_))), "{pem:?}");
        }
    }

    #[test]
    fn one_version_of_http_is_offered() -> Result<(), ConfigError> {
        assert_eq!(client_config(&Trust::Web, false)?.alpn_protocols, [HTTP_1_1]);
        assert_eq!(client_config(&Trust::Anyone, true)?.alpn_protocols, [H2]);
        Ok(())
    }
}
