//! The cases: which load is sent to which port, who takes part, and what the answers must be.

use std::time::Duration;

use crate::subject::Subject;

/// The ports of all subjects; the files in `configs` say what each does.
pub mod port {
    pub const PLAIN: u16 = 8001;
    pub const ABORT_10: u16 = 8002;
    pub const ABORT_100: u16 = 8003;
    pub const DELAY: u16 = 8004;
    pub const H2: u16 = 8005;
    pub const TLS: u16 = 8006;
    /// Statistics, or the port that toxiproxy is told its toxics on.
    pub const ADMIN: u16 = 8090;
}

/// The delay of the case that has one.
pub const DELAY: Duration = Duration::from_millis(10);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// As fast as the answers come.
    Closed,
    /// At this rate per second, at regular distances.
    Rate(f64),
    /// At half of what the slower of our proxy and HAProxy takes at the most, which is measured before.
    HalfOfTheSlower,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// With prior knowledge, this many streams on each connection. Every proxy speaks HTTP/1.1 to the service.
    Http2 {
        streams: usize,
    },
    /// HTTP/1.1 in TLS.
    Tls,
}

/// One row of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub title: &'static str,
    pub subjects: &'static [Subject],
    pub port: u16,
    pub path: &'static str,
    pub protocol: Protocol,
    pub load: Load,
    pub connections: usize,
    /// The share of answers with status 503 instead of 200.
    pub aborted: f64,
    /// Each measurement has a process of its own, so that its memory is that of this load.
    pub fresh: bool,
    /// How many rounds there are unless another number is asked for: more where a bar is close to what is measured, or many
    /// rounds are void.
    pub rounds: usize,
}

use Subject::{
    Direct, Envoy, Haproxy, Haproxy1000, Least, Nginx, OnlyRules1000, Ours, Relay, Relay1000, Rules1, Rules100,
    Rules1000, Tokio, Toxiproxy,
};

/// The cases in which the floor is measured, too.
const EVERYBODY_AND_THE_FLOOR: &[Subject] = &[Direct, Ours, Haproxy, Nginx, Envoy, Toxiproxy, Tokio, Least, Relay];
const HTTP_AND_THE_FLOOR: &[Subject] = &[Direct, Ours, Haproxy, Nginx, Envoy, Tokio, Least, Relay];
const EVERYBODY: &[Subject] = &[Direct, Ours, Haproxy, Nginx, Envoy, Toxiproxy];
/// toxiproxy does not know HTTP; it would pass TLS and HTTP/2 on unread, which is other work.
const HTTP: &[Subject] = &[Direct, Ours, Haproxy, Nginx, Envoy];

const FORWARD_64: Case = Case {
    name: "forward-64",
    title: "forwarding, 64 connections",
    subjects: EVERYBODY,
    port: port::PLAIN,
    path: "/",
    protocol: Protocol::Http1,
    load: Load::Closed,
    connections: 64,
    aborted: 0.0,
    fresh: false,
    rounds: 10,
};

/// All of them, in the order in which they run.
pub const CASES: &[Case] = &[
    Case { subjects: EVERYBODY_AND_THE_FLOOR, rounds: 20, ..FORWARD_64 },
    Case { name: "forward-1", title: "forwarding, 1 connection", connections: 1, ..FORWARD_64 },
    Case { name: "forward-512", title: "forwarding, 512 connections", connections: 512, ..FORWARD_64 },
    Case {
        name: "abort-10",
        title: "10 % aborted, 64 connections",
        subjects: HTTP,
        port: port::ABORT_10,
        aborted: 0.1,
        ..FORWARD_64
    },
    Case {
        name: "abort-100",
        title: "100 % aborted, 64 connections",
        subjects: HTTP_AND_THE_FLOOR,
        port: port::ABORT_100,
        aborted: 1.0,
        ..FORWARD_64
    },
    Case {
        name: "half-load",
        title: "forwarding at half load, 64 connections",
        // Envoy does not take that rate, so that its queue would only grow.
        subjects: &[Direct, Ours, Haproxy, Nginx, Toxiproxy],
        load: Load::HalfOfTheSlower,
        ..FORWARD_64
    },
    Case {
        name: "delay-10ms",
        title: "10 ms delay at 5,000 requests/s",
        // nginx cannot delay.
        subjects: &[Direct, Ours, Haproxy, Envoy, Toxiproxy],
        port: port::DELAY,
        load: Load::Rate(5_000.0),
        // Fifty are under way on average; nobody waits for a free connection.
        connections: 256,
        ..FORWARD_64
    },
    Case {
        name: "h2",
        title: "HTTP/2, 4 connections of 16 streams",
        subjects: HTTP,
        port: port::H2,
        protocol: Protocol::Http2 { streams: 16 },
        connections: 4,
        ..FORWARD_64
    },
    Case {
        name: "tls",
        title: "TLS towards clients, 64 connections",
        subjects: HTTP,
        port: port::TLS,
        protocol: Protocol::Tls,
        ..FORWARD_64
    },
    Case { name: "body-1k", title: "answers of 1 KiB, 64 connections", path: "/1k", ..FORWARD_64 },
    Case { name: "body-1m", title: "answers of 1 MiB, 16 connections", path: "/1m", connections: 16, ..FORWARD_64 },
    Case {
        name: "rules",
        title: "1, 100 and 1,000 rules and endpoints in one plan, 64 connections",
        subjects: &[Rules1, Rules100, Rules1000, OnlyRules1000, Haproxy, Haproxy1000, Relay, Relay1000],
        // Its bar is a twentieth above 1, and the ratio of two measurements of a round is mostly off by a tenth.
        rounds: 30,
        ..FORWARD_64
    },
    Case {
        name: "memory",
        title: "memory of a new process at 512 connections",
        subjects: &[Ours, Haproxy, Nginx, Envoy, Toxiproxy],
        connections: 512,
        fresh: true,
        ..FORWARD_64
    },
];

impl Case {
    /// The case of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }

    /// The port of a subject. The service itself delays and aborts nothing.
    pub fn port_of(&self, subject: Subject) -> u16 {
        match (subject, self.port) {
            (Direct, port::ABORT_10 | port::ABORT_100 | port::DELAY) => port::PLAIN,
            (_, port) => port,
        }
    }

    /// The share of 503 that a subject must answer.
    pub fn aborted_by(&self, subject: Subject) -> f64 {
        if subject == Direct { 0.0 } else { self.aborted }
    }
}
