//! A scripted HTTP/2 upstream on loopback: whatever comes is checked and kept, and each request gets a thread of its own.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    call::Call,
    endpoint::Endpoint,
    state::{Role, Stream, Terms},
};
use crate::harness::{client::Ending, patience::eventually};

type Script = dyn Fn(&Call) + Send + Sync;

/// A server on loopback; it ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    endpoints: Arc<Mutex<Vec<Endpoint>>>,
    stopped: Arc<AtomicBool>,
}

impl Upstream {
    /// Answers every whole request with `200` and the body `ok`.
    pub fn ok() -> Self {
        Self::answering("ok")
    }

    /// Answers every whole request with `200` and `body`.
    pub fn answering(body: &'static str) -> Self {
        Self::scripted(move |call| {
            if let Some(request) = call.whole() {
                let is_head = request.one(":method") == Some("HEAD");
                if is_head { call.head("200", &[("content-length", "2")], true) } else { call.answer(body) }
            }
        })
    }

    /// Answers every whole request with `200` and its own path as the body.
    pub fn naming_the_path() -> Self {
        Self::scripted(|call| {
            if let Some(request) = call.whole() {
                call.answer(request.path());
            }
        })
    }

    /// Does what `script` says about each request, from its head on.
    pub fn scripted(script: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        Self::on(Terms::default(), script)
    }

    /// The same on other terms.
    pub fn on(terms: Terms, script: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream =
            Self { address: listener.local_addr().unwrap(), endpoints: Arc::default(), stopped: Arc::default() };
        let (endpoints, stopped) = (upstream.endpoints.clone(), upstream.stopped.clone());
        let script: Arc<Script> = Arc::new(script);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let endpoint = Endpoint::silent(stream, Role::Server, terms.clone());
                endpoints.lock().unwrap().push(endpoint.clone());
                let script = script.clone();
                thread::spawn(move || serve(&endpoint, &script));
            }
        });
        upstream
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections so far.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints.lock().unwrap().clone()
    }

    /// Everything that has come so far, connection by connection; fails the test if any of it breaks the protocol.
    #[track_caller]
    pub fn streams(&self) -> Vec<Stream> {
        let (streams, broken) = self.so_far();
        assert!(broken.is_empty(), "the upstream was told what no correct peer says: {broken:?}");
        streams
    }

    /// What has come that breaks the protocol; it fails no test from now on.
    pub fn take_broken(&self) -> Vec<String> {
        self.endpoints().iter().filter_map(|endpoint| endpoint.state().broken.take()).collect()
    }

    fn so_far(&self) -> (Vec<Stream>, Vec<String>) {
        let (mut streams, mut broken) = (Vec::new(), Vec::new());
        for endpoint in self.endpoints() {
            let state = endpoint.state();
            streams.extend(state.streams.values().cloned());
            broken.extend(state.broken.clone());
        }
        (streams, broken)
    }

    /// The whole requests so far.
    #[track_caller]
    pub fn requests(&self) -> Vec<Stream> {
        self.streams().into_iter().filter(Stream::is_whole).collect()
    }

    /// The only request so far; fails the test if there are more, or none.
    #[track_caller]
    pub fn only_request(&self) -> Stream {
        let mut streams = self.streams();
        assert_eq!(streams.len(), 1, "the upstream got {streams:#?}");
        streams.remove(0)
    }

    /// Waits until `count` whole requests have come.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        eventually(&format!("{count} requests at the upstream"), || (self.requests().len() >= count).then_some(()));
    }

    /// Waits until the streams satisfy `condition`.
    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl Fn(&[Stream]) -> bool) {
        eventually(what, || condition(&self.streams()).then_some(()));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        let _woken = TcpStream::connect(self.address);
        self.endpoints().iter().for_each(Endpoint::close);
        // What the proxy says may break the protocol only where a test expects it, and no test does.
        if !thread::panicking() {
            let (_, broken) = self.so_far();
            assert!(broken.is_empty(), "the upstream was told what no correct peer says: {broken:?}");
        }
    }
}

/// Calls the script for each request of one connection until its end.
fn serve(endpoint: &Endpoint, script: &Arc<Script>) {
    endpoint.greet();
    endpoint.listen();
    let mut last = 0;
    loop {
        let news = endpoint.try_wait(Duration::from_mins(10), |state| {
            let new = state.streams.range(last + 1..).filter(|(_, stream)| !stream.head.is_empty());
            let new = new.map(|(id, _)| *id).collect::<Vec<_>>();
            (!new.is_empty() || state.ending != Ending::StillOpen).then_some(new)
        });
        for stream in news.into_iter().flatten() {
            last = stream;
            let (call, script) = (Call { endpoint: endpoint.clone(), stream }, script.clone());
            thread::spawn(move || script(&call));
        }
        if endpoint.state().ending != Ending::StillOpen {
            return;
        }
    }
}
