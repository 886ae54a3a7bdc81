//! Makes certificates: an authority of our own, and the leaf that it signs.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::{
    PkiError,
    certificate::{Authority, Leaf, Pair},
    rotation::{BACKDATED, Life, Rule},
};

impl Authority {
    /// A new authority that lives from now on.
    pub(super) fn make(rule: &Rule, now: SystemTime) -> Result<Self, PkiError> {
        let life = Life { not_before: now - BACKDATED, not_after: now + rule.authority };
        let mut params = CertificateParams::default();
        // Two authorities in one bundle must not have one name: a verifier finds the signer of a leaf by it.
        params.distinguished_name.push(DnType::CommonName, format!("Glooshot {:016x}", fastrand::u64(..)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_life(&mut params, life);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Self::parse(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A new leaf of this authority for servers with these DNS names; it ends with the authority at the latest.
    pub(super) fn sign(&self, names: &[String], rule: &Rule, now: SystemTime) -> Result<Leaf, PkiError> {
        let unusable = |problem: String| PkiError::Names { names: names.to_vec(), problem };
        if names.is_empty() {
            return Err(unusable("a server needs a name".to_owned()));
        }
        let life = Life { not_before: now - BACKDATED, not_after: (now + rule.leaf).min(self.life.not_after) };
        let mut params = CertificateParams::new(names).map_err(|error| unusable(error.to_string()))?;
        params.distinguished_name.push(DnType::CommonName, "glooshot");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_life(&mut params, life);
        let signer = KeyPair::from_pem(&self.pair.key).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&self.pair.certificate, signer).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        Leaf::parse(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Certificates count whole seconds.
fn set_life(params: &mut CertificateParams, life: Life) {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = |time| date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(since(time));
    params.not_before = date(life.not_before);
    params.not_after = date(life.not_after);
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err asks for")]
fn failed(error: rcgen::Error) -> PkiError {
    PkiError::Make(error.to_string())
}
