//! Sends a case and judges the outcome on both byte logs: what came back to the client, what reached the upstream.
//!
//! Each case ends with a sentinel: one good request. Its answer shows that the proxy still works and that nothing of the
//! case is left in a connection; its arrival upstream shows that whatever the proxy wanted to send before it has come.

use std::{net::SocketAddr, time::Duration};

use super::{
    client::{Client, Ending},
    corpus::{Case, Expect},
    get,
    glooshot::Glooshot,
    upstream::{Account, Connection, Mark, Upstream, account},
    wire::{Message, find, readable},
};

/// The target of the sentinel.
const SENTINEL: &str = "/sentinel";

/// A connection that must end has ended within this time.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

/// What the cases are sent through: the proxy, or something that the harness itself is tested against.
pub trait Middle {
    /// Where the cases are sent.
    fn address(&self) -> SocketAddr;
    /// How many requests were refused at the gate; none when it is not counted.
    fn rejected(&self) -> Option<f64>;
    /// Whether requests must carry the proxy's Via, which shows that they passed the gate.
    fn is_the_proxy(&self) -> bool;
}

impl Middle for Glooshot {
    fn address(&self) -> SocketAddr {
        Self::address(self)
    }

    fn rejected(&self) -> Option<f64> {
        Some(self.metrics().rejected())
    }

    fn is_the_proxy(&self) -> bool {
        true
    }
}

/// Sends `case` through `middle` and fails the test unless the outcome is the expected one.
#[track_caller]
pub fn judge(middle: &dyn Middle, upstream: &Upstream, case: &Case) {
    if let Err(what) = try_judge(middle, upstream, case) {
        panic!("{}: {what}\nsent: {}", case.name, readable(&case.bytes()));
    }
}

/// Sends `case` through `middle`; the upstream must be one that names the target.
pub fn try_judge(middle: &dyn Middle, upstream: &Upstream, case: &Case) -> Result<(), String> {
    let mut trial = Trial { middle, upstream, case, mark: upstream.mark(), rejected_before: middle.rejected() };
    let mut client = Client::connect(middle.address());
    client.send_segments(case.segments.iter().map(Vec::as_slice));
    match &case.expect {
        Expect::One => trial.requests(client, 1),
        Expect::Requests(count) => trial.requests(client, *count),
        Expect::Reject(statuses) => trial.rejected(client, statuses, 0),
        Expect::AnswerThenReject(statuses) => trial.rejected(client, statuses, 1),
        Expect::Abort => trial.aborted(client),
        Expect::RejectOrOne(statuses) => match trial.first_answer_is_good(client)? {
            (client, true) => trial.requests(client, 1),
            (client, false) => trial.rejected(client, statuses, 0),
        },
    }
}

struct Trial<'a> {
    middle: &'a dyn Middle,
    upstream: &'a Upstream,
    case: &'a Case,
    mark: Mark,
    rejected_before: Option<f64>,
}

