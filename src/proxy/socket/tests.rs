use std::{io::Read as _, net::Ipv4Addr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    task::yield_now,
    time::timeout,
};

use super::{
    super::{clock::Moment, outbox::MOST},
    *,
};

/// For what has to become so.
const SOON: Duration = Duration::from_secs(20);

/// Looks again and again, without a turn for anybody else.
#[track_caller]
fn within(limit: Duration, is_so: impl Fn() -> bool) {
    let end = Moment::now().plus(limit);
    while !is_so() {
        assert!(Moment::now() < end, "it is still not so");
        std::thread::yield_now();
    }
}

/// Runs a test on a core of its own, with an outbox whose task runs.
fn on_a_core<F: Future<Output = ()>>(test: impl FnOnce(Rc<Outbox>) -> F) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let outbox = Rc::<Outbox>::default();
        tokio::task::spawn_local(Rc::clone(&outbox).run());
        yield_now().await;
        timeout(SOON, test(outbox)).await.unwrap();
    });
}

/// A socket, and the other end of it.
async fn connected(outbox: &Rc<Outbox>) -> (Socket, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let ours = ours.unwrap();
    ours.set_nodelay(true).unwrap();
    (Socket::new(ours, outbox), theirs.unwrap().0)
}

/// Writes until the kernel takes no more; gives how many bytes that were.
async fn fill(socket: &mut Socket) -> usize {
    let mut filled = 0;
    let large = vec![b'l'; 16 * SMALL];
    loop {
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut *socket).poll_write(cx, &large))).await {
            Poll::Ready(written) => filled += written.unwrap(),
            Poll::Pending => return filled,
        }
    }
}

/// What has come, without a turn for anybody else.
fn come(stream: &TcpStream) -> Option<String> {
    let mut bytes = [0; 64];
    let count = (&*SockRef::from(stream)).read(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(bytes.get(..count)?).into_owned())
}

#[test]
fn small_messages_leave_behind_every_task_that_is_ready_in_the_order_in_which_they_were_written() {
    on_a_core(|outbox| async move {
        let ((mut one, first), (mut other, second)) = (connected(&outbox).await, connected(&outbox).await);
        let ready = tokio::task::spawn_local(async move {
            other.write_all(b"b").await.unwrap();
            assert_eq!((come(&first), come(&second)), (None, None), "nothing has left before its turn");
            (first, second, other)
        });
        one.write_all(b"a").await.unwrap();
        one.write_all(b"c").await.unwrap();
        let (mut first, mut second, _other) = ready.await.unwrap();
        let mut read = [0; 3];
        first.read_exact(&mut read[..2]).await.unwrap();
        second.read_exact(&mut read[2..]).await.unwrap();
        assert_eq!(read, *b"acb");
    });
}

#[test]
fn a_large_message_leaves_at_once_and_behind_the_small_ones_before_it() {
    on_a_core(|outbox| async move {
        // One, and more than are kept.
        for count in [1, MOST / SMALL + 1] {
            let (mut socket, mut reader) = connected(&outbox).await;
            for _ in 0..count {
                socket.write_all(&[b's'; SMALL]).await.unwrap();
            }
            let large = [b'l'; SMALL + 1];
            socket.write_all(&large).await.unwrap();
            let mut read = vec![0; count * SMALL + large.len()];
            reader.read_exact(&mut read).await.unwrap();
            assert!(read == [&vec![b's'; count * SMALL][..], &large].concat(), "{count} small ones");
        }
    });
}

#[test]
fn what_was_written_arrives_though_the_owner_is_gone_or_has_shut_down() {
    on_a_core(|outbox| async move {
        for shuts_down in [false, true] {
            let (mut socket, mut reader) = connected(&outbox).await;
            socket.write_all(b"the last word").await.unwrap();
            if shuts_down {
                socket.shutdown().await.unwrap();
            }
            drop(socket);
            let mut read = String::new();
            reader.read_to_string(&mut read).await.unwrap();
            assert_eq!(read, "the last word");
        }
    });
}

#[test]
fn what_the_kernel_does_not_take_holds_back_the_next_message_and_the_shutdown_and_nothing_is_lost() {
    on_a_core(|outbox| async move {
        let (mut socket, mut reader) = connected(&outbox).await;
        let filled = fill(&mut socket).await;
        socket.write_all(&[b's'; SMALL]).await.unwrap();
        yield_now().await;
        for _ in 0..2 {
            let polled = poll_fn(|cx| {
                let socket = &mut socket;
                Poll::Ready((Pin::new(&mut *socket).poll_write(cx, b"t"), Pin::new(socket).poll_flush(cx)))
            });
            assert!(matches!(polled.await, (Poll::Pending, Poll::Pending)), "it is written on while nothing is taken");
        }
        let write = async {
            socket.write_all(b"t").await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (got, ()) = tokio::join!(reader.read_to_end(&mut read), write);
        assert_eq!(got.unwrap(), filled + SMALL + 1);
        assert!(read.ends_with(&[&[b's'; SMALL][..], b"t"].concat()));
    });
}

#[test]
fn an_owner_who_goes_away_from_a_reader_that_takes_nothing_leaves_nothing_behind() {
    on_a_core(|outbox| async move {
        let (mut socket, reader) = connected(&outbox).await;
        fill(&mut socket).await;
        socket.write_all(&[b's'; SMALL]).await.unwrap();
        yield_now().await;
        let sender = Rc::downgrade(&socket.sender);
        assert!(sender.upgrade().is_some_and(|sender| sender.0.borrow().finisher.is_some()));
        drop(socket);
        while sender.strong_count() > 0 {
            yield_now().await;
        }
        drop(reader);
    });
}

#[test]
fn a_socket_that_takes_nothing_any_more_says_so_with_the_next_write_and_is_not_quiet() {
    on_a_core(|outbox| async move {
        let (mut socket, reader) = connected(&outbox).await;
        assert!(socket.is_quiet());
        SockRef::from(&reader).set_linger(Some(Duration::ZERO)).unwrap();
        drop(reader);
        socket.write_all(b"to nobody").await.unwrap();
        yield_now().await;
        assert!(!socket.is_quiet());
        assert!(socket.write_all(b"again").await.is_err() && socket.shutdown().await.is_err());
        assert!(matches!(socket.read(&mut [0]).await, Ok(0) | Err(_)), "whoever reads is told, too");
    });
}

#[test]
fn no_more_than_a_bounded_amount_is_kept() {
    on_a_core(|outbox| async move {
        let (mut socket, reader) = connected(&outbox).await;
        // Nothing waits here, so that the outbox's task has no turn.
        for _ in 0..=MOST / SMALL {
            socket.write_all(&[b'm'; SMALL]).await.unwrap();
        }
        within(SOON, || come(&reader).is_some());
    });
}
