//! One attack in rounds, with the good clients alone before and after each, so that the machine's own noise is seen.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    attack::{Assault, Attack, Life, Target},
    good::{GoodClients, Seen},
    support::{
        figures::{median, mib, ms},
        finding::Finding,
        priority::step_back,
        process::Running,
        usage::{Process, time_of_the_machine},
    },
};

/// Rounds of attack and baseline that must count, and rounds at the most.
const ROUNDS: usize = 3;
const MOST_ROUNDS: usize = 9;
/// A round counts where the baselines on both sides of it differ by less than this.
const QUIET: f64 = 1.5;
/// And where so many requests could be judged, in its attack and in both baselines.
const LEAST_JUDGED: f64 = 0.5;
/// How long the good clients are alone each time.
const BASELINE: Duration = Duration::from_secs(5);
/// The proxy may work on what an attack left behind for this long.
const SETTLE: Duration = Duration::from_secs(1);
/// Then its processor time is measured, while nobody asks anything.
const IDLE: Duration = Duration::from_millis(500);
/// The share of a core that is idle.
const IDLE_SHARE: f64 = 0.05;
/// The good clients' p99 during the attack must be below this many times their baseline.
const MOST_RATIO: f64 = 2.0;

/// The proxy and its good clients.
pub struct Bench<'b> {
    pub proxy: &'b Running,
    pub good: &'b GoodClients,
    pub target: Target,
}

/// What was seen in one phase.
#[derive(Clone, Copy, Debug)]
struct Phase {
    seen: Seen,
    /// Shares of one core: the proxy, the attacker, all other processes.
    proxy: f64,
    attacker: f64,
    others: f64,
}

/// What a round says.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// The p99 of the attack in baselines, which is the geometric mean of those on both sides.
    ratio: f64,
    /// By how much these differ.
    noise: f64,
    quiet: bool,
}

/// What is known at the end.
#[derive(Debug, Default)]
struct Trial {
    baselines: Vec<Phase>,
    attacks: Vec<Phase>,
    lives: Vec<Life>,
    /// The proxy's memory at its peak before the first attack, during the attacks, and with a crowd of attackers.
    peak_before: u64,
    peak: u64,
    peak_of_crowd: u64,
    idle: Vec<f64>,
}

/// What the summary says of an attack.
#[derive(Debug)]
pub struct Result {
    pub name: &'static str,
    pub baseline: Duration,
    pub attack: Duration,
    pub ratio: f64,
    /// Whether enough rounds were quiet.
    pub quiet: bool,
    pub failed: u32,
    pub holds: bool,
}

