//! Reads certificates and keys that are stored, strictly: what does not fit together is refused, never repaired.

use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, time::ASN1Time};

use super::{PkiError, rotation::Life};

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl std::fmt::Debug for Pair {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// An authority of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) pair: Pair,
    pub(super) life: Life,
}

/// The certificate of a server of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) pair: Pair,
    pub(super) life: Life,
    /// The DNS names that it is for, in their order.
    pub(super) names: Vec<String>,
}

impl Authority {
    /// Reads an authority.
    pub(super) fn parse(pair: Pair) -> Result<Self, PkiError> {
        let der = single(&pair.certificate)?;
        let certificate = x509(&der)?;
        if !certificate.is_ca() {
            return Err(unusable("a certificate among the authorities is no authority"));
        }
        key_fits(&certificate, &pair.key)?;
        let life = life(&certificate)?;
        Ok(Self { pair, life })
    }

    /// Whether it signed this leaf.
    pub(super) fn signed(&self, leaf: &Leaf) -> Result<bool, PkiError> {
        let (own, signed) = (single(&self.pair.certificate)?, single(&leaf.pair.certificate)?);
        let (own, signed) = (x509(&own)?, x509(&signed)?);
        Ok(own.subject() == signed.issuer() && signed.verify_signature(Some(own.public_key())).is_ok())
    }
}

impl Leaf {
    /// Reads a server's certificate.
    pub(super) fn parse(pair: Pair) -> Result<Self, PkiError> {
        let der = single(&pair.certificate)?;
        let certificate = x509(&der)?;
        if certificate.is_ca() {
            return Err(unusable("the server's certificate is an authority"));
        }
        key_fits(&certificate, &pair.key)?;
        let life = life(&certificate)?;
        let alternatives = certificate.subject_alternative_name().map_err(|error| unusable(&error.to_string()))?;
        let names = alternatives.into_iter().flat_map(|names| &names.value.general_names);
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Ok((*name).to_owned()),
            other => Err(unusable(&format!("the server's certificate is for {other}, which is no DNS name"))),
        };
        let names = names.map(dns).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { pair, life, names })
    }
}

/// The one certificate of a PEM text.
pub(super) fn single(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let first = all.next().ok_or_else(|| unusable("a certificate is missing"))?;
    let first = first.map_err(|error| unusable(&format!("a certificate is not PEM: {error}")))?;
    if all.next().is_some() {
        return Err(unusable("there are several certificates where there should be one"));
    }
    Ok(first)
}

fn x509<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(unusable("there are bytes behind a certificate")),
        Err(error) => Err(unusable(&format!("a certificate cannot be read: {error}"))),
    }
}

fn key_fits(certificate: &X509Certificate<'_>, key: &str) -> Result<(), PkiError> {
    let key = KeyPair::from_pem(key).map_err(|error| unusable(&format!("a key cannot be read: {error}")))?;
    if key.public_key_raw() != certificate.public_key().subject_public_key.data.as_ref() {
        return Err(unusable("a key is not the one of its certificate"));
    }
    Ok(())
}

fn life(certificate: &X509Certificate<'_>) -> Result<Life, PkiError> {
    let moment = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).ok();
        seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
    };
    let validity = certificate.validity();
    moment(validity.not_before)
        .zip(moment(validity.not_after))
        .filter(|(from, to)| from < to)
        .map(|(not_before, not_after)| Life { not_before, not_after })
        .ok_or_else(|| unusable("a certificate is never valid"))
}

pub(super) fn unusable(problem: &str) -> PkiError {
    PkiError::Stored(problem.to_owned())
}
