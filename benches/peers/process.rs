//! The processes: how each subject is started, and how one knows that it serves.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    case::{DELAY, port},
    harness::{patience::try_within, within},
    relay, rules,
    subject::Subject,
    support::{
        machine::first_line,
        on_core::on_core,
        released::{is_released, released},
        usage::Process,
    },
};

/// Time to start.
const START: Duration = Duration::from_secs(20);
/// Time for an answer while it starts.
const ANSWER: Duration = Duration::from_secs(2);

/// The core of the client and the service, and that of the proxy.
pub const CLIENT_CORE: usize = 0;
pub const PROXY_CORE: usize = 1;

const ENVOY: &str = "envoy-1.40.0";
const TOXIPROXY: &str = "toxiproxy-2.12.0";

/// A process that runs until it is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// What the kernel says about it.
    pub fn process(&self) -> Process {
        Process::new(self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A program that `deps.sh` has put into the cache.
fn cached(name: &str) -> String {
    let environment = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || environment("XDG_CACHE_HOME").or_else(|| Some(environment("HOME")?.join(".cache")));
    let cache = environment("GLOOSHOT_CACHE").or_else(|| Some(home()?.join("glooshot"))).unwrap();
    cache.join(name).to_str().unwrap().to_owned()
}

/// Starts a subject with its configuration from this directory, and waits until it serves.
pub fn start(subject: Subject, directory: &Path) -> Running {
    let (core, mut command) = match subject {
        Subject::Direct => (CLIENT_CORE, nginx("origin.conf", directory)),
        Subject::Nginx => (PROXY_CORE, nginx("nginx.conf", directory)),
        Subject::Haproxy => (PROXY_CORE, words("/usr/sbin/haproxy -db -f", &[&in_(directory, "haproxy.cfg")])),
        Subject::Haproxy1000 => (PROXY_CORE, words("/usr/sbin/haproxy -db -f", &[&in_(directory, "haproxy-1000.cfg")])),
        Subject::Envoy => {
            let options = "--concurrency 1 --disable-hot-restart --log-level error --config-path";
            (PROXY_CORE, words(&format!("{} {options}", cached(ENVOY)), &[&in_(directory, "envoy.yaml")]))
        }
        Subject::Toxiproxy => {
            let options = "-host 127.0.77.5 -port 8090 -proxy-metrics -runtime-metrics -config";
            (PROXY_CORE, words(&format!("{} {options}", cached(TOXIPROXY)), &[&in_(directory, "toxiproxy.json")]))
        }
        Subject::Ours => (PROXY_CORE, ours(directory)),
        Subject::Rules1 | Subject::Rules100 | Subject::Rules1000 | Subject::OnlyRules1000 => {
            (PROXY_CORE, rules::command(subject, directory))
        }
        Subject::Relay | Subject::Relay1000 | Subject::Least | Subject::Tokio => (PROXY_CORE, relay(subject)),
    };
    let program = command.remove(0);
    // What it says is kept for whoever wants to know why it did not start.
    let log = directory.join(format!("{}.log", subject.key()));
    let said = fs::File::create(&log).unwrap();
    let mut command: Command = on_core(core, &program, &command);
    // One thread for toxiproxy, which has no option for that; no log of ours.
    command.env("GOMAXPROCS", "1").env_remove("RUST_LOG");
    let child = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
    let running = Running(child);
    if subject == Subject::Toxiproxy {
        add_toxic(subject.at(port::ADMIN));
    }
    if try_within(START, || serves(subject).then_some(())).is_none() {
        panic!("{subject} does not serve; it says:\n{}", fs::read_to_string(log).unwrap_or_default());
    }
    running
}

fn in_(directory: &Path, file: &str) -> String {
    directory.join(file).to_str().unwrap().to_owned()
}

fn words(command: &str, more: &[&str]) -> Vec<String> {
    command.split(' ').chain(more.iter().copied()).map(str::to_owned).collect()
}

fn nginx(file: &str, directory: &Path) -> Vec<String> {
    words("/usr/sbin/nginx -e stderr", &["-p", &in_(directory, ""), "-c", &in_(directory, file)])
}

/// As a user starts it: one Experiment, a route for each case, metrics on; one thread.
fn ours(directory: &Path) -> Vec<String> {
    let experiment = in_(directory, "experiment.yaml");
    let mut command = vec![glooshot()];
    command.extend(words("run --workers 1 --listen-metrics 127.0.77.6:8090 -f", &[&experiment]));
    let routes = [
        ("plain", port::PLAIN),
        ("abort10", port::ABORT_10),
        ("abort100", port::ABORT_100),
        ("delay", port::DELAY),
        ("h2", port::H2),
        ("tls", port::TLS),
    ];
    let origin = Subject::Direct.at(port::PLAIN);
    for (name, port) in routes {
        command.extend(words("--route", &[&format!("bench/{name}:{port}={}->{origin}", Subject::Ours.at(port))]));
    }
    // Every proxy of the comparison speaks HTTP/1.1 to the service.
    command.extend(words(&format!("--upstream-protocol bench/h2:{}=http1", port::H2), &[]));
    let tls = format!("bench/tls:{}", port::TLS);
    let files = format!("{tls}={},{}", in_(directory, "cert.pem"), in_(directory, "key.pem"));
    command.extend(words("--tls", &[&files, "--upstream-tls", &format!("{tls}=plaintext")]));
    command
}

/// Our program.
pub fn glooshot() -> String {
    released(env!("CARGO_BIN_EXE_glooshot"))
}

/// This program itself.
fn relay(subject: Subject) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    vec![program.to_str().unwrap().to_owned(), relay::ARGUMENT.to_owned(), subject.key().to_owned()]
}

/// Whether a subject does its work: those that abort, abort.
fn serves(subject: Subject) -> bool {
    let aborts = matches!(subject, Subject::Ours | Subject::Haproxy | Subject::Nginx | Subject::Envoy);
    let (port, status) = if aborts { (port::ABORT_100, "503") } else { (port::PLAIN, "200") };
    ask(subject.at(port), "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        .is_some_and(|answer| answer.split(' ').nth(1) == Some(status))
}

/// toxiproxy's configuration has no toxics; they are told over its own port.
fn add_toxic(admin: SocketAddr) {
    let toxic =
        format!(r#"{{"type": "latency", "stream": "downstream", "attributes": {{"latency": {}}}}}"#, DELAY.as_millis());
    let request = format!(
        "POST /proxies/delay/toxics HTTP/1.1\r\nHost: toxiproxy\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{toxic}",
        toxic.len()
    );
    within(START, "toxiproxy takes its toxic", || {
        ask(admin, &request).is_some_and(|answer| answer.starts_with("HTTP/1.1 200 ")).then_some(())
    });
}

/// Everything that comes back until the connection ends.
fn ask(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// The versions of everything that is compared, and of our compiler.
pub fn versions() -> BTreeMap<String, String> {
    // The first word with a digit and a dot: "HAProxy version 2.6.12-1 ...", "nginx version: nginx/1.22.1".
    let said = |program: &str, argument: &str| {
        let line = first_line(program, &[argument])?;
        let version = line.split(' ').find(|word| word.contains('.') && word.contains(char::is_numeric))?;
        Some(version.rsplit('/').next()?.to_owned())
    };
    let pinned = |name: &str| name.rsplit_once('-').map(|(_, version)| version.to_owned());
    let commit = first_line("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let build = if is_released() { "as released" } else { "by cargo alone" };
    let versions = [
        ("Glooshot", Some(format!("{} ({commit}, {build})", env!("CARGO_PKG_VERSION")))),
        ("HAProxy", said("/usr/sbin/haproxy", "-v")),
        ("nginx", said("/usr/sbin/nginx", "-v")),
        ("Envoy", pinned(ENVOY)),
        ("toxiproxy", pinned(TOXIPROXY)),
        ("rustc", said("rustc", "--version")),
    ];
    let known = |version: Option<String>| version.unwrap_or_else(|| "unknown".to_owned());
    versions.into_iter().map(|(name, version)| (name.to_owned(), known(version))).collect()
}
