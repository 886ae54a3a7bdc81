//! The tables: for the terminal while it is measured, and for the README.

use std::fmt::Write as _;

use crate::{
    bars::{Bar, Bound, judge, valid},
    case::{CASES, Case, Load},
    measured::{CaseResult, Figure, Measured},
    results::Results,
    statistics::{Estimate, estimate},
    subject::Subject,
};

const PEERS: [Subject; 4] = [Subject::Haproxy, Subject::Nginx, Subject::Envoy, Subject::Toxiproxy];

/// All figures of a case.
pub fn of_case(case: &Case, result: &CaseResult) -> String {
    let mut text = format!("\n{}: {}, {} rounds", case.name, case.title, result.count());
    if let Some(rate) = result.rate {
        write!(text, ", {rate:.0} requests/s").unwrap();
    }
    let columns = ["requests/s", "CPU us", "p50 us", "p99 us", "MiB", "proxy core", "client core"];
    write!(text, "\n  {:<23}", "").unwrap();
    for column in columns {
        write!(text, "{column:>12}").unwrap();
    }
    let base = if result.rounds.contains_key(&Subject::Rules1) { Subject::Rules1 } else { Subject::Ours };
    writeln!(text, "   {base} by it: requests/s, CPU, p99").unwrap();
    for subject in case.subjects.iter().filter(|subject| result.rounds.contains_key(subject)) {
        let median = |figure: Figure| result.all(*subject, figure).map_or(f64::NAN, |all| estimate(&all).median);
        let figures: [Figure; 7] =
            [|m| m.rate, |m| m.cpu, Measured::p50, Measured::p99, |m| m.memory, |m| m.proxy_core, |m| m.client_core];
        write!(text, "  {subject:<23}").unwrap();
        for (figure, digits) in figures.into_iter().zip([0, 2, 0, 0, 1, 2, 2]) {
            write!(text, "{:>12}", rounded(median(figure), digits)).unwrap();
        }
        if *subject != base && *subject != Subject::Direct {
            for figure in [figures[0], figures[1], figures[3]] {
                let ratios = result.ratios((base, *subject), figure);
                write!(text, "   {}", ratios.map_or_else(String::new, |all| with_interval(&estimate(&all)))).unwrap();
            }
        }
        text.push('\n');
    }
    if case.load == Load::Closed {
        for subject in case.subjects.iter().filter(|subject| **subject != Subject::Direct) {
            let void = valid(result, *subject).iter().filter(|valid| !**valid).count();
            if void > 0 {
                writeln!(text, "  {subject}: requests/s is void in {void} rounds, since its core was not full")
                    .unwrap();
            }
        }
    } else {
        text.push_str(&of_judged(case, result));
    }
    text
}

/// How much of the answers in the open loop the latencies are of, and what is void.
fn of_judged(case: &Case, result: &CaseResult) -> String {
    let mut text = String::new();
    for subject in case.subjects {
        let Some(rounds) = result.rounds.get(subject) else { continue };
        let shares: Vec<f64> = rounds.iter().filter_map(|round| round.judged).collect();
        let (share, void) = (estimate(&shares).median, rounds.iter().filter(|round| round.is_void()).count());
        writeln!(text, "  {subject}: p50 and p99 are of {:.0} % of the answers, void in {void} rounds", share * 100.0)
            .unwrap();
    }
    text
}

fn with_interval(estimate: &Estimate) -> String {
    match estimate.interval {
        Some((low, high)) => format!("{:.2} ({low:.2} to {high:.2})", estimate.median),
        None => rounded(estimate.median, 2),
    }
}

/// A median that is not a number is one of void rounds only.
fn rounded(median: f64, digits: usize) -> String {
    if median.is_nan() { "void".to_owned() } else { format!("{median:.digits$}") }
}

/// One line for each bar.
pub fn of_bars(bars: &[Bar]) -> String {
    let line = |bar: &Bar| {
        let verdict = if bar.holds() { "holds" } else { "BROKEN" };
        let floors = if bar.floors.is_empty() { String::new() } else { format!(" ({})", floors_of(bar)) };
        format!("  {:<88} {:<26} bar {}: {verdict}{floors}\n", bar.what, value_of(bar), bound_of(bar))
    };
    bars.iter().map(line).collect()
}

fn value_of(bar: &Bar) -> String {
    bar.value.as_ref().map_or_else(|| "every round is void".to_owned(), |it| with_interval(it) + bar.unit)
}

fn bound_of(bar: &Bar) -> String {
    match bar.bound {
        Bound::AtMost(most) => format!("at most {}{}", number(most), bar.unit),
        Bound::AtLeast(least) => format!("at least {}{}", number(least), bar.unit),
    }
}

