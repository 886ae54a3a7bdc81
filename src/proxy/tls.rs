//! TLS: a client's session ends here with a certificate from files, and a new one begins towards the upstream.
//!
//! Files are looked at every second and taken when they have changed and fit together; otherwise what is in force stays.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::ResolvesServerCert,
    sign::CertifiedKey,
};

use crate::pki::CurrentCertificate;

/// Between two looks at the files: the kubelet itself takes up to a minute to write a changed Secret.
const RELOAD: Duration = Duration::from_secs(1);
/// Bytes of a file at the most: a chain or a bundle, not a data set.
const MAX_FILE: u64 = 1 << 20;
/// How HTTP/2 and HTTP/1.1 are called in ALPN (RFC 7301, RFC 9113 §3.2).
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The files with a certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is asked of an upstream's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTrust {
    /// The authorities that may have signed it, as PEM; without it those that browsers trust.
    pub ca: Option<PathBuf>,
    /// The name that it must be for.
    pub server_name: String,
}

/// Why TLS cannot be set up: the files' fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {problem}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Ends clients' sessions.
#[derive(Debug)]
pub(crate) struct Termination {
    pub(crate) config: Arc<ServerConfig>,
    current: Arc<CurrentCertificate>,
    files: CertificateFiles,
    /// The fingerprint of what the files held when they were read first.
    loaded: u64,
}

/// Begins sessions with upstreams.
#[derive(Debug)]
pub(crate) struct UpstreamTls {
    /// The name that the upstream's certificate must be for.
    pub(crate) server_name: ServerName<'static>,
    current: ArcSwap<Offers>,
    ca: Option<PathBuf>,
    /// The fingerprint of what the file held when it was read first.
    loaded: u64,
}

/// The configurations of a session, by what it offers to speak.
#[derive(Debug)]
struct Offers {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    either: Arc<ClientConfig>,
    nothing: Arc<ClientConfig>,
}

/// What a new session offers to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// HTTP/2, or HTTP/1.1 where the upstream does not know it.
    Either,
    /// Nothing: what will be spoken is not known.
    Nothing,
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().map_or_else(|| Arc::new(rustls::crypto::ring::default_provider()), Arc::clone)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |problem| TlsError::Read { path: path.to_owned(), problem };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

