//! The peers, each started for one test and ended with it.

pub mod background;
pub mod certificates;
pub mod curl;
pub mod echo;
pub mod envoy;
pub mod go;
pub mod haproxy;
pub mod hyper_server;
pub mod nginx;
pub mod orders;
pub mod port;
pub mod tls_client;

use std::{env, net::SocketAddr, path::PathBuf};

/// A server that says what it has seen.
pub trait Server {
    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// A line for each request that it has begun to read, also one that it refused.
    fn seen(&self) -> Vec<String>;
}

/// A program that `tests/deps.sh` has put into the cache.
pub fn cached(program: &str) -> String {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from);
    let cache = folder("GLOOSHOT_CACHE").unwrap_or_else(|| {
        folder("XDG_CACHE_HOME").unwrap_or_else(|| folder("HOME").unwrap().join(".cache")).join("glooshot")
    });
    let path = cache.join(program);
    assert!(path.exists(), "{} is missing: run tests/deps.sh", path.display());
    path.to_str().unwrap().to_owned()
}
