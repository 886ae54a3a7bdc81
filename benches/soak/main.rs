//! Hours in minutes: mixed traffic, faults that come and go, a plan that changes ten times a second; does anything grow or get lost?
//!
//! The proxy is this same binary, started again as a process of its own (`proxied`), so that its memory is its own; it is
//! driven through the library, as a controller would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "some modules are shared with other binaries")]

#[allow(dead_code, unused_imports, reason = "another binary uses the rest of the harness")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "another bench uses the rest")]
#[path = "../support/mod.rs"]
mod support;

mod account;
mod churn;
mod clients;
mod passers;
mod proxied;
mod samples;
mod service;
mod verdict;

use std::{
    env,
    process::{Command, ExitCode},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use account::Account;
use harness::upstream::RefusingPort;
use samples::Sampler;
use support::{priority::go_first, process::Running};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

/// How long the load goes on, in seconds; the default in `SOAK_SECONDS`.
const SECONDS: u64 = 600;

const HELP: &str = "\
soak: mixed traffic (HTTP/1 kept and new, HTTP/2, uploads, downloads, upgrades, tunnels, clients that leave, malformed
  requests, a service that fails), faults on and off, a new plan ten times a second. SOAK_SECONDS sets its length.
  memory       growth from the second third of the time to the last: the mean must rise by less than 1 % or 512 KiB; the
               slope of a line through what follows the first 30 % is only shown, with its standard error
  afterwards   descriptors, connections and threads are what they were before the load, within 5
  accounts     every request is answered or fails as it must; markers and counters are equal";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo test --benches` only asks whether it starts.
    if arguments.iter().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    if let Some((first, addresses)) = arguments.split_first()
        && first == proxied::ARGUMENT
    {
        proxied::run(addresses);
        return ExitCode::SUCCESS;
    }
    println!("{HELP}");
    let seconds = env::var("SOAK_SECONDS").ok().map_or(SECONDS, |text| text.parse().expect("SOAK_SECONDS is a number"));
    if soak(Duration::from_secs(seconds)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The whole run; whether all bars hold.
fn soak(duration: Duration) -> bool {
    let _others_may_slow_us = go_first();
    let (origin, echo) = (service::start(), service::start_echo());
    let refusing = RefusingPort::new();
    let mut proxy = Running::start(Command::new(env::current_exe().unwrap()).arg(proxied::ARGUMENT).args([
        origin.to_string(),
        refusing.address().to_string(),
        echo.to_string(),
    ]));
    let ports = clients::Ports { good: proxy.listening[0], passers: proxy.listening[1], tunnel: proxy.listening[2] };
    let account = Arc::<Account>::default();
    let mut sampler = Sampler::start(&proxy);
    let stop = CancellationToken::new();
    let load = {
        let (account, stop) = (Arc::clone(&account), stop.clone());
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                clients::run(ports, &account, &stop).await;
            });
        })
    };
    let end = Instant::now() + duration;
    while Instant::now() < end && proxy.is_running() {
        sampler.sample(&proxy, &account);
    }
    stop.cancel();
    load.join().unwrap();
    let verdict = verdict::Verdict::after(&proxy, &sampler, &account);
    verdict.print();
    verdict.holds()
}