/// `heads only 0.87 (0.85 to 0.90); no work 0.82 (0.80 to 0.84)`.
fn floors_of(bar: &Bar) -> String {
    let floors = bar.floors.iter().map(|(subject, floor)| format!("{subject} {}", with_interval(floor)));
    floors.collect::<Vec<_>>().join("; ")
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Everything that the README shows.
pub fn for_readme(results: &Results) -> String {
    let mut text = String::new();
    if let Some(first) = CASES.iter().find_map(|case| results.cases.get(case.name)) {
        let versions: Vec<String> = first.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let machine = |what: &str| first.machine[what].as_str().unwrap_or("unknown");
        let rounds = results.cases.values().map(CaseResult::count).min().unwrap_or_default();
        writeln!(
            text,
            "{}: {}, {} cores, Linux {}; {}; {rounds} paired rounds or more.\n",
            first.date.split('T').next().unwrap_or_default(),
            machine("cpu"),
            first.machine["cores"],
            machine("kernel"),
            versions.join(", ")
        )
        .unwrap();
    }
    figure_table(&mut text, results, "CPU per request, in us", |m| m.cpu, 1);
    figure_table(&mut text, results, "requests per second, one core", |m| m.rate, 0);
    figure_table(&mut text, results, "p99, in us", Measured::p99, 0);
    memory_table(&mut text, results);
    rules_table(&mut text, results);
    text.push_str("| bar | measured | must be | | the same of who does next to nothing |\n|---|---|---|---|---|\n");
    for bar in judge(results) {
        let verdict = if bar.holds() { "holds" } else { "**broken**" };
        let floors = floors_of(&bar);
        writeln!(text, "| {} | {} | {} | {verdict} | {floors} |", bar.what, value_of(&bar), bound_of(&bar)).unwrap();
    }
    text
}

/// One figure of all cases in which peers take part.
fn figure_table(text: &mut String, results: &Results, name: &str, figure: Figure, digits: usize) {
    let titles: Vec<String> = PEERS.iter().map(ToString::to_string).collect();
    writeln!(text, "| {name} | Glooshot | {} |", titles.join(" | ")).unwrap();
    writeln!(text, "|---|---|{}", "---|".repeat(PEERS.len())).unwrap();
    for case in CASES.iter().filter(|case| !case.fresh && case.subjects.contains(&Subject::Ours)) {
        let Some(result) = results.cases.get(case.name) else { continue };
        writeln!(text, "{}", row(case.title, result, figure, digits)).unwrap();
    }
    text.push('\n');
}

fn row(title: &str, result: &CaseResult, figure: Figure, digits: usize) -> String {
    let mut row = format!("| {title} |");
    for subject in [Subject::Ours].into_iter().chain(PEERS) {
        let Some(all) = result.all(subject, figure) else {
            row.push_str(" - |");
            continue;
        };
        write!(row, " {}", rounded(estimate(&all).median, digits)).unwrap();
        if subject != Subject::Ours
            && let Some(ratios) = result.ratios((Subject::Ours, subject), figure)
        {
            write!(row, "; {}", with_interval(&estimate(&ratios))).unwrap();
        }
        row.push_str(" |");
    }
    row
}

fn memory_table(text: &mut String, results: &Results) {
    let Some((case, result)) = Case::find("memory").zip(results.cases.get("memory")) else { return };
    let titles: Vec<String> = PEERS.iter().map(ToString::to_string).collect();
    writeln!(text, "| MiB | Glooshot | {} |", titles.join(" | ")).unwrap();
    writeln!(text, "|---|---|{}", "---|".repeat(PEERS.len())).unwrap();
    writeln!(text, "{}\n", row(case.title, result, |m| m.memory, 1)).unwrap();
}

fn rules_table(text: &mut String, results: &Results) {
    let Some(result) = results.cases.get("rules") else { return };
    text.push_str("| rules and endpoints in one plan | CPU per request, in us | by that of one |\n|---|---|---|\n");
    let ours = [Subject::Rules1, Subject::Rules100, Subject::Rules1000, Subject::OnlyRules1000];
    let theirs = [Subject::Haproxy, Subject::Haproxy1000];
    let pairs = ours.map(|subject| (subject, ours[0])).into_iter().chain(theirs.map(|subject| (subject, theirs[0])));
    for (subject, of_one) in pairs {
        let (Some(all), Some(ratios)) = (result.all(subject, |m| m.cpu), result.ratios((subject, of_one), |m| m.cpu))
        else {
            continue;
        };
        let by = with_interval(&estimate(&ratios));
        writeln!(text, "| {subject} | {:.1} | {by} |", estimate(&all).median).unwrap();
    }
    text.push('\n');
}
