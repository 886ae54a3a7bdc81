//! When bytes came, as the kernel noted it (`SO_TIMESTAMPNS`), whenever they are read.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The arrivals of one core's connections.
#[derive(Debug)]
pub(crate) struct Arrivals {
    control: RefCell<Vec<u8>>,
    /// When the bytes came that were read last, by the clock of the day, if the kernel said so.
    last: Cell<Option<Duration>>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { control: RefCell::new(nix::cmsg_space!(TimeSpec)), last: Cell::new(None) }
    }
}

impl Arrivals {
    /// Asks the kernel to note the arrivals of a connection.
    pub(super) fn note(stream: &TcpStream) -> io::Result<()> {
        Ok(setsockopt(stream, ReceiveTimestampns, &true)?)
    }

    /// Reads from a connection that is ready.
    pub(super) fn receive(&self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut received = None;
        let tried = stream.try_io(Interest::READABLE, || {
            let size = buffer.len();
            let count = self.receive_now(stream, buffer)?;
            received = Some(count);
            // A short read has emptied the socket. To the runtime this says so, and saves a read that finds nothing.
            if (1..size).contains(&count) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        received.map_or_else(|| tried.map(|()| 0), Ok)
    }

    fn receive_now(&self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut control = self.control.borrow_mut();
        let mut buffers = [IoSliceMut::new(buffer)];
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::empty())?;
        self.last.set(message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        }));
        Ok(message.bytes)
    }

    /// How long ago the bytes came that were read last; `None` if that is not known.
    pub(crate) fn age(&self) -> Option<Duration> {
        let came = self.last.take()?;
        let now = clock_gettime(ClockId::Realtime);
        let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
        // If the clock was set back meanwhile, nothing is known.
        now.checked_sub(came)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn bytes_are_as_old_as_their_arrival_whenever_they_are_read() {
        const UNREAD: Duration = Duration::from_millis(40);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (stream, mut peer) = (stream.unwrap(), accepted.unwrap().0);
        Arrivals::note(&stream).unwrap();
        let arrivals = Arrivals::default();
        let mut buffer = [0; 100];
        // The kernel begins to note arrivals a little after it is asked to.
        let patience = Instant::now() + Duration::from_secs(20);
        let (age, most) = loop {
            let before = Instant::now();
            peer.write_all(b"hello").await.unwrap();
            stream.readable().await.unwrap();
            tokio::time::sleep(UNREAD).await;
            assert_eq!(arrivals.receive(&stream, &mut buffer).unwrap(), 5);
            if let Some(age) = arrivals.age() {
                break (age, before.elapsed());
            }
            assert!(Instant::now() < patience, "the kernel notes nothing");
        };
        assert!(age >= UNREAD && age <= most, "{age:?}, at most {most:?}");
        assert_eq!(arrivals.age(), None, "it is told once");

        let nothing = arrivals.receive(&stream, &mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        drop(peer);
        stream.readable().await.unwrap();
        assert_eq!(arrivals.receive(&stream, &mut buffer).unwrap(), 0, "the end is no arrival");
        assert_eq!(arrivals.age(), None);
    }
}
