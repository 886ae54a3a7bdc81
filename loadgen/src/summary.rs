//! The result of a run, or of several together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::latencies::Latencies;
use crate::series::Series;

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What was asked for.
    pub setup: Setup,
    /// From the start of the run to the end of its last request.
    pub elapsed: Duration,
    /// Requests started. `started = responses + errors.total() + cancelled`.
    pub started: u64,
    /// Complete responses, of any status.
    pub responses: u64,
    /// Responses by status code; at most 900 entries.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that ended without a complete response.
    pub errors: ErrorCounts,
    /// Requests given up because the run was cancelled.
    pub cancelled: u64,
    /// Requests of the open loop that were due and never sent, because every connection was busy until the
    /// run ended. More than a few mean that the server, or the number of connections, cannot hold the rate.
    pub unsent: u64,
    /// Bytes of response bodies.
    pub body_bytes: u64,
    /// Bytes sent, heads included, inside of TLS where there is TLS.
    pub sent_bytes: u64,
    /// Bytes received, counted like those sent.
    pub received_bytes: u64,
    /// Latency as a user would feel it: from when a request was due to the last byte of its response. It
    /// includes timed out and unsent requests with the time that they had waited.
    pub latency: Latencies,
    /// From when a request was really sent to the last byte of its response; the same as `latency` for the
    /// closed loop. A difference between the two is time spent waiting for a free connection: it is what a
    /// generator hides that starts its clock when it sends.
    pub service_time: Latencies,
    /// How late requests were sent for which a connection was free when they were due: what this generator adds
    /// to `latency`. Empty for the closed loop.
    pub schedule_error: Latencies,
    /// How long it took to open connections, those with TLS until the end of its handshake.
    pub connect_time: Latencies,
    /// What happened by target, in the order of [`Config::requests`](crate::Config::requests).
    pub targets: Vec<TargetSummary>,
    /// What happened when.
    pub series: Series,
}

/// What a run was asked to do, in words, for its reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The different paces that were asked for; one unless results with different ones were merged.
    pub paces: Vec<String>,
    /// The different protocols.
    pub protocols: Vec<String>,
    /// Connections, of all merged runs together.
    pub connections: u64,
    /// Threads, of all merged runs together.
    pub threads: u64,
    /// Runs that were merged.
    pub runs: u64,
}

/// What happened to the requests of one target.
#[derive(Clone, Debug)]
pub struct TargetSummary {
    /// Method and address.
    pub name: String,
    /// Requests started.
    pub started: u64,
    /// Complete responses, of any status.
    pub responses: u64,
    /// Requests without a complete response, and responses with a status of 400 or more.
    pub failed: u64,
    /// As [`Summary::latency`], without unsent requests.
    pub latency: Latencies,
}

impl Summary {
    /// Complete responses per second.
    #[must_use]
    pub fn responses_per_second(&self) -> f64 {
        self.per_second(self.responses)
    }

    /// A count divided by the time of the run.
    #[must_use]
    pub fn per_second(&self, count: u64) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    /// Responses whose status starts with `digit`: `status_class(5)` is the number of 5xx.
    #[must_use]
    pub fn status_class(&self, digit: u16) -> u64 {
        self.statuses.iter().filter(|(status, _)| **status / 100 == digit).map(|(_, count)| count).sum()
    }

    /// Requests without a complete response, and responses with a status of 400 or more.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.total() + self.statuses.range(400..).map(|(_, count)| count).sum::<u64>()
    }

    /// Whether no request at all was answered with a status below 400.
    #[must_use]
    pub fn all_failed(&self) -> bool {
        self.statuses.range(..400).next().is_none()
    }

    /// Adds the result of another run that went on at the same time, on this machine or on another. The sum is
    /// exact, latencies included.
    pub fn merge(&mut self, other: &Self) {
        self.add(other);
        let Setup { paces, protocols, connections, threads, runs } = &other.setup;
        add_new(&mut self.setup.paces, paces);
        add_new(&mut self.setup.protocols, protocols);
        self.setup.connections += connections;
        self.setup.threads += threads;
        self.setup.runs += runs;
    }

    /// Adds what another core of the same run did.
    pub(crate) fn add(&mut self, other: &Self) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.started += other.started;
        self.responses += other.responses;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for class in ErrorClass::ALL {
            self.errors.add_many(class, other.errors.get(class));
        }
        self.cancelled += other.cancelled;
        self.unsent += other.unsent;
        self.body_bytes += other.body_bytes;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.latency.merge(&other.latency);
        self.service_time.merge(&other.service_time);
        self.schedule_error.merge(&other.schedule_error);
        self.connect_time.merge(&other.connect_time);
        for target in &other.targets {
            match self.targets.iter_mut().find(|known| known.name == target.name) {
                Some(known) => known.add(target),
                None => self.targets.push(target.clone()),
            }
        }
        self.series.merge(&other.series);
    }
}

impl TargetSummary {
    fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.responses += other.responses;
        self.failed += other.failed;
        self.latency.merge(&other.latency);
    }
}

fn add_new(known: &mut Vec<String>, others: &[String]) {
    for other in others {
        if !known.contains(other) {
            known.push(other.clone());
        }
    }
}

/// Why a request ended without a complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// No connection could be opened.
    Connect,
    /// TLS could not be begun: the certificate is not trusted, or no version of HTTP was agreed on.
    Tls,
    /// The request's time was up.
    Timeout,
    /// The connection was reset or closed before the response head was complete.
    Io,
    /// What came back is not the protocol that was asked for.
    Protocol,
    /// The response head came, its body broke off.
    Body,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 6] = [Self::Connect, Self::Tls, Self::Timeout, Self::Io, Self::Protocol, Self::Body];

    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Io => "io",
            Self::Protocol => "protocol",
            Self::Body => "body",
        }
    }
}

/// Errors by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    /// [`ErrorClass::Connect`]
    pub connect: u64,
    /// [`ErrorClass::Tls`]
    pub tls: u64,
    /// [`ErrorClass::Timeout`]
    pub timeout: u64,
    /// [`ErrorClass::Io`]
    pub io: u64,
    /// [`ErrorClass::Protocol`]
    pub protocol: u64,
    /// [`ErrorClass::Body`]
    pub body: u64,
}

impl ErrorCounts {
    /// Errors of one class.
    #[must_use]
    pub fn get(&self, class: ErrorClass) -> u64 {
        match class {
            ErrorClass::Connect => self.connect,
            ErrorClass::Tls => self.tls,
            ErrorClass::Timeout => self.timeout,
            ErrorClass::Io => self.io,
            ErrorClass::Protocol => self.protocol,
            ErrorClass::Body => self.body,
        }
    }

    /// All errors.
    #[must_use]
    pub fn total(&self) -> u64 {
        ErrorClass::ALL.into_iter().map(|class| self.get(class)).sum()
    }

    pub(crate) fn add(&mut self, class: ErrorClass) {
        self.add_many(class, 1);
    }

    pub(crate) fn add_many(&mut self, class: ErrorClass, count: u64) {
        let field = match class {
            ErrorClass::Connect => &mut self.connect,
            ErrorClass::Tls => &mut self.tls,
            ErrorClass::Timeout => &mut self.timeout,
            ErrorClass::Io => &mut self.io,
            ErrorClass::Protocol => &mut self.protocol,
            ErrorClass::Body => &mut self.body,
        };
        *field += count;
    }
}