impl Bench<'_> {
    /// Attacks, prints what was seen and judges it.
    pub fn attack(&self, attack: &dyn Attack) -> Result {
        let (name, case) = attack.name();
        println!("\n{name} ({case}): {}", attack.describe());
        println!(
            "  {:<10} {:>8} {:>8} {:>9} {:>7} {:>7} {:>11} {:>11} {:>11}",
            "phase", "p50 ms", "p99 ms", "requests", "judged", "failed", "proxy core", "attacker", "others"
        );
        let before = self.counters();
        let mut trial = Trial { baselines: vec![self.baseline()], ..Trial::default() };
        trial.peak_before = self.proxy.process().peak();
        while trial.quiet().count() < ROUNDS && trial.attacks.len() < MOST_ROUNDS {
            self.round(attack, &mut trial);
            trial.baselines.push(self.baseline());
        }
        self.crowd(attack, &mut trial);
        let stalled = Duration::from_secs_f64(self.proxy.metrics().sum("glooshot_proxy_longest_stall_seconds", &[]));
        let mut findings = trial.findings(attack);
        findings.extend(attack.judge(&trial.lives, stalled));
        findings.extend(self.counted(&before));
        for finding in &findings {
            println!("{finding}");
        }
        trial.result(name, findings.iter().all(Finding::holds))
    }

    fn baseline(&self) -> Phase {
        self.phase("baseline", BASELINE, |_| Assault::default()).0
    }

    fn round(&self, attack: &dyn Attack, trial: &mut Trial) {
        let process = self.proxy.process();
        process.forget_peak();
        let (phase, assault) = self.phase("attack", attack.lasts(), |until| {
            let act = || {
                step_back();
                attack.run(self.target, until)
            };
            thread::scope(|scope| scope.spawn(act).join().unwrap())
        });
        trial.attacks.push(phase);
        trial.lives.extend(assault.lives);
        trial.peak = trial.peak.max(process.peak());
        pause(SETTLE);
        let (used, begun) = (process.processor_time(), Instant::now());
        pause(IDLE);
        let used = process.processor_time() - used;
        trial.idle.push(used.as_secs_f64() / begun.elapsed().as_secs_f64());
    }

    /// The attack with many connections at a time, for the memory that each costs.
    fn crowd(&self, attack: &dyn Attack, trial: &mut Trial) {
        let process = self.proxy.process();
        process.forget_peak();
        let ran = attack.run_as_crowd(self.target, Instant::now() + BASELINE);
        trial.peak_of_crowd = if ran { process.peak() } else { trial.peak };
    }

    fn phase(&self, name: &str, duration: Duration, act: impl FnOnce(Instant) -> Assault) -> (Phase, Assault) {
        let process = self.proxy.process();
        let (own, proxy, machine) = (Process::own().processor_time(), process.processor_time(), time_of_the_machine());
        let begun = Instant::now();
        let (seen, assault) = self.good.ask_for(duration, act);
        let passed = begun.elapsed().as_secs_f64();
        let share = |time: Duration| time.as_secs_f64() / passed;
        let proxy = process.processor_time() - proxy;
        // The attacker's thread has ended, and counts no more.
        let own = Process::own().processor_time().saturating_sub(own) + assault.processor_time;
        let phase = Phase {
            seen,
            proxy: share(proxy),
            attacker: share(assault.processor_time),
            others: share((time_of_the_machine() - machine).saturating_sub(proxy + own)),
        };
        let Seen { p50, p99, requests, failed, judged } = seen;
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        println!(
            "  {name:<10} {:>8.2} {:>8.2} {requests:>9} {:>7} {failed:>7} {:>11} {:>11} {:>11}",
            ms(p50),
            ms(p99),
            format!("{:.0} %", judged * 100.0),
            percent(phase.proxy),
            percent(phase.attacker),
            percent(phase.others)
        );
        (phase, assault)
    }

    fn counters(&self) -> Vec<(&'static str, f64)> {
        let metrics = self.proxy.metrics();
        let rejected = |reason| metrics.sum("glooshot_proxy_rejected_total", &[("reason", reason)]);
        let reasons =
            ["flood", "syntax", "head-timeout", "tls-handshake", "body"].map(|reason| (reason, rejected(reason)));
        let others = [
            ("streams refused", metrics.sum("glooshot_proxy_streams_refused_total", &[])),
            ("connections", metrics.sum("glooshot_proxy_connections_total", &[])),
            ("stalls", metrics.sum("glooshot_proxy_stalls_total", &[])),
            ("panics", metrics.sum("glooshot_proxy_panics_total", &[])),
        ];
        reasons.into_iter().chain(others).collect()
    }

    fn counted(&self, before: &[(&'static str, f64)]) -> Vec<Finding> {
        let now = self.counters();
        let risen = now.iter().zip(before).map(|((name, now), (_, before))| (*name, now - before));
        let told: Vec<String> = risen.filter(|(_, by)| *by > 0.0).map(|(name, by)| format!("{name} {by}")).collect();
        let panics = now.iter().filter(|(name, _)| *name == "panics").map(|(_, count)| count).sum::<f64>();
        vec![
            Finding::shown("counters", told.join(", ")),
            Finding::judged("panics", panics.to_string(), "none", panics == 0.0),
        ]
    }
}

impl Trial {
    fn rounds(&self) -> impl Iterator<Item = Round> {
        let p99 = |phase: &Phase| ms(phase.seen.p99);
        self.attacks.iter().zip(self.baselines.windows(2)).map(move |(attack, baselines)| {
            let (before, after) = (p99(&baselines[0]), p99(&baselines[1]));
            let noise = before.max(after) / before.min(after);
            let judged = baselines.iter().chain([attack]).all(|phase| phase.seen.judged >= LEAST_JUDGED);
            Round { ratio: p99(attack) / (before * after).sqrt(), noise, quiet: judged && noise < QUIET }
        })
    }

    /// The rounds in which the machine was quiet.
    fn quiet(&self) -> impl Iterator<Item = Round> {
        self.rounds().filter(|round| round.quiet)
    }

    /// The ratios of the rounds that count.
    fn counting(&self) -> Vec<f64> {
        let enough = self.quiet().count() >= ROUNDS;
        self.rounds().filter(|round| !enough || round.quiet).map(|round| round.ratio).collect()
    }

    fn failed(&self) -> u32 {
        self.baselines.iter().chain(&self.attacks).map(|phase| phase.seen.failed).sum()
    }

    fn findings(&self, attack: &dyn Attack) -> Vec<Finding> {
        let ratios = self.counting();
        let ratios_told: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let ratio = median(ratios);
        let noise: Vec<String> = self.rounds().map(|round| format!("{:.2}", round.noise)).collect();
        let in_rounds = self.peak.saturating_sub(self.peak_before);
        let growth = self.peak_of_crowd.saturating_sub(self.peak_before);
        let each = growth / u64::from(attack.crowd());
        let allowed = attack.growth_allowed();
        let idle = self.idle.iter().copied().fold(0.0, f64::max);
        vec![
            Finding::judged(
                "p99 in baselines, median",
                format!("{ratio:.2} of {}", ratios_told.join(", ")),
                format!("below {MOST_RATIO}"),
                ratio < MOST_RATIO,
            ),
            Finding::shown("baselines differ by", format!("{} (quiet: below {QUIET})", noise.join(", "))),
            Finding::judged("good requests failed", self.failed().to_string(), "none", self.failed() == 0),
            Finding::shown("growth in rounds", format!("{:.3} MiB", mib(in_rounds))),
            Finding::judged(
                "growth per connection",
                format!(
                    "{:.3} MiB, {:.1} of {}, above {:.1}",
                    mib(each),
                    mib(growth),
                    attack.crowd(),
                    mib(self.peak_before)
                ),
                format!("{:.3} MiB", mib(allowed)),
                each < allowed,
            ),
            Finding::judged(
                "processor 1 s after",
                format!("{:.1} % of a core at the most", idle * 100.0),
                format!("below {:.0} %", IDLE_SHARE * 100.0),
                idle < IDLE_SHARE,
            ),
        ]
    }

    fn result(&self, name: &'static str, holds: bool) -> Result {
        let middle = |phases: &[Phase]| {
            let p99 = median(phases.iter().map(|phase| phase.seen.p99.as_secs_f64()).collect());
            Duration::from_secs_f64(p99)
        };
        Result {
            name,
            baseline: middle(&self.baselines),
            attack: middle(&self.attacks),
            ratio: median(self.counting()),
            quiet: self.quiet().count() >= ROUNDS,
            failed: self.failed(),
            holds,
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a measurement takes its time")]
fn pause(duration: Duration) {
    thread::sleep(duration);
}
