//! This load generator beside others: how much they can send, what a request costs them, whether they keep their
//! schedule, and whether they tell of a stall.
//!
//! Each generator runs alone on the first core, its server on the second. For costs the server is nginx with a small
//! fixed answer; for the schedule and the stall it is one of our own that notes when requests come. Generators that
//! are not installed are named and left out (`deps.sh` beside this file installs them). Each is called as its users
//! would, with the same connections, rate and time. Results are printed and written as JSON; `LOADGEN_BENCH_SECONDS` is the length of a measurement.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench may stop on a broken machine"
)]

mod generators;
mod machine;
mod nginx;
mod observer;
#[allow(unreachable_pub, reason = "it is shared with other benches")]
#[path = "../../../benches/support/on_core.rs"]
mod on_core;
mod process;
#[allow(unreachable_pub, reason = "it is shared with other benches")]
#[path = "../../../benches/support/released.rs"]
mod released;

use std::{fs, path::PathBuf, time::Duration};

use generators::{Generator, Load, Reported};
use nginx::Nginx;
use observer::Observer;
use serde_json::{Value, json};

/// Requests in flight.
const CONNECTIONS: usize = 64;
/// Rate at which the cost of the open loop and the schedule are measured, per second.
const RATE: u32 = 20_000;
/// Rate at which a stall is met, per second.
const STALL_RATE: u32 = 2_000;
const STALL: Duration = Duration::from_secs(1);
/// Each measurement of a cost or of the schedule is repeated, and the middle one counts.
const ROUNDS: usize = 5;
/// How each program is asked for its version; hey does not say it.
const VERSIONS: [(&str, &[&str]); 6] = [
    ("nginx", &["-v"]),
    ("wrk", &["-v"]),
    ("oha", &["--version"]),
    ("hey", &[]),
    ("fortio", &["version"]),
    ("h2load", &["--version"]),
];

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let seconds = std::env::var("LOADGEN_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let (present, missing): (Vec<_>, Vec<_>) = Generator::ALL.into_iter().partition(|one| one.is_installed());
    if !missing.is_empty() {
        println!("not installed, left out: {missing:?}; see loadgen/benches/peers/deps.sh");
    }
    let results = json!({
        "machine": machine::describe(&VERSIONS),
        "connections": CONNECTIONS,
        "seconds": seconds,
        "missing": missing.iter().map(|one| one.name()).collect::<Vec<_>>(),
        "closedLoop": costs(&present, Load::Closed, seconds),
        "openLoop": costs(&present, Load::Open(RATE), seconds),
        "schedule": schedule(&present, seconds),
        "stall": stall(&present, seconds.max(4)),
    });
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/results/peers.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("{results:#}\n")).unwrap();
    println!("\nwritten to loadgen/benches/results/peers.json");
}

/// Requests per second, and CPU time per request.
fn costs(generators: &[Generator], load: Load, seconds: u64) -> Value {
    println!("\n{load}, {CONNECTIONS} connections, 64-byte answers of nginx, {ROUNDS} rounds of {seconds} s, medians");
    println!("{:<18} {:>12} {:>14}", "generator", "requests/s", "us of CPU each");
    let nginx = Nginx::start();
    let able: Vec<_> = generators.iter().filter(|generator| generator.can(load)).collect();
    let mut rounds: Vec<Vec<(f64, f64)>> = vec![Vec::new(); able.len()];
    // In turn, so that what else goes on on the machine meets all of them.
    for _ in 0..ROUNDS {
        for (generator, rounds) in able.iter().zip(&mut rounds) {
            if let Some(run) = generator.run(nginx.address(), load, seconds) {
                let count = run.reported.requests as f64;
                rounds.push((run.cpu.as_secs_f64() * 1e6 / count, count / seconds as f64));
            }
        }
    }
    let mut rows = serde_json::Map::new();
    for (generator, mut rounds) in able.iter().zip(rounds) {
        rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        let Some((cost, rate)) = rounds.get(rounds.len() / 2) else {
            println!("{:<18} its report was not understood", generator.name());
            continue;
        };
        println!("{:<18} {rate:>12.0} {cost:>14.2}", generator.name());
        rows.insert(generator.name().to_owned(), json!({"requestsPerSecond": rate, "cpuMicrosPerRequest": cost}));
    }
    Value::Object(rows)
}

/// How far the requests are from the times at which they were due, as their server sees it.
fn schedule(generators: &[Generator], seconds: u64) -> Value {
    println!(
        "\nschedule at {RATE}/s: how late requests come, in us, as the server sees it, the middle one of {ROUNDS} rounds"
    );
    println!("{:<18} {:>9} {:>9} {:>9} {:>9}", "generator", "p50", "p99", "p99.9", "max");
    let mut rows = serde_json::Map::new();
    let able: Vec<_> = generators.iter().filter(|generator| generator.can(Load::Open(RATE))).collect();
    let mut rounds: Vec<Vec<[f64; 4]>> = vec![Vec::new(); able.len()];
    for _ in 0..ROUNDS {
        for (generator, rounds) in able.iter().zip(&mut rounds) {
            let observer = Observer::start(None);
            generator.run(observer.address(), Load::Open(RATE), seconds);
            let late = observer.lateness(RATE);
            if !late.is_empty() {
                rounds
                    .push([0.5, 0.99, 0.999, 1.0].map(|quantile| late[((late.len() - 1) as f64 * quantile) as usize]));
            }
        }
    }
    for (generator, mut rounds) in able.iter().zip(rounds) {
        // The middle round by its p99.
        rounds.sort_by(|one, other| one[1].total_cmp(&other[1]));
        let Some([p50, p99, p999, max]) = rounds.get(rounds.len() / 2) else { continue };
        println!("{:<18} {p50:>9.0} {p99:>9.0} {p999:>9.0} {max:>9.0}", generator.name());
        let row = json!({"p50Micros": p50, "p99Micros": p99, "p999Micros": p999, "maxMicros": max});
        rows.insert(generator.name().to_owned(), row);
    }
    Value::Object(rows)
}

/// What generators report of a server that stalls for one second, beside the exact values.
fn stall(generators: &[Generator], seconds: u64) -> Value {
    let exact = |quantile: f64| STALL.as_secs_f64() - (1.0 - quantile) * seconds as f64;
    let (p99, p999) = (exact(0.99), exact(0.999));
    println!("\na stall of {STALL:?} in {seconds} s at {STALL_RATE}/s: reported latencies in ms");
    println!("{:<18} {:>9} {:>9}", "generator", "p99", "p99.9");
    println!("{:<18} {:>9.0} {:>9.0}", "exact", p99 * 1e3, p999 * 1e3);
    let mut rows = serde_json::Map::new();
    rows.insert("exact".to_owned(), json!({"p99Millis": p99 * 1e3, "p999Millis": p999 * 1e3}));
    for generator in generators.iter().filter(|generator| generator.can(Load::Open(STALL_RATE))) {
        let observer = Observer::start(Some((Duration::from_secs(2), STALL)));
        let Some(run) = generator.run(observer.address(), Load::Open(STALL_RATE), seconds) else { continue };
        let Reported { p99, p999, .. } = run.reported;
        let shown = |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.0}", millis(time)));
        println!("{:<18} {:>9} {:>9}", generator.name(), shown(p99), shown(p999));
        rows.insert(generator.name().to_owned(), json!({"p99Millis": p99.map(millis), "p999Millis": p999.map(millis)}));
    }
    Value::Object(rows)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
