//! How long faults go on behind the response that crosses a threshold: in the proxy's own judgement, and by polling Prometheus.
//!
//! Proxy and engine are in one process with the metrics server, as in `glooshot run`; every trial is an Experiment of its
//! own, from its file to its result. The load goes on all the time, from threads of this process, over loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "some modules are shared with other binaries")]

#[allow(dead_code, unused_imports, reason = "another binary uses the rest of the harness")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "another binary uses the rest")]
#[path = "../../tests/standalone/metric_store.rs"]
mod metric_store;
#[allow(dead_code, reason = "another binary uses the rest")]
#[path = "../../tests/standalone/program.rs"]
mod program;
#[allow(dead_code, reason = "another bench uses the rest")]
#[path = "../support/mod.rs"]
mod support;

mod experiment;
mod load;
mod polled;
mod results;
mod seen;
mod service;
mod stage;
mod trial;

use std::process::ExitCode;

use glooshot::signals::runtime;

use results::Results;
use stage::Stage;
use support::priority::go_first;
use trial::Stop;

/// Trials in which the proxy judges.
const TRIALS: u32 = 1_000;
/// Trials in which Prometheus is polled; each takes some seconds.
const POLLED: u16 = 5;
/// Between two words about how far it is.
const TOLD_EVERY: u32 = 100;

const HELP: &str = "\
stop: from the response that crosses the threshold to the last injected one. Arguments: --trials N (1000), --polled N (5)
  10,000 requests a second, open loop, over 64 kept connections. Half of them are aborted; then the service behind the
  proxy begins to fail, as one does whose callee is broken, and its first failing answer crosses the threshold of the
  Experiment's condition (error rate above 0 over 50 ms, injected ones left out). A trial takes about 100 ms.
  outside      from the moment in which the service gives that answer, until the client has read the last injected one:
               both ends are outside of the proxy, so that everything in between counts, the client's own delay included
  client       the same from when the client has read the crossing answer; 0 where no injected one was read behind it
  proxy        what status.stopLatency says: from the end of the crossing response to the last injected one's start
  polled       the same experiment with a PromQL query on the service's failures, of a real Prometheus that scrapes every
               second, polled every 5 s as the tutorial does; measured as outside
  The bar is that the p99 of outside and of proxy is below 20 ms.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only asks whether it starts.
    if arguments.iter().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    println!("{HELP}");
    if !go_first() {
        println!("other processes of this machine are not kept from the processor: that takes CAP_SYS_NICE");
    }
    let trials = number(&arguments, "--trials").unwrap_or(TRIALS);
    let polled = number(&arguments, "--polled").map_or(POLLED, |number| u16::try_from(number).unwrap());
    let results = runtime().unwrap().block_on(run(trials, polled));
    results.print();
    if trials >= TRIALS && polled >= POLLED {
        results.write();
    } else {
        println!("nothing is written: that takes {TRIALS} trials and {POLLED} polled ones");
    }
    if results.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number behind this argument.
fn number(arguments: &[String], name: &str) -> Option<u32> {
    let at = arguments.iter().position(|argument| argument == name)?;
    Some(arguments.get(at + 1).and_then(|number| number.parse().ok()).expect("a number behind the argument"))
}

async fn run(trials: u32, polled: u16) -> Results {
    let stage = Stage::set().await;
    let mut judged: Vec<Stop> = Vec::new();
    for number in 1..=trials {
        judged.push(stage.judged().await);
        if number % TOLD_EVERY == 0 {
            println!("{number} trials");
        }
    }
    let polled = polled::run(&stage, polled).await;
    Results { judged, polled, load: stage.end().await }
}
