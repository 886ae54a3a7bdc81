//! How far a request's body has come, which decides for how long its answer is waited for: an upload may take its time as
//! long as it moves, and the upstream's time begins when it has the whole request.

use std::{cell::Cell, future::Future, pin::pin, rc::Rc, time::Duration};

use tokio::time::timeout;

use super::{
    clock::Moment,
    error::{Stop, UpstreamFailure},
    limits::Limits,
    patience::Patience,
    reject::Reject,
};

/// The state of one request's body.
#[derive(Clone, Debug)]
pub(crate) struct Upload(Rc<State>);

#[derive(Debug)]
struct State {
    moved: Cell<Moment>,
    stage: Cell<Stage>,
}

/// Who has to do something for the body to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The upstream, which does not take what is there.
    Upstream,
    /// The client, who has not sent more.
    Client,
    /// Nobody: the upstream has it all.
    Ended,
    /// Nobody: the client's side of it broke off.
    Failed,
}

impl Upload {
    /// A body of which nothing has been sent.
    pub(crate) fn begin() -> Self {
        Self(Rc::new(State { moved: Cell::new(Moment::now()), stage: Cell::new(Stage::Upstream) }))
    }

    /// A part of it was taken.
    pub(crate) fn moved(&self) {
        self.0.moved.set(Moment::now());
        self.0.stage.set(Stage::Upstream);
    }

    /// When it last moved, or somebody else's turn to move it began.
    pub(crate) fn last_moved(&self) -> Moment {
        self.0.moved.get()
    }

    /// All that is there was taken, and the client has not sent more.
    pub(crate) fn waits_for_the_client(&self) {
        // It may be asked more than once.
        if self.0.stage.replace(Stage::Client) != Stage::Client {
            self.0.moved.set(Moment::now());
        }
    }

    /// All of it was taken.
    pub(crate) fn ended(&self) {
        self.0.moved.set(Moment::now());
        self.0.stage.set(Stage::Ended);
    }

    /// The client's side of it broke off.
    pub(crate) fn failed(&self) {
        self.0.stage.set(Stage::Failed);
    }

    /// Whether the client's side of it broke off.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.stage.get() == Stage::Failed
    }

    /// The time that is left at `now`, or who let it pass.
    fn left(&self, limits: &Limits, now: Moment) -> Result<Duration, Stop> {
        let (limit, late) = match self.0.stage.get() {
            Stage::Client => (limits.stalled, Stop::Client(Reject::Body)),
            Stage::Upstream | Stage::Ended | Stage::Failed => {
                (limits.response_head, Stop::Upstream(UpstreamFailure::Timeout))
            }
        };
        let left = limit.saturating_sub(now.since(self.0.moved.get()));
        if left.is_zero() { Err(late) } else { Ok(left) }
    }
}

/// The answer, if its head comes in time; without an upload the upstream has the whole request from the beginning. `patience` is
/// the connection's, where it carries one request at a time.
pub(crate) async fn answer_in_time<T>(
    limits: &Limits,
    upload: Option<&Upload>,
    patience: Option<&Patience>,
    answer: impl Future<Output = T>,
) -> Result<T, Stop> {
    let late = || Stop::Upstream(UpstreamFailure::Timeout);
    let (upload, mut answer) = match (upload, patience) {
        (Some(upload), _) => (upload, pin!(answer)),
        (None, Some(patience)) => return patience.wait(limits.response_head, answer).await.ok_or_else(late),
        (None, None) => return timeout(limits.response_head, answer).await.map_err(|_| late()),
    };
    // Each change of the stage begins a time of its own, so none can end before the shorter of the two has passed.
    let shorter = limits.stalled.min(limits.response_head);
    loop {
        let left = upload.left(limits, Moment::now())?.min(shorter);
        if let Ok(answer) = timeout(left, answer.as_mut()).await {
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(upload: &Upload, seconds: u64) -> Result<Duration, Stop> {
        upload.left(&Limits::default(), upload.0.moved.get().plus(Duration::from_secs(seconds)))
    }

    #[test]
    fn the_upstream_has_its_time_from_the_end_of_the_request() {
        let upload = Upload::begin();
        upload.ended();
        assert_eq!(after(&upload, 5).unwrap(), Duration::from_secs(10));
        assert!(matches!(after(&upload, 15), Err(Stop::Upstream(UpstreamFailure::Timeout))));
    }

    #[test]
    fn a_client_may_upload_slowly_and_is_to_blame_when_nothing_more_comes() {
        let upload = Upload::begin();
        upload.moved();
        upload.waits_for_the_client();
        assert!(after(&upload, 200).is_ok());
        assert!(matches!(after(&upload, 300), Err(Stop::Client(Reject::Body))));
    }

    #[test]
    fn an_upstream_that_takes_no_more_of_the_body_is_to_blame() {
        let upload = Upload::begin();
        upload.moved();
        assert!(matches!(after(&upload, 15), Err(Stop::Upstream(UpstreamFailure::Timeout))));
    }
}
