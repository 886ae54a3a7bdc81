//! What the kernel says about a TCP connection: whether its peer has read all that was sent, and whether it still exists.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::patience::within;

const ESTABLISHED: u8 = 1;
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;

/// Waits until the process at `remote` has read all `sent` bytes that were written at `local` so far (or the connection is
/// gone).
///
/// This is what makes segments arrive one by one: the next one is not sent before the last was read. Acknowledgements would
/// not do: the kernel delays them by 40 ms.
pub fn wait_until_read(local: SocketAddr, remote: SocketAddr, sent: u64) {
    thread_local!(static KERNEL: Kernel = Kernel::open());
    KERNEL.with(|kernel| {
        within(Duration::from_secs(5), "the peer reads what was sent", || match kernel.ask(remote, local) {
            Some(theirs) if theirs.state == ESTABLISHED => {
                (theirs.received >= sent && theirs.unread == 0).then_some(())
            }
            _ => Some(()),
        });
    });
}

/// What the kernel knows of one end of a connection.
#[derive(Clone, Copy, Debug)]
struct End {
    state: u8,
    received: u64,
    unread: u32,
}

/// A netlink socket of the family `sock_diag` (see its manual page), which finds one connection among thousands at once.
#[derive(Debug)]
struct Kernel(Socket);

impl Kernel {
    const NETLINK: i32 = 16;
    const SOCK_DIAG: i32 = 4;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const REQUEST: u16 = 1;
    const ANY_STATE: u32 = u32::MAX;
    const ANY_COOKIE: [u8; 8] = [0xff; 8];
    const WITH_TCP_INFO: u8 = 1 << 1;
    /// Where the answer's fields are: behind a header of 16 bytes, `struct inet_diag_msg`.
    const STATE_AT: usize = 16 + 1;
    const UNREAD_AT: usize = 16 + 4 + 48 + 4;
    const ATTRIBUTES_AT: usize = 16 + 72;
    const TCP_INFO: u16 = 2;
    /// `tcpi_bytes_received` of `struct tcp_info`.
    const RECEIVED_AT: usize = 128;

    fn open() -> Self {
        let (domain, protocol) = (Domain::from(Self::NETLINK), Protocol::from(Self::SOCK_DIAG));
        let socket =
            Socket::new(domain, Type::from(3), Some(protocol)).expect("a socket to ask the kernel about others");
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(socket)
    }

    /// The end of the connection that is bound to `local`, if there is one.
    fn ask(&self, local: SocketAddr, remote: SocketAddr) -> Option<End> {
        let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote) else { return None };
        let mut question = vec![2, 6, Self::WITH_TCP_INFO, 0];
        question.extend(Self::ANY_STATE.to_ne_bytes());
        question.extend(local.port().to_be_bytes());
        question.extend(remote.port().to_be_bytes());
        for address in [local, remote] {
            question.extend(address.ip().octets());
            question.extend([0; 12]);
        }
        question.extend([0; 4]);
        question.extend(Self::ANY_COOKIE);
        let mut message = (16 + question.len() as u32).to_ne_bytes().to_vec();
        message.extend(Self::SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.extend(Self::REQUEST.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(question);
        (&self.0).write_all(&message).unwrap();
        let mut answer = [0; 1024];
        let length = (&self.0).read(&mut answer).unwrap();
        let answer = &answer[..length];
        let is_answer = answer[4..6] == Self::SOCK_DIAG_BY_FAMILY.to_ne_bytes();
        let state = answer[Self::STATE_AT];
        // Without such a connection the kernel answers with an error, or with the listener at that address.
        if !is_answer || state == LISTEN {
            return None;
        }
        let received = Self::tcp_info(&answer[Self::ATTRIBUTES_AT..])
            .map_or(0, |info| u64::from_ne_bytes(info[Self::RECEIVED_AT..Self::RECEIVED_AT + 8].try_into().unwrap()));
        let unread = u32::from_ne_bytes(answer[Self::UNREAD_AT..Self::UNREAD_AT + 4].try_into().unwrap());
        Some(End { state, received, unread })
    }

    /// The attribute with `struct tcp_info`: each one is a length, a kind and its bytes, padded to four.
    fn tcp_info(mut attributes: &[u8]) -> Option<&[u8]> {
        while attributes.len() >= 4 {
            let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
            if u16::from_ne_bytes([attributes[2], attributes[3]]) == Self::TCP_INFO {
                return Some(&attributes[4..length]);
            }
            attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
        }
        None
    }
}

/// How many connections the process that listens at `listen` has there, not counting those whose close is complete.
pub fn connections_of(listen: SocketAddr) -> usize {
    fs::read_to_string("/proc/net/tcp")
        .unwrap()
        .lines()
        .filter_map(local_end)
        .filter(|(local, state)| *local == listen && !matches!(*state, TIME_WAIT | LISTEN))
        .count()
}

/// A loopback address that is this process's own, where a port can be listened on again and again.
pub fn own_address(port: u16) -> SocketAddr {
    static USED: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64 + USED.fetch_add(1, Ordering::Relaxed), high, low], port))
}

/// Every TCP listener over IPv4 on this machine, with the number of its socket.
pub fn listeners() -> Vec<(SocketAddr, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let listener = |line| {
        let (local, state) = local_end(line)?;
        // The tenth field; the first is the line's own number.
        let number = line.split_ascii_whitespace().nth(9)?.parse().ok()?;
        (state == LISTEN).then_some((local, number))
    };
    table.lines().filter_map(listener).collect()
}

/// Whether all open connections to the process that listens at `to` have TCP keep-alive on at their other end. What is left of
/// closed ones may be another process's, which had the port before.
pub fn asks_for_life(to: SocketAddr) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let there = |fields: &Vec<String>| {
        fields.get(3).and_then(|state| u8::from_str_radix(state, 16).ok()) == Some(ESTABLISHED)
            && fields.get(2).and_then(|remote| address(remote)) == Some(to)
    };
    let mut connections = table.lines().map(fields).filter(there).peekable();
    // The kind of the timer that runs: 2 is that of keep-alive.
    connections.peek().is_some() && connections.all(|fields| fields[5].starts_with("02:"))
}

/// The local address and the state in a line of the kernel's table.
fn local_end(line: &str) -> Option<(SocketAddr, u8)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
    Some((local, state))
}

/// `0100007F:1F90` is 127.0.0.1:8080: the address is printed as the machine holds it in memory.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?)))
}
