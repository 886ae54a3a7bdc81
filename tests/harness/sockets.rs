//! What the kernel says about a TCP connection: whether its peer has read all that was sent, and whether it still exists.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use super::patience::within;

/// One line of the kernel's table of IPv4 connections.
#[derive(Clone, Copy, Debug)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    unacknowledged: u64,
    unread: u64,
}

const ESTABLISHED: u8 = 1;
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;

/// Waits until the process at `remote` has read every byte that was written at `local` (or the connection is gone).
///
/// This is what makes segments arrive one by one: the next one is not sent before the last was read.
pub fn wait_until_read(local: SocketAddr, remote: SocketAddr) {
    within(Duration::from_secs(5), "the peer reads what was sent", || {
        let sockets = table();
        let ours = sockets.iter().find(|socket| socket.local == local && socket.remote == remote);
        let theirs = sockets.iter().find(|socket| socket.local == remote && socket.remote == local);
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if theirs.state == ESTABLISHED => {
                (ours.unacknowledged == 0 && theirs.unread == 0).then_some(())
            }
            _ => Some(()),
        }
    });
}

/// How many connections the process that listens at `listen` has there, not counting those whose close is complete.
pub fn connections_of(listen: SocketAddr) -> usize {
    table().iter().filter(|socket| socket.local == listen && !matches!(socket.state, TIME_WAIT | LISTEN)).count()
}

fn table() -> Vec<Socket> {
    fs::read_to_string("/proc/net/tcp").unwrap().lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let (unacknowledged, unread) = fields.next()?.split_once(':')?;
    Some(Socket {
        local,
        remote,
        state,
        unacknowledged: u64::from_str_radix(unacknowledged, 16).ok()?,
        unread: u64::from_str_radix(unread, 16).ok()?,
    })
}

/// `0100007F:1F90` is 127.0.0.1:8080: the address is printed as the machine holds it in memory.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?)))
}
