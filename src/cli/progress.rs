//! What `run` shows while an experiment goes on: a line for each event, and on a terminal a bar beneath them.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use crate::{
    engine::progress::{Progress, ProgressEvent},
    output::say,
    proxy::Control,
};

/// Between two updates of the bar.
const REFRESH: Duration = Duration::from_millis(200);

/// Shows events on standard error.
#[derive(Debug)]
pub(super) struct Show {
    /// On a terminal only.
    bar: Option<ProgressBar>,
    control: Control,
}

impl Show {
    /// For an experiment of this length over the proxy that `control` looks at.
    pub(super) fn new(duration: Duration, control: Control) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
            if let Ok(style) = ProgressStyle::with_template("{spinner} [{wide_bar}] {msg}") {
                bar.set_style(style);
            }
            bar.set_message("faults off");
            bar
        });
        Self { bar, control }
    }

    /// Shows events until the run has ended.
    pub(super) async fn follow(self, mut events: mpsc::Receiver<Progress>) {
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut started = None;
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(Progress { event, .. }) = event else { break };
                    if matches!(event, ProgressEvent::FaultsOn) {
                        started = Some(tokio::time::Instant::now());
                    }
                    self.line(&event.to_string());
                }
                _ = refresh.tick(), if self.bar.is_some() => self.update(started),
            }
        }
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say!("{text}")),
            None => say!("{text}"),
        }
    }

    fn update(&self, started: Option<tokio::time::Instant>) {
        let (Some(bar), Some(started)) = (&self.bar, started) else { return };
        let injection = self.control.injection();
        let (aborted, delayed) = injection.iter().fold((0, 0), |(a, d), one| (a + one.aborted, d + one.delayed));
        let state = if self.control.is_injecting() { "faults ON" } else { "faults off" };
        bar.set_position(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
        bar.set_message(format!("{state}, {aborted} aborted, {delayed} delayed"));
    }
}
