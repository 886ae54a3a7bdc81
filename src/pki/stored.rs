//! Authorities and leaf together: as bytes out and bytes in, and one step of their rotation.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};

use super::{
    PkiError,
    certificate::{Authority, Leaf, Pair, single, unusable},
    rotation::{self, Due, Life, Rule, State},
};

/// The form of the bytes.
const FORM: u32 = 1;
/// Bytes at the most: a few certificates and keys.
const MAX_BYTES: usize = 64 << 10;
/// Authorities at the most: the one that signs, its successor, and one that is on its way out.
const MAX_AUTHORITIES: usize = 3;

/// Everything that a server of ours needs to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pki {
    /// Oldest first; never empty.
    authorities: Vec<Authority>,
    /// Which of them signed the leaf.
    signer: usize,
    leaf: Leaf,
}

/// How it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    form: u32,
    authorities: Vec<Pair>,
    leaf: Pair,
}

impl Pki {
    /// A new authority, and a leaf for servers with these DNS names.
    ///
    /// # Errors
    /// When no certificate can be made for the names.
    pub fn new(names: &[String], rule: &Rule, now: SystemTime) -> Result<Self, PkiError> {
        let authority = Authority::make(rule, now)?;
        let leaf = authority.sign(names, rule, now)?;
        Ok(Self { authorities: vec![authority], signer: 0, leaf })
    }

    /// Reads what [`Pki::to_bytes`] wrote.
    ///
    /// # Errors
    /// When it is anything else, or when its parts do not belong together.
    pub fn parse(bytes: &[u8]) -> Result<Self, PkiError> {
        if bytes.len() > MAX_BYTES {
            return Err(unusable("they are longer than 64 KiB"));
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|error| unusable(&error.to_string()))?;
        if document.form != FORM {
            return Err(unusable(&format!("their form is {}, and only {FORM} is known here", document.form)));
        }
        if document.authorities.is_empty() || document.authorities.len() > MAX_AUTHORITIES {
            return Err(unusable(&format!("there are {} authorities", document.authorities.len())));
        }
        let authorities = document.authorities.into_iter().map(Authority::parse).collect::<Result<Vec<_>, _>>()?;
        let leaf = Leaf::parse(document.leaf)?;
        let signed = authorities.iter().map(|authority| authority.signed(&leaf)).collect::<Result<Vec<_>, _>>()?;
        let signer = signed.into_iter().position(|signed| signed);
        let signer = signer.ok_or_else(|| unusable("none of the authorities signed the server's certificate"))?;
        Ok(Self { authorities, signer, leaf })
    }

    /// What is to be kept, secret.
    ///
    /// # Errors
    /// Never, in practice: the parts are plain texts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PkiError> {
        let authorities = self.authorities.iter().map(|authority| authority.pair.clone()).collect();
        let document = Document { form: FORM, authorities, leaf: self.leaf.pair.clone() };
        serde_json::to_vec_pretty(&document).map_err(|error| PkiError::Make(error.to_string()))
    }

    /// What is due now, where servers should have these names.
    pub fn due(&self, names: &[String], rule: &Rule, now: SystemTime) -> Due {
        let lives: Vec<Life> = self.authorities.iter().map(|authority| authority.life).collect();
        let names_fit = self.leaf.names == names;
        rotation::due(State { authorities: &lives, signer: self.signer, leaf: self.leaf.life, names_fit }, rule, now)
    }

    /// The same after one step of the rotation.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn after(&self, due: Due, names: &[String], rule: &Rule, now: SystemTime) -> Result<Self, PkiError> {
        let mut next = self.clone();
        match due {
            Due::Nothing => {}
            Due::StartAnew => next = Self::new(names, rule, now)?,
            Due::AddAuthority => next.authorities.push(Authority::make(rule, now)?),
            Due::RenewLeaf { signer } => {
                let authority = self.authorities.get(signer);
                let authority = authority.ok_or_else(|| PkiError::Make(format!("there is no authority {signer}")))?;
                next.leaf = authority.sign(names, rule, now)?;
                next.signer = signer;
            }
            // The one that signed the leaf is needed as long as the leaf is.
            Due::DropOldest if self.signer > 0 => {
                next.authorities.remove(0);
                next.signer -= 1;
            }
            Due::DropOldest => return Err(PkiError::Make("the oldest authority signed the leaf in use".to_owned())),
        }
        Ok(next)
    }

    /// Whom clients have to trust, as PEM; no secret.
    pub fn bundle(&self) -> String {
        self.authorities.iter().map(|authority| authority.pair.certificate.as_str()).collect()
    }

    /// The leaf with its key, as a server shows it.
    ///
    /// # Errors
    /// When the TLS library refuses the key.
    pub fn certified_key(&self) -> Result<Arc<CertifiedKey>, PkiError> {
        let key = PrivateKeyDer::from_pem_slice(self.leaf.pair.key.as_bytes())
            .map_err(|error| unusable(&format!("a key is not PEM: {error}")))?;
        let chain = vec![single(&self.leaf.pair.certificate)?];
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
        Ok(Arc::new(certified.map_err(|error| unusable(&error.to_string()))?))
    }
}

#[cfg(test)]
mod tests;
