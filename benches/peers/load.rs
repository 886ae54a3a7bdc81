//! The load of one measurement, by our load generator on threads of this process, and what it cost whom.

use std::{
    mem::take,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use glooshot_loadgen::{Config, Limit, LiveSnapshot, LiveStats, Pace, Protocol as Version, Summary, Timing, Trust};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    case::{Case, Protocol},
    measured::Measured,
    process::{CLIENT_CORE, PROXY_CORE},
    subject::Subject,
    support::{
        figures::{at_quantile, mib},
        standstill::{Span, Standstills, touched},
        usage::Process,
    },
};

/// Before the measurement: connections are made, pools and caches filled. It is as long as an interval of the load generator's
/// series, from which the latencies are.
const WARM_UP: Duration = Duration::from_secs(1);
/// The measurement itself: the second interval.
const MEASURED: Duration = Duration::from_secs(1);
const INTERVAL: u64 = 1;
/// What is left of the load behind the measurement, so that it never measures the end of it.
const BEHIND: Duration = Duration::from_millis(50);
/// Time for the last answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Requests without an answer, or with a wrong one, that a measurement survives.
const MOST_WRONG: f64 = 0.001;
/// How far the share of aborted requests may be from what was asked for: six deviations of the smallest sample.
const SHARE_TOLERANCE: f64 = 0.02;

/// Who takes part in one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Parties {
    /// `None` where there is no proxy.
    pub proxy: Option<Process>,
    pub origin: Process,
}

/// Counters at one moment.
struct Sample {
    at: Instant,
    answers: LiveSnapshot,
    proxy: Duration,
    origin: Duration,
    client: Duration,
}

impl Parties {
    fn sample(self, live: &LiveStats) -> Sample {
        let client = clock_gettime(ClockId::ProcessCPUTime);
        Sample {
            at: Instant::now(),
            answers: live.snapshot(),
            proxy: self.proxy.map_or(Duration::ZERO, Process::processor_time),
            origin: self.origin.processor_time(),
            client: Duration::try_from(client).unwrap_or_default(),
        }
    }
}

/// Sends the load of a case to a subject; `rate` is the open loop's.
pub fn measure(case: &Case, subject: Subject, parties: Parties, rate: Option<f64>) -> Measured {
    let mut config = config(case, subject, rate);
    let open_loop = rate.map(|_| OpenLoop::watch(&mut config));
    let live = Arc::new(LiveStats::default());
    if let Some(proxy) = parties.proxy {
        proxy.forget_peak();
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (summary, samples) = runtime.block_on(async {
        let begun = Instant::now();
        let run = glooshot_loadgen::run(config, Arc::clone(&live), CancellationToken::new());
        let watch = async {
            sleep_until(begun + WARM_UP).await;
            let before = parties.sample(&live);
            sleep_until(begun + WARM_UP + MEASURED).await;
            (before, parties.sample(&live))
        };
        tokio::join!(run, watch)
    });
    let summary = summary.unwrap();
    check(case, subject, &summary);
    let latencies = open_loop.map_or_else(|| Latencies::of_closed_loop(&summary), |all| all.judge(&samples));
    figures(parties, latencies, &samples.0, &samples.1)
}

/// What there is to say of the latencies of one measurement.
#[derive(Clone, Copy)]
struct Latencies {
    p50: Duration,
    p99: Duration,
    judged: Option<f64>,
}

impl Latencies {
    /// As the load generator counts them.
    fn of_closed_loop(summary: &Summary) -> Self {
        let series = &summary.series;
        assert_eq!(series.width(), MEASURED, "the intervals are those of the measurement");
        let (_, interval) = series.intervals().find(|(number, _)| *number == INTERVAL).expect("answers in that second");
        let [p50, p99] = [0.5, 0.99].map(|quantile| interval.latencies.quantile(quantile).unwrap());
        Self { p50, p99, judged: None }
    }
}

/// The requests of an open loop, each from when it was due to its answer, and the moments in which the machine stood still.
struct OpenLoop {
    answered: Arc<Mutex<Vec<Span>>>,
    standstills: Option<Standstills>,
}

impl OpenLoop {
    /// Begins to look. Without a priority in real time nothing is known of the machine, and all requests are judged.
    fn watch(config: &mut Config) -> Self {
        let answered = Arc::<Mutex<Vec<Span>>>::default();
        let kept = Arc::clone(&answered);
        config.timing = Some(Timing::new(move |begin, end| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(Span { begin, end });
        }));
        Self { answered, standstills: Standstills::watch([CLIENT_CORE, PROXY_CORE]) }
    }

    /// The latencies of those that were answered between the samples, but for those under way while the machine stood still.
    fn judge(self, (before, after): &(Sample, Sample)) -> Latencies {
        let until = |standstills: &Standstills| standstills.until(std::time::Instant::now());
        let standstills = self.standstills.as_ref().map_or_else(Vec::new, until);
        let mut answered = take(&mut *self.answered.lock().unwrap_or_else(PoisonError::into_inner));
        let measured = before.at.into_std()..after.at.into_std();
        answered.retain(|time| measured.contains(&time.end));
        let judged = answered.iter().filter(|time| !touched(**time, &standstills));
        let mut latencies: Vec<Duration> = judged.map(|time| time.end - time.begin).collect();
        latencies.sort();
        let [p50, p99] = [0.5, 0.99].map(|quantile| at_quantile(&latencies, quantile));
        Latencies { p50, p99, judged: Some(latencies.len() as f64 / answered.len() as f64) }
    }
}

