//! A server of this process: a thread with a runtime of its own that accepts until it is dropped.

use std::{net::SocketAddr, thread, thread::JoinHandle};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    task::LocalSet,
};

/// A listener on a free port of loopback; its connections end when it is dropped.
#[derive(Debug)]
pub struct Background {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Serves each connection with `serve`, all on one thread.
    pub fn serve<F: Future<Output = ()> + 'static>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = LocalSet::new();
            local.spawn_local(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).unwrap();
                    tokio::task::spawn_local(serve(stream));
                }
            });
            let _dropped = local.block_on(&runtime, stopped);
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
