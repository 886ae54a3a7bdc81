//! A progress bar on a terminal, nothing elsewhere.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::time::Duration;

use glooshot_loadgen::units::{short_rate, short_time};
use glooshot_loadgen::{Config, LiveLatencies, LiveSnapshot, LiveStats};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;

/// Distance of two updates.
const TICK: Duration = Duration::from_millis(250);

/// Steps of the bar.
const STEPS: u64 = 1000;

/// Shows the counters on standard error for as long as it is polled, if that is a terminal; never completes.
pub(crate) async fn show(live: &LiveStats, config: &Config) -> Infallible {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let bar = Cleared(ProgressBar::new(STEPS));
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} [{bar:24}] {msg}") {
        bar.0.set_style(style.progress_chars("=> "));
    }
    let profile_length = config.pace.open_loop().and_then(|(profile, _)| profile.duration());
    let length = config.limit.duration.into_iter().chain(profile_length).min();
    let mut ticks = interval(TICK);
    let mut before = (LiveSnapshot::default(), live.latencies());
    loop {
        ticks.tick().await;
        let now = (live.snapshot(), live.latencies());
        bar.0.set_position((done(&now.0, length, config.limit.count) * STEPS as f64) as u64);
        bar.0.set_message(message(&before, &now));
        before = now;
    }
}

/// Removes the bar when the run ends, so that only the summary remains.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How much of the run is behind us, 0 to 1.
fn done(now: &LiveSnapshot, length: Option<Duration>, count: Option<u64>) -> f64 {
    let by_time = length.map_or(0.0, |all| now.elapsed.as_secs_f64() / all.as_secs_f64());
    let by_count = count.map_or(0.0, |all| now.finished() as f64 / all as f64);
    by_time.max(by_count).clamp(0.0, 1.0)
}

/// The rate and the latencies since the last update, and the counts since the start.
fn message(before: &(LiveSnapshot, LiveLatencies), now: &(LiveSnapshot, LiveLatencies)) -> String {
    let ((snapshot, latencies), (earlier, earlier_latencies)) = (now, before);
    let seconds = snapshot.elapsed.saturating_sub(earlier.elapsed).as_secs_f64();
    let finished = snapshot.finished().saturating_sub(earlier.finished());
    let rate = if seconds > 0.0 { finished as f64 / seconds } else { 0.0 };
    let [p50, p99] = [0.5, 0.99]
        .map(|quantile| latencies.quantile_since(earlier_latencies, quantile).map_or("-".to_owned(), short_time));
    let [ok, client, server] = [2, 4, 5].map(|digit| snapshot.status_class(digit));
    let errors = snapshot.errors.total();
    format!("{}/s, p50 {p50}, p99 {p99}; 2xx {ok}, 4xx {client}, 5xx {server}, errors {errors}", short_rate(rate))
}
