//! Other processes beside the one under test, and commands that end by themselves.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use crate::harness::patience::try_within;

/// Time for a process to say that it is ready, or to end, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// The binary under test.
pub const GLOOSHOT: &str = env!("CARGO_BIN_EXE_glooshot");

/// A process that serves until it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    said: Arc<Said>,
}

#[derive(Debug, Default)]
struct Said {
    lines: Mutex<(Vec<String>, bool)>,
    news: Condvar,
}

impl Program {
    /// Starts `program` and waits until a line of its standard error satisfies `is_ready`.
    #[track_caller]
    pub fn start(program: &str, arguments: &[&str], is_ready: impl Fn(&str) -> bool) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = Arc::<Said>::default();
        let (stderr, collected) = (BufReader::new(child.stderr.take().unwrap()), said.clone());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                collected.lines.lock().unwrap().0.push(line);
                collected.news.notify_all();
            }
            collected.lines.lock().unwrap().1 = true;
            collected.news.notify_all();
        });
        let started = Self { child, said };
        let lines = started.said.lines.lock().unwrap();
        let waits = |(lines, ended): &mut (Vec<String>, bool)| !*ended && !lines.iter().any(|line| is_ready(line));
        let (lines, _timeout) = started.said.news.wait_timeout_while(lines, PATIENCE, waits).unwrap();
        assert!(lines.0.iter().any(|line| is_ready(line)), "{program} {arguments:?} is not ready: {:#?}", lines.0);
        drop(lines);
        started
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn ends(mut self) {
        let ended = try_within(PATIENCE, || self.child.try_wait().unwrap());
        assert!(ended.is_some(), "not within {PATIENCE:?}: it ends; it said {:#?}", self.lines());
    }

    /// The lines of standard error so far.
    pub fn lines(&self) -> Vec<String> {
        self.said.lines.lock().unwrap().0.clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What a command that has ended said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

/// Runs `glooshot` with `arguments` to its end.
#[track_caller]
pub fn glooshot<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    glooshot_reading("", arguments)
}

/// The same, with `input` as its standard input.
#[track_caller]
pub fn glooshot_reading<'a>(input: &str, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    let mut child = Command::new(GLOOSHOT)
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("PROMETHEUS_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.as_bytes().to_vec();
    let write = thread::spawn(move || {
        let _may_not_be_read = stdin.write_all(&input);
    });
    let (output, errors) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let status = try_within(PATIENCE, || child.try_wait().unwrap());
    if status.is_none() {
        // It goes on instead of ending: a test of a refusal fails, and leaves nothing behind.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    write.join().unwrap();
    let (output, errors) = (output.join().unwrap(), errors.join().unwrap());
    let status = status.unwrap_or_else(|| panic!("not within {PATIENCE:?}: the command ends; it said {errors}"));
    Ended { code: status.code(), output, errors }
}

fn reader(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _read = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// An address on which nothing listens, for something that must be told beforehand where to listen.
pub fn free_address(ip: IpAddr) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}