impl Trial<'_> {
    /// `count` requests are answered; then the connection serves the sentinel, or ends if the case says so.
    fn requests(&mut self, mut client: Client, count: usize) -> Result<(), String> {
        let mut answers = Vec::new();
        for _ in 0..count {
            let answer = client
                .try_read_answer_to(&self.case.method())
                .map_err(|none| format!("no answer number {}: {none:?}", answers.len()))?;
            ensure(answer.status() == 200, || format!("answered {:?}, not 200", answer.start_line))?;
            answers.push(answer);
        }
        if self.case.closes {
            let (more, ending) = client.read_to_end_within(ENDS_WITHIN);
            ensure(more.is_empty(), || format!("more came behind the answer: {}", readable(&more)))?;
            ensure(ending != Ending::StillOpen, || "the connection stayed open".to_owned())?;
            self.sentinel(Client::connect(self.middle.address()))?;
        } else {
            self.sentinel(client)?;
        }
        let (requests, log) = self.whole_requests()?;
        ensure(requests.len() == count, || format!("the upstream got {requests:#?}"))?;
        for (request, answer) in requests.iter().zip(&answers) {
            ensure(answer.text() == request.target() || self.case.method() == "HEAD", || {
                format!("the answer to {:?} is {:?}", request.start_line, answer.text())
            })?;
        }
        self.check_request(&requests[0], &log)
    }

    /// After `good` answered requests there is one answer with one of `statuses`, and the end.
    fn rejected(&mut self, mut client: Client, statuses: &[u16], good: usize) -> Result<(), String> {
        for _ in 0..good {
            let answer =
                client.try_read_answer_to("GET").map_err(|none| format!("no answer to the good one: {none:?}"))?;
            ensure(answer.status() == 200, || format!("the good one was answered {:?}", answer.start_line))?;
        }
        let refusal = client.try_read_answer_to("GET").map_err(|none| format!("no answer: {none:?}"))?;
        ensure(statuses.contains(&refusal.status()), || format!("answered {:?}", refusal.start_line))?;
        let (more, ending) = client.read_to_end_within(ENDS_WITHIN);
        ensure(more.is_empty(), || format!("a second answer: {}", readable(&more)))?;
        ensure(ending != Ending::StillOpen, || "the connection stayed open".to_owned())?;
        self.sentinel(Client::connect(self.middle.address()))?;
        let (requests, _) = self.whole_requests()?;
        ensure(requests.len() == good, || format!("it reached the upstream: {requests:#?}"))?;
        if let (Some(before), Some(after)) = (self.rejected_before, self.middle.rejected()) {
            ensure(after - before == 1.0, || format!("the counter of refusals went from {before} to {after}"))?;
        }
        Ok(())
    }

    /// The connection ends without a good answer, and the upstream never sees the end of the request.
    fn aborted(&mut self, mut client: Client) -> Result<(), String> {
        let (bytes, ending) = client.read_to_end_within(ENDS_WITHIN);
        ensure(ending != Ending::StillOpen, || "the connection stayed open".to_owned())?;
        ensure(find(&bytes, b"HTTP/1.1 2").is_none(), || format!("it was answered: {}", readable(&bytes)))?;
        self.sentinel(Client::connect(self.middle.address()))?;
        let log = self.upstream.since(&self.mark);
        let Account { requests, rests } = account(&log);
        ensure(requests.len() == 1, || format!("the upstream got whole requests: {requests:#?}"))?;
        ensure(rests.len() <= 1, || format!("the upstream got {rests:#?}"))?;
        if !rests.is_empty() {
            self.upstream.wait_until("the end of the connection with the unfinished request", |log| {
                log.iter().filter(|connection| is_unfinished(connection)).all(|connection| connection.ended)
            });
        }
        Ok(())
    }

    /// Whether the first answer is a 2xx; the answer is still there to be read.
    fn first_answer_is_good(&self, mut client: Client) -> Result<(Client, bool), String> {
        const GOOD: &[u8] = b"HTTP/1.1 2";
        match client.peek_at_least(GOOD.len()).map(|start| start.starts_with(GOOD)) {
            Ok(good) => Ok((client, good)),
            Err(ending) => Err(format!("no answer: {ending:?}")),
        }
    }

    /// One good request through `client`, and its answer.
    fn sentinel(&self, mut client: Client) -> Result<(), String> {
        client.send(&get(SENTINEL));
        let answer =
            client.try_read_answer_to("GET").map_err(|none| format!("the sentinel got no answer: {none:?}"))?;
        ensure(answer.status() == 200 && answer.text() == SENTINEL, || format!("the sentinel got {answer:?}"))
    }

    /// The requests that have come since the case began, without the sentinel; nothing else may have come.
    fn whole_requests(&self) -> Result<(Vec<Message>, Vec<Connection>), String> {
        let log = self.upstream.since(&self.mark);
        let Account { mut requests, rests } = account(&log);
        ensure(rests.is_empty(), || format!("the upstream got more than whole requests: {rests:?}"))?;
        let before = requests.len();
        requests.retain(|request| request.target() != SENTINEL);
        ensure(before - requests.len() == 1, || "the sentinel did not come exactly once".to_owned())?;
        Ok((requests, log))
    }

    /// What the case says about the upstream's request.
    fn check_request(&self, request: &Message, log: &[Connection]) -> Result<(), String> {
        let case = self.case;
        if self.middle.is_the_proxy() {
            ensure(request.has("via"), || format!("it did not pass the gate: {request:#?}"))?;
        }
        ensure(!request.chunk_extensions, || "a chunk extension was forwarded".to_owned())?;
        if let Some(framing) = case.framing {
            ensure(request.framing == framing, || format!("framed by {:?}, not {framing:?}", request.framing))?;
        }
        if let Some(body) = &case.body {
            ensure(request.body == *body, || format!("the body is {}", readable(&request.body)))?;
        }
        if let Some(target) = &case.target {
            ensure(request.target() == target, || format!("the target is {:?}", request.target()))?;
        }
        for (name, value) in &case.has {
            ensure(request.one(name) == Some(value), || format!("{name} is {:?}, not {value:?}", request.all(name)))?;
        }
        for name in &case.lacks {
            ensure(!request.has(name), || format!("{name} is there: {:?}", request.all(name)))?;
        }
        for bytes in &case.never {
            let bytes = bytes.to_ascii_lowercase();
            for connection in log {
                let come = connection.bytes.to_ascii_lowercase();
                ensure(find(&come, bytes.as_bytes()).is_none(), || {
                    format!("{bytes:?} came: {}", readable(&connection.bytes))
                })?;
            }
        }
        Ok(())
    }
}

/// Framing by Content-Length or chunks whose end has not come.
fn is_unfinished(connection: &Connection) -> bool {
    !account(std::slice::from_ref(connection)).rests.is_empty()
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
