//! Which controllers there are: every address of their names.

use std::{collections::BTreeMap, io, net::SocketAddr};

use tokio::net::lookup_host;

/// Controllers at the most: more replicas than anybody runs, and a wrong name does not make us call a whole network.
const MAX_CONTROLLERS: usize = 8;
/// Looks without an address before it is given up: a controller that stops leaves its name first, and may still lead.
const PATIENCE: u32 = 3;

/// All addresses of these `NAME:PORT`s. A name that is not known spoils the look, so that no controller is lost for it.
pub(super) async fn resolve(names: &[String]) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for name in names {
        found.extend(lookup_host(name).await?.take(MAX_CONTROLLERS));
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_CONTROLLERS);
    Ok(found)
}

/// The controllers that are called, and what calls each.
#[derive(Debug)]
pub(super) struct Known<T>(BTreeMap<SocketAddr, (T, u32)>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Known<T> {
    /// Starts with those that are new, and gives back what calls those that have been away for too long.
    pub(super) fn update(&mut self, found: &[SocketAddr], mut start: impl FnMut(SocketAddr) -> T) -> Vec<T> {
        for (address, (_, away)) in &mut self.0 {
            *away = if found.contains(address) { 0 } else { *away + 1 };
        }
        let gone: Vec<SocketAddr> =
            self.0.iter().filter(|(_, (_, away))| *away >= PATIENCE).map(|(address, _)| *address).collect();
        let stopped = gone.iter().filter_map(|address| self.0.remove(address)).map(|(caller, _)| caller).collect();
        for address in found {
            if self.0.len() < MAX_CONTROLLERS {
                self.0.entry(*address).or_insert_with(|| (start(*address), 0));
            }
        }
        stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 9443).into()
    }

    #[test]
    fn new_controllers_are_called_once_and_lost_ones_after_three_looks() {
        let mut known = Known::default();
        let started = |known: &mut Known<SocketAddr>, found: &[SocketAddr]| {
            let mut started = Vec::new();
            let stopped = known.update(found, |address| {
                started.push(address);
                address
            });
            (started, stopped)
        };
        let (one, two) = (address(1), address(2));
        assert_eq!(started(&mut known, &[one, two]), (vec![one, two], vec![]));
        assert_eq!(started(&mut known, &[one]), (vec![], vec![]));
        assert_eq!(started(&mut known, &[one, two]), (vec![], vec![]), "it is back");
        for _ in 0..2 {
            assert_eq!(started(&mut known, &[one]), (vec![], vec![]));
        }
        assert_eq!(started(&mut known, &[one]), (vec![], vec![two]));
        assert_eq!(started(&mut known, &[one, two]), (vec![two], vec![]));
    }

    #[test]
    fn no_more_than_eight_are_called() {
        let all: Vec<SocketAddr> = (0..100).map(address).collect();
        let mut count = 0;
        Known::default().update(&all, |_| count += 1);
        assert_eq!(count, MAX_CONTROLLERS);
    }
}
