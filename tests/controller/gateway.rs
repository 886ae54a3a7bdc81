//! A way to the API server on which a controller dies at a write of its own, just before it is carried out or just after; and on which
//! it cannot see the operator's switch, or write a status.

use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
};

use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode, body::Incoming, header::HOST, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body, config::Kubeconfig};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;

use crate::{
    control_plane::kubeconfig,
    kubelet::{Background, connect},
};

/// On which side of its write a controller dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The API server has not seen it.
    Before,
    /// The API server has carried it out, and its answer has not arrived.
    After,
}

/// Takes the requests of one controller, for one namespace of Experiments.
pub struct Gateway {
    state: Arc<State>,
    kubeconfig: NamedTempFile,
    _background: Background,
}

struct State {
    /// In the path of every request that counts.
    scope: String,
    notes: Mutex<Notes>,
    hides_switch: AtomicBool,
    refuses_status: AtomicBool,
    refused: AtomicUsize,
}

#[derive(Default)]
struct Notes {
    /// Every write in its order, as `VERB PATH#N`, the Nth of its kind.
    writes: Vec<String>,
    counts: BTreeMap<String, usize>,
    deadly: Option<(String, Side, Pid)>,
    /// The controller is dead: nothing more of it is passed on.
    is_dead: bool,
}

type Refused = Box<dyn Error + Send + Sync>;

impl Gateway {
    /// A way to the API server of this kubeconfig that counts the writes in `namespace`.
    pub fn start(cluster: &Path, namespace: &str) -> Self {
        let cluster = Kubeconfig::read_from(cluster).unwrap();
        let state = State {
            scope: format!("/namespaces/{namespace}/"),
            notes: Mutex::default(),
            hides_switch: AtomicBool::default(),
            refuses_status: AtomicBool::default(),
            refused: AtomicUsize::default(),
        };
        let (state, (listens, address)) = (Arc::new(state), mpsc::sync_channel(1));
        let passed = Arc::clone(&state);
        let background = Background::start(move || async move {
            let client = connect(cluster).await;
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            listens.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, client) = (Arc::clone(&passed), client.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| pass(&state, &client, request));
                    // A connection of the dead.
                    let _broken = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let address: SocketAddr = address.recv().unwrap();
        let kubeconfig = kubeconfig(&format!("http://{address}"), "");
        Self { state, kubeconfig, _background: background }
    }

    /// For the controller.
    pub fn kubeconfig(&self) -> &Path {
        self.kubeconfig.path()
    }

    /// Kills this process at this write, when it comes.
    pub fn kills(&self, process: u32, write: &str, side: Side) {
        let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
        self.state.notes.lock().unwrap().deadly = Some((write.to_owned(), side, process));
    }

    /// Whether that has happened.
    pub fn has_killed(&self) -> bool {
        self.state.notes.lock().unwrap().is_dead
    }

    /// Answers questions about the operator's switch, or does not.
    pub fn hides_switch(&self, hides: bool) {
        self.state.hides_switch.store(hides, Ordering::SeqCst);
    }

    /// Refuses every write of a status from now on, or does not any more.
    pub fn refuses_status(&self, refuses: bool) {
        self.state.refuses_status.store(refuses, Ordering::SeqCst);
    }

    /// How many it has refused.
    pub fn refused(&self) -> usize {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// Every write so far.
    pub fn writes(&self) -> Vec<String> {
        self.state.notes.lock().unwrap().writes.clone()
    }
}

impl State {
    /// Whether a request is one of those that are not passed on.
    fn refuses(&self, path: &str) -> bool {
        if self.refuses_status.load(Ordering::SeqCst) && path.ends_with("/status") {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return true;
        }
        self.hides_switch.load(Ordering::SeqCst) && path.ends_with("/configmaps/glooshot-halt")
    }

    /// Notes a request; gives the side of it on which the controller is to die.
    fn note(&self, request: &Request<Incoming>) -> Option<Side> {
        let (_, what) = request.uri().path().split_once(&self.scope)?;
        if request.method().is_safe() || what.starts_with("events") {
            return None;
        }
        // The name of a proxy is another one for each Service.
        let parts = what.split('/').map(|part| if part.starts_with("glooshot-") { "glooshot-*" } else { part });
        let kind = format!("{} {}", request.method(), parts.collect::<Vec<_>>().join("/"));
        let mut notes = self.notes.lock().unwrap();
        let count = notes.counts.entry(kind.clone()).or_default();
        *count += 1;
        let write = format!("{kind}#{count}");
        let side = notes.deadly.as_ref().filter(|(deadly, ..)| *deadly == write).map(|(_, side, _)| *side);
        notes.writes.push(write);
        side
    }

    fn kill(&self) -> Refused {
        let mut notes = self.notes.lock().unwrap();
        let (_, _, process) = notes.deadly.as_ref().unwrap();
        kill_process(*process, Signal::KILL).unwrap();
        notes.is_dead = true;
        "the controller is dead".into()
    }
}

/// Passes a request on as the administrator's.
async fn pass(state: &State, client: &Client, request: Request<Incoming>) -> Result<Response<Body>, Refused> {
    if state.refuses(request.uri().path()) {
        return Ok(Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(Body::empty())?);
    }
    let deadly = state.note(&request);
    if deadly == Some(Side::Before) {
        return Err(state.kill());
    }
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if state.notes.lock().unwrap().is_dead {
        return Err("the controller is dead".into());
    }
    head.headers.remove(HOST);
    let answer = client.send(Request::from_parts(head, Body::from(body))).await?;
    if deadly == Some(Side::After) {
        return Err(state.kill());
    }
    Ok(answer)
}
