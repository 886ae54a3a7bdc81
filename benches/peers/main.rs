//! Our proxy beside HAProxy, nginx, Envoy and toxiproxy: in one run, in turn, each on a core of its own.
//!
//! `README.md` beside this file has the method.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench may stop on a broken machine"
)]
#![allow(unreachable_pub, reason = "some modules are shared with other binaries")]

#[allow(dead_code, unused_imports, reason = "another binary uses the rest of the harness")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "another bench uses the rest")]
#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod bars;
mod case;
mod fleet;
mod least;
mod load;
mod measured;
mod on_tokio;
mod process;
mod proxy;
mod readme;
mod relay;
mod results;
mod rules;
mod statistics;
mod subject;
mod table;

use std::{collections::BTreeMap, process::ExitCode};

use rustix::thread::{CpuSet, sched_setaffinity};

use arguments::{Arguments, HELP};
use case::Case;
use fleet::Fleet;
use measured::CaseResult;
use results::Results;
use subject::Subject;
use support::{machine, priority::go_first, usage::raise_descriptor_limit};

fn main() -> ExitCode {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let of_relay = std::env::args().skip_while(|argument| argument != relay::ARGUMENT).nth(1);
    if let Some(subject) = of_relay.and_then(|key| key.parse().ok()) {
        if subject == Subject::Tokio {
            on_tokio::run(subject);
        }
        relay::run(subject);
    }
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("{HELP}\n\n{error}");
            return ExitCode::from(2);
        }
    };
    if !go_first() {
        println!("other processes of this machine are not kept from the processor: that takes CAP_SYS_NICE");
    }
    raise_descriptor_limit();
    let mut core = CpuSet::new();
    core.set(process::CLIENT_CORE);
    // The threads of the load generator begin with this.
    sched_setaffinity(None, &core).unwrap();
    let results = run(&arguments);
    let bars = bars::judge(&results);
    print!("\n{}", table::of_bars(&bars));
    if std::env::var("GLOOSHOT_WRITE").is_ok_and(|value| value == "1") {
        let mut kept = Results::read();
        kept.cases.extend(results.cases);
        kept.write();
        readme::write(&table::for_readme(&kept));
        println!("written to benches/results/peers.json and README.md");
    }
    if bars.iter().all(bars::Bar::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> Results {
    let mut fleet = Fleet::new();
    let mut results = Results::default();
    for case in &arguments.cases {
        if arguments.subjects(case).is_empty() {
            continue;
        }
        let result = run_case(case, arguments, &mut fleet);
        print!("{}", table::of_case(case, &result));
        results.cases.insert(case.name.to_owned(), result);
    }
    results
}

/// All rounds of a case. The order within a round changes with it, so that nobody always comes behind the same other.
fn run_case(case: &Case, arguments: &Arguments, fleet: &mut Fleet) -> CaseResult {
    let mut subjects = arguments.subjects(case);
    fleet.prepare(&subjects);
    let rate = fleet.rate(case);
    let mut rounds = BTreeMap::new();
    for _ in 0..arguments.rounds(case) {
        for subject in &subjects {
            let measured = fleet.measure(case, *subject, rate);
            rounds.entry(*subject).or_insert_with(Vec::new).push(measured);
        }
        subjects.rotate_left(1);
    }
    CaseResult { date: machine::date(), machine: machine::describe(), versions: process::versions(), rate, rounds }
}
