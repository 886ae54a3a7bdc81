//! The proxy as a child process: started by a command, known by what it prints, ended with this value.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, kill_process};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use super::usage::Process;
use crate::harness::metrics::Metrics;

/// Time to start.
const START: Duration = Duration::from_secs(20);
/// Lines that a starting process says at the most.
const LINES: usize = 64;

/// A proxy that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where its routes listen, in their order.
    pub listening: Vec<SocketAddr>,
    metrics: SocketAddr,
}

impl Running {
    /// Starts it and waits until it says `ready`; before that it says `listening PORT on ADDR` and `metrics on ADDR`.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = follow(child.stderr.take().unwrap());
        end_with_us(Pid::from_child(&child));
        let (mut listening, mut metrics) = (Vec::new(), None);
        loop {
            let line = lines.recv_timeout(START).expect("the proxy says that it is ready");
            if line == "ready" {
                break;
            }
            if let Some((_, address)) = line.strip_prefix("listening ").and_then(|rest| rest.rsplit_once(" on ")) {
                listening.push(address.parse().unwrap());
            }
            if let Some(address) = line.strip_prefix("metrics on ") {
                metrics = Some(address.parse().unwrap());
            }
        }
        Self { child, listening, metrics: metrics.unwrap() }
    }

    /// What the kernel says about it.
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Its figures now.
    pub fn metrics(&self) -> Metrics {
        Metrics::scrape(self.metrics)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

/// Ends it when a signal ends us.
fn end_with_us(child: Pid) {
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            let mut interrupt = signal(SignalKind::interrupt()).unwrap();
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _ended_already = kill_process(child, rustix::process::Signal::KILL);
            std::process::exit(130);
        });
    });
}

/// Hands over what the process says while it starts, and shows what it says later.
fn follow(stderr: ChildStderr) -> Receiver<String> {
    let (send, lines) = sync_channel(LINES);
    thread::spawn(move || {
        let mut ready = false;
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if ready {
                println!("proxy: {line}");
                continue;
            }
            ready = line == "ready";
            let _gone = send.send(line);
        }
    });
    lines
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}
