//! What files the process under test has open, and where it listens: as the kernel says.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use super::{glooshot::Glooshot, sockets::listeners};

impl Glooshot {
    /// How many sockets it has open.
    pub fn open_sockets(&self) -> usize {
        self.socket_numbers().len()
    }

    /// Every TCP address that it listens on.
    pub fn listens_on(&self) -> BTreeSet<SocketAddr> {
        let own = self.socket_numbers();
        listeners().into_iter().filter(|(_, number)| own.contains(number)).map(|(address, _)| address).collect()
    }

    /// The numbers (inodes) of its sockets.
    fn socket_numbers(&self) -> BTreeSet<u64> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
    }
}