fn content(path: &Path, problem: impl Into<String>) -> TlsError {
    TlsError::Content { path: path.to_owned(), problem: problem.into() }
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| content(path, format!("is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(content(path, "holds no certificate (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

/// What files hold.
type Bytes = Vec<Vec<u8>>;

/// Tells whether files have changed, without keeping a key a second time.
fn fingerprint(bytes: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

impl CertificateFiles {
    fn read(&self) -> Result<Bytes, TlsError> {
        Ok(vec![read(&self.certificate)?, read(&self.key)?])
    }

    fn parse(&self, bytes: &Bytes) -> Result<Arc<CertifiedKey>, TlsError> {
        let [certificate, key] = bytes.as_slice() else {
            return Err(content(&self.certificate, "was not read together with its key"));
        };
        let chain = certificates(&self.certificate, certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| content(&self.key, format!("holds no private key: {error}")))?;
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| content(&self.key, format!("does not fit {}: {error}", self.certificate.display())))?;
        Ok(Arc::new(certified))
    }
}

impl Termination {
    /// Reads the files.
    pub(crate) fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        let loaded = files.read()?;
        let current = Arc::new(CurrentCertificate::new(files.parse(&loaded)?));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| content(&files.certificate, error.to_string()))?
            .with_no_client_auth();
        let mut config = config.with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        Ok(Self { config: Arc::new(config), current, files, loaded: fingerprint(&loaded) })
    }
}

impl UpstreamTls {
    /// Reads the file with the authorities.
    pub(crate) fn load(trust: UpstreamTrust) -> Result<Self, TlsError> {
        let server_name = ServerName::try_from(trust.server_name.clone()).map_err(|_| {
            content(
                Path::new(&trust.server_name),
                "is no name that a certificate can be for, as in ratings.bookinfo.svc",
            )
        })?;
        let loaded = trust.ca.iter().map(|path| read(path)).collect::<Result<Bytes, _>>()?;
        let current = ArcSwap::from_pointee(offers(trust.ca.as_deref(), &loaded)?);
        Ok(Self { server_name, current, ca: trust.ca, loaded: fingerprint(&loaded) })
    }

    /// The configuration of a new session.
    pub(crate) fn config(&self, offer: Offer) -> Arc<ClientConfig> {
        let offers = self.current.load();
        Arc::clone(match offer {
            Offer::Http1 => &offers.http1,
            Offer::Http2 => &offers.http2,
            Offer::Either => &offers.either,
            Offer::Nothing => &offers.nothing,
        })
    }
}

fn offers(ca: Option<&Path>, bytes: &Bytes) -> Result<Offers, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca.zip(bytes.first()) {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some((path, pem)) => {
            for certificate in certificates(path, pem)? {
                roots.add(certificate).map_err(|error| content(path, format!("holds no authority: {error}")))?;
            }
        }
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| content(ca.unwrap_or_else(|| Path::new("TLS")), error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let offering = |protocols: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    };
    Ok(Offers {
        http1: offering(&[ALPN_HTTP1]),
        http2: offering(&[ALPN_HTTP2]),
        either: offering(&[ALPN_HTTP2, ALPN_HTTP1]),
        nothing: offering(&[]),
    })
}

/// How often changed files were taken, and refused.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    pub(crate) taken: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// Something that files say, and that can be said anew.
trait Reloadable {
    /// The fingerprint of what the files held when they were read first.
    fn loaded(&self) -> u64;
    /// What they hold now.
    fn bytes(&self) -> Result<Bytes, TlsError>;
    /// Takes what they say.
    fn take(&self, bytes: &Bytes) -> Result<(), TlsError>;
}

impl Reloadable for Termination {
    fn loaded(&self) -> u64 {
        self.loaded
    }

    fn bytes(&self) -> Result<Bytes, TlsError> {
        self.files.read()
    }

    fn take(&self, bytes: &Bytes) -> Result<(), TlsError> {
        self.current.set(self.files.parse(bytes)?);
        Ok(())
    }
}

impl Reloadable for UpstreamTls {
    fn loaded(&self) -> u64 {
        self.loaded
    }

    fn bytes(&self) -> Result<Bytes, TlsError> {
        self.ca.iter().map(|path| read(path)).collect()
    }

    fn take(&self, bytes: &Bytes) -> Result<(), TlsError> {
        self.current.store(Arc::new(offers(self.ca.as_deref(), bytes)?));
        Ok(())
    }
}

/// Looks after the files; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Reloader {
    _stop: SyncSender<()>,
    _thread: JoinHandle<()>,
}

impl Reloader {
    /// Starts looking, unless there is nothing to look after.
    pub(crate) fn start(
        terminations: Vec<Arc<Termination>>,
        upstreams: Vec<Arc<UpstreamTls>>,
        reloads: Arc<Reloads>,
    ) -> io::Result<Option<Self>> {
        let mut all: Vec<Arc<dyn Reloadable + Send + Sync>> = Vec::new();
        all.extend(terminations.into_iter().map(|one| one as Arc<dyn Reloadable + Send + Sync>));
        all.extend(upstreams.into_iter().map(|one| one as Arc<dyn Reloadable + Send + Sync>));
        if all.is_empty() {
            return Ok(None);
        }
        let (stop, stopped) = sync_channel(0);
        let thread = std::thread::Builder::new().name("certificates".to_owned());
        let thread = thread.spawn(move || look_after(&all, &reloads, &stopped))?;
        Ok(Some(Self { _stop: stop, _thread: thread }))
    }
}

fn look_after(all: &[Arc<dyn Reloadable + Send + Sync>], reloads: &Reloads, stopped: &Receiver<()>) {
    // What cannot be read now is looked at again; what could be read is only taken when it has changed.
    let mut known: Vec<u64> = all.iter().map(|one| one.loaded()).collect();
    while stopped.recv_timeout(RELOAD) == Err(RecvTimeoutError::Timeout) {
        for (one, known) in all.iter().zip(&mut known) {
            let Ok(bytes) = one.bytes() else { continue };
            if *known == fingerprint(&bytes) {
                continue;
            }
            *known = fingerprint(&bytes);
            match one.take(&bytes) {
                Ok(()) => {
                    reloads.taken.fetch_add(1, Ordering::Relaxed);
                    tracing::info!("changed certificate files are in force");
                }
                Err(error) => {
                    reloads.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "changed certificate files are refused; those before stay in force");
                }
            }
        }
    }
}
