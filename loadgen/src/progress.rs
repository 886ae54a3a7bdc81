//! A progress bar on a terminal, nothing elsewhere.

use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::time::Duration;

use glooshot_loadgen::{Limit, LiveSnapshot, LiveStats};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;

/// Distance of two updates.
const TICK: Duration = Duration::from_millis(200);

/// Steps of the bar.
const STEPS: u64 = 1000;

/// Shows the counters on standard error for as long as it is polled, if that is a terminal; never completes.
pub(crate) async fn show(live: &LiveStats, limit: Limit) -> Infallible {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let bar = Cleared(ProgressBar::new(STEPS));
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {msg}") {
        bar.0.set_style(style.progress_chars("=> "));
    }
    let mut ticks = interval(TICK);
    let mut before = LiveSnapshot::default();
    loop {
        ticks.tick().await;
        let now = live.snapshot();
        bar.0.set_position((done(&now, limit) * STEPS as f64) as u64);
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
fn done(now: &LiveSnapshot, limit: Limit) -> f64 {
    let by_time = limit.duration.map_or(0.0, |all| now.elapsed.as_secs_f64() / all.as_secs_f64());
    let by_count = limit.count.map_or(0.0, |all| now.finished() as f64 / all as f64);
    by_time.max(by_count).clamp(0.0, 1.0)
}

fn message(before: &LiveSnapshot, now: &LiveSnapshot) -> String {
    let seconds = now.elapsed.saturating_sub(before.elapsed).as_secs_f64();
    let rate = if seconds > 0.0 { now.finished().saturating_sub(before.finished()) as f64 / seconds } else { 0.0 };
    let [ok, client, server] = [2, 4, 5].map(|digit| now.status_class(digit));
    format!("{rate:.0} req/s, 2xx {ok}, 4xx {client}, 5xx {server}, errors {}", now.errors.total())
}
