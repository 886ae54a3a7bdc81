//! What hostile clients do to the others: a hundred good clients are served while each attack goes on, and as before.
//!
//! The proxy is a process of its own with two threads and its default limits; the clients, the attackers and the service
//! are threads of this one, on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, reason = "some modules are shared with other binaries")]

#[allow(dead_code, unused_imports, reason = "another binary uses the rest of the harness")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "another bench uses the rest")]
#[path = "../support/mod.rs"]
mod support;

mod attack;
mod flood;
mod floods;
mod frames;
mod good;
mod slow;
mod trial;

use std::{
    io,
    process::{Command, ExitCode},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::time::sleep;

use attack::{Attack, Target};
use good::GoodClients;
use slow::{STALLED, SlowClients};
use support::{figures::ms, origin, priority::go_first, process::Running, usage::raise_descriptor_limit};
use trial::{Bench, Result};

/// What the service answers.
pub const ANSWER: &[u8] = &[b'x'; 64];
/// How long the service takes for `/slow`.
const SLOW: Duration = Duration::from_millis(200);
/// Slow clients of each kind.
const SLOW_OF_EACH_KIND: u64 = 1_000;
/// File descriptors that a slow client costs the busier process at the most, and those that everything else needs.
const DESCRIPTORS_EACH: u64 = 2;
const DESCRIPTORS_ELSE: u64 = 1_000;

const HELP: &str = "\
hostile: what hostile clients do to the others. Arguments: the names of attacks; all without one.
  1,000 requests a second of 100 good clients over kept connections, open loop; rounds of each attack, with a baseline of
  5 s before, between and after them.
  p99 in baselines   the p99 of a round's attack by the geometric mean of the baselines on both sides of it; the median of
                     the rounds must be below 2. The bench goes before other processes where it may. A round counts only
                     where the machine was quiet: the baselines on both sides of it differ by less than 1.5, and half of
                     the requests were judged. Rounds go on until 3 count, 9 at the most; where fewer do, all do.
  judged             a virtual machine may be kept from its processors for milliseconds, whatever the priority. A thread in
                     real time on each core sees that, and requests that were under way then, or for as long again, are
                     neither in p50 nor in p99, with an attack as without
  growth per ...     the peak of the proxy's memory, with 32 attacking connections at a time (all, where there are more anyway),
                     above its peak before the first attack, when all good clients had waited at the same time; for each
  processor          the proxy's processor time from 1 s to 1.5 s after the attack, while nobody asks anything
  proxy core, ...    processor time in shares of one core; others: all other processes of this machine";

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
    let descriptors = raise_descriptor_limit();
    let of_each_kind = SLOW_OF_EACH_KIND.min(descriptors.saturating_sub(DESCRIPTORS_ELSE) / DESCRIPTORS_EACH / 5);
    if of_each_kind < SLOW_OF_EACH_KIND {
        println!(
            "only {of_each_kind} slow clients of each kind: a process may have {descriptors} file descriptors here"
        );
    }
    let mut attacks = floods::all();
    attacks.push(Box::new(SlowClients { of_each_kind: u32::try_from(of_each_kind).unwrap() }));
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    attacks.retain(|attack| wanted.is_empty() || wanted.iter().any(|name| *name == attack.name().0));
    if attacks.is_empty() {
        println!("there is no such attack");
        return ExitCode::from(2);
    }
    let results = run(&attacks);
    summarise(&results);
    if results.iter().all(|result| result.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lets the attacks come one after the other, each against a proxy of its own.
fn run(attacks: &[Box<dyn Attack>]) -> Vec<Result> {
    let service = origin::start(answer);
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["ratings".to_owned()]).unwrap();
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_glooshot"));
    command
        .args(["proxy", "--workers", "2", "--listen-metrics", "127.0.0.1:0"])
        .args(["--route", &format!("shop/plain:80=127.0.0.1:0->{service}")])
        .args(["--route", &format!("shop/tls:443=127.0.0.1:0->{service}")])
        .args(["--tls", &format!("shop/tls:443={},{}", certificate.display(), key.display())])
        .args(["--upstream-tls", "shop/tls:443=plaintext"])
        .args(["--limit", &format!("stalled={}s", STALLED.as_secs())])
        .env_remove("RUST_LOG");
    let mut attack = |attack: &dyn Attack| {
        let proxy = Running::start(&mut command);
        let target = Target { plain: proxy.listening[0], tls: proxy.listening[1] };
        let good = GoodClients::start(target.plain);
        Bench { proxy: &proxy, good: &good, target }.attack(attack)
    };
    attacks.iter().map(|each| attack(each.as_ref())).collect()
}

/// The service: 200 when it has the whole request.
async fn answer(request: Request<Incoming>) -> origin::Answer {
    if request.uri().path() == "/slow" {
        sleep(SLOW).await;
    }
    request.into_body().collect().await.map_err(io::Error::other)?;
    let body = Full::new(Bytes::from_static(ANSWER)).map_err(io::Error::other).boxed();
    Ok(Response::new(body))
}

fn summarise(results: &[Result]) {
    println!("\n{:<18} {:>13} {:>13} {:>7} {:>7}", "attack", "baseline p99", "attack p99", "ratio", "failed");
    for Result { name, baseline, attack, ratio, quiet, failed, holds } in results {
        println!(
            "{name:<18} {:>10.2} ms {:>10.2} ms {ratio:>7.2} {failed:>7}{}{}",
            ms(*baseline),
            ms(*attack),
            if *quiet { "" } else { "  the machine was not quiet" },
            if *holds { "" } else { "  BAR BROKEN" }
        );
    }
}
