//! An authority of a test's own, and the files with what it has issued.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tempfile::TempDir;

/// An authority whose own certificate is in a file.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    /// A new one; no two have the same key.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(authority("root", &key), key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    /// The file with its certificate.
    pub fn file(&self) -> String {
        self.folder.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// The configuration of a client that trusts it alone, and offers `protocols` by ALPN.
    pub fn client(&self, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let mut config =
            builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// A certificate for `name`.
    pub fn issue(&self, name: &str) -> Issued {
        issued_by(&self.issuer, name)
    }

    /// A certificate for `name` that an intermediate authority has issued, which stands behind it in the chain.
    pub fn issue_by_an_intermediate(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let intermediate = CertifiedIssuer::signed_by(authority("intermediate", &key), key, &self.issuer).unwrap();
        let mut issued = issued_by(&intermediate, name);
        issued.chain.push_str(&intermediate.pem());
        issued
    }
}

/// An authority's certificate, in whose name its key stands: no two authorities may be taken for each other.
fn authority(kind: &str, key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("{kind} {:x?}", &key.public_key_raw()[1..9]));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn issued_by(issuer: &CertifiedIssuer<'_, KeyPair>, name: &str) -> Issued {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
    Issued { own: certificate.der().clone(), chain: certificate.pem(), key: key.serialize_pem() }
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate alone.
    pub own: CertificateDer<'static>,
    chain: String,
    key: String,
}

/// The files of a certificate and its key, changed both at once as the kubelet changes those of a Secret: they stand in a
/// folder of their own, and a link to it is renamed.
#[derive(Debug)]
pub struct Files(TempDir);

impl Files {
    /// Files with what was issued.
    pub fn with(issued: &Issued) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.put(&issued.chain, &issued.key);
        files
    }

    /// Puts what was issued in the place of what is there.
    pub fn replace(&self, issued: &Issued) {
        self.put(&issued.chain, &issued.key);
    }

    /// Puts in a key that does not belong to the certificate.
    pub fn replace_key(&self, issued: &Issued) {
        self.put(&fs::read_to_string(self.certificate()).unwrap(), &issued.key);
    }

    /// Puts in a certificate of which only half is there.
    pub fn cut_off(&self, issued: &Issued) {
        self.put(&issued.chain[..issued.chain.len() / 2], &issued.key);
    }

    /// The file with the chain.
    pub fn certificate(&self) -> String {
        self.path("data/tls.crt")
    }

    /// The file with the key.
    pub fn key(&self) -> String {
        self.path("data/tls.key")
    }

    fn put(&self, chain: &str, key: &str) {
        let version = tempfile::tempdir_in(self.0.path()).unwrap().keep();
        fs::write(version.join("tls.crt"), chain).unwrap();
        fs::write(version.join("tls.key"), key).unwrap();
        symlink(version, self.path("next")).unwrap();
        fs::rename(self.path("next"), self.path("data")).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}
