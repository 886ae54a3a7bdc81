//! The least of `least.rs` on what ours is built on: a task of tokio for each client, and our own sockets and outbox.
//!
//! What it costs more than `least.rs` by itself is the runtime's, and what ours costs more than this is the proxy's. A client has its own
//! connection to the service. Whoever closes, or sends what is no whole message, ends its client's task.

use std::{cell::RefCell, future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};

use crate::{
    case::port,
    least,
    proxy::{outbox::Outbox, socket::Socket},
    relay::{ABORT, MESSAGE},
    subject::Subject,
};

/// As in `worker.rs`.
const BETWEEN_LOOKS: u32 = 256;

/// What all tasks share.
struct Core {
    outbox: Rc<Outbox>,
    /// Where one message is read, and where it is written anew.
    room: RefCell<[Vec<u8>; 2]>,
}

/// Relays until it is killed.
pub fn run(subject: Subject) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().event_interval(BETWEEN_LOOKS).build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let room = RefCell::new([vec![0; MESSAGE], vec![0; MESSAGE]]);
        let core = Rc::new(Core { outbox: Rc::default(), room });
        spawn_local(accept(Rc::clone(&core), subject, port::PLAIN));
        spawn_local(accept(Rc::clone(&core), subject, port::ABORT_100));
        Rc::clone(&core.outbox).run().await;
    });
}

async fn accept(core: Rc<Core>, subject: Subject, port: u16) {
    let listener = TcpListener::bind(subject.at(port)).await.unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let core = Rc::clone(&core);
        if port == port::ABORT_100 {
            spawn_local(async move { abort(&core, stream).await });
        } else {
            spawn_local(async move { forward(&core, stream).await });
        }
    }
}

impl Core {
    fn socket(&self, stream: TcpStream) -> Socket {
        stream.set_nodelay(true).unwrap();
        Socket::new(stream, &self.outbox)
    }

    /// Reads one message, and gives what is made of it to `to`; whether there was any. A service that closes meanwhile ends its client.
    async fn pass(&self, from: &mut Socket, mut to: Option<&mut Socket>, is_request: bool) -> bool {
        poll_fn(|cx| {
            let [read, written] = &mut *self.room.borrow_mut();
            let mut message = ReadBuf::new(read);
            match (Pin::new(&mut *from).poll_read(cx, &mut message), &mut to) {
                (Poll::Pending, Some(service)) if is_request => {
                    let mut byte = [0];
                    return Pin::new(&mut **service).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(|_| false);
                }
                (Poll::Pending, _) => return Poll::Pending,
                (Poll::Ready(come), _) if come.is_err() || message.filled().is_empty() => return Poll::Ready(false),
                (Poll::Ready(_), _) => {}
            }
            let length = least::anew(is_request, message.filled(), written);
            let (to, bytes) = match &mut to {
                Some(to) => (&mut **to, &written[..length]),
                None => (&mut *from, ABORT),
            };
            Poll::Ready(matches!(Pin::new(to).poll_write(cx, bytes), Poll::Ready(Ok(taken)) if taken == bytes.len()))
        })
        .await
    }
}

async fn forward(core: &Core, stream: TcpStream) {
    let mut client = core.socket(stream);
    let Ok(stream) = TcpStream::connect(Subject::Direct.at(port::PLAIN)).await else { return };
    let mut upstream = core.socket(stream);
    while core.pass(&mut client, Some(&mut upstream), true).await
        && core.pass(&mut upstream, Some(&mut client), false).await
    {}
}

async fn abort(core: &Core, stream: TcpStream) {
    let mut client = core.socket(stream);
    while core.pass(&mut client, None, true).await {}
}