fn config(case: &Case, subject: Subject, rate: Option<f64>) -> Config {
    let scheme = if case.protocol == Protocol::Tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{}", subject.at(case.port_of(subject)), case.path);
    let connections = case.connections;
    let pace = match rate {
        Some(rate_per_second) => Pace::Constant { rate_per_second, connections },
        None => Pace::Closed { connections },
    };
    let mut config = Config::new(url.parse().unwrap(), pace);
    config.limit = Limit { duration: Some(WARM_UP + MEASURED + BEHIND), count: None };
    config.timeout = TIMEOUT;
    config.trust = Trust::Anyone;
    config.threads = Some(1);
    if let Protocol::Http2 { streams } = case.protocol {
        config.protocol = Version::Http2 { streams };
    }
    config
}

/// A subject that does not do the work would be fast.
fn check(case: &Case, subject: Subject, summary: &Summary) {
    let count = |status: u16| summary.statuses.get(&status).copied().unwrap_or_default();
    let all = summary.started as f64;
    let wrong = all - (count(200) + count(503)) as f64;
    assert!(
        summary.responses > 0 && wrong <= all * MOST_WRONG,
        "{}, {subject}: of {} requests these had no answer: {:?}, others {:?}",
        case.name,
        summary.started,
        summary.errors,
        summary.statuses
    );
    let (share, due) = (count(503) as f64 / all, case.aborted_by(subject));
    let tolerance = if due > 0.0 && due < 1.0 { SHARE_TOLERANCE } else { MOST_WRONG };
    assert!((share - due).abs() <= tolerance, "{}, {subject}: {share} of all answers are 503, not {due}", case.name);
}

fn figures(parties: Parties, latencies: Latencies, before: &Sample, after: &Sample) -> Measured {
    let wall = (after.at - before.at).as_secs_f64();
    let answers = (after.answers.responses - before.answers.responses) as f64;
    let share = |before: Duration, after: Duration| (after - before).as_secs_f64() / wall;
    let proxy = share(before.proxy, after.proxy);
    Measured {
        rate: answers / wall,
        cpu: proxy * wall * 1e6 / answers,
        p50: latencies.p50.as_secs_f64() * 1e6,
        p99: latencies.p99.as_secs_f64() * 1e6,
        judged: latencies.judged,
        memory: parties.proxy.map_or(0.0, |proxy| mib(proxy.peak())),
        proxy_core: proxy,
        client_core: share(before.client, after.client) + share(before.origin, after.origin),
    }
}
