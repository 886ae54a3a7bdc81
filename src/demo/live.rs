//! The words for what goes on: the live line, and one line for each event of a run.

use std::time::Duration;

use glooshot_api::{quantity::go_float, status::ResultState};
use tokio::time::{Instant, sleep_until};

use super::{
    pages::Pages,
    screen::{Look, Screen},
};
use crate::engine::progress::ProgressEvent;

/// Between two live lines.
const TICK: Duration = Duration::from_millis(500);
/// Before the first. Experiments do things after whole seconds, and the lines tell of them rather than race with them.
const FIRST: Duration = Duration::from_millis(300);

/// What the lines of one scene have in common: its beginning, and what the last line has told.
#[derive(Debug)]
pub(super) struct Live {
    begin: Instant,
    /// When the next live line is due.
    due: Instant,
    before: Pages,
}

impl Live {
    /// A scene that begins now.
    pub(super) fn new(before: Pages) -> Self {
        let now = Instant::now();
        Self { begin: now, due: now + FIRST, before }
    }

    /// Returns when the next live line is due. Cancel safe.
    pub(super) async fn due(&self) {
        sleep_until(self.due).await;
    }

    /// The line for everything since the last.
    pub(super) fn line(&mut self, pages: Pages, faults_on: bool, screen: &Screen) -> String {
        let seen = pages.since(&self.before);
        (self.before, self.due) = (pages, Instant::now() + TICK);
        let errors = format!("errors {:5.1} %", seen.error_rate() * 100.0);
        let errors = screen.paint(if seen.error_rate() > 0.0 { Look::Bad } else { Look::Plain }, &errors);
        let faults = if faults_on { screen.paint(Look::Bad, "faults ON ") } else { "faults off".to_owned() };
        self.at_now(&format!("{:3.0} pages/s  {errors}  {faults}  {}", seen.rate(), seen.shows()))
    }

    /// A line with the time in the scene in front.
    pub(super) fn at_now(&self, line: &str) -> String {
        format!("{:5.1} s  {line}", self.begin.elapsed().as_secs_f64())
    }
}

/// One line for an event of a run; `None` for what the live line or the report tells anyway.
pub(super) fn story(event: &ProgressEvent, screen: &Screen) -> Option<String> {
    let bad = |text: String| Some(screen.paint(Look::Bad, &text));
    let good = |text: String| Some(screen.paint(Look::Good, &text));
    match event {
        ProgressEvent::Settling(time) => Some(format!("routed; settling for {time:?} with the faults off")),
        ProgressEvent::FaultsOn => bad("FAULTS ON".to_owned()),
        ProgressEvent::Sample { value, .. } => Some(format!("Prometheus answers {}", go_float(*value))),
        ProgressEvent::Tripped { value, threshold, operator, .. } => {
            bad(format!("THRESHOLD CROSSED: {} {operator} {}", go_float(*value), go_float(*threshold)))
        }
        ProgressEvent::FaultsOff { .. } => good("FAULTS OFF".to_owned()),
        ProgressEvent::Finished { state: ResultState::Succeeded, .. } => good(event.to_string()),
        ProgressEvent::Finished { .. } => bad(event.to_string()),
        ProgressEvent::Routed { .. } | ProgressEvent::Restored => None,
        ProgressEvent::QueryError { .. }
        | ProgressEvent::Paused(_)
        | ProgressEvent::Resumed
        | ProgressEvent::StopError(_) => Some(event.to_string()),
    }
}
