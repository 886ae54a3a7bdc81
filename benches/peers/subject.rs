//! What is measured: no proxy at all, ours, the peers, and ours with plans of other sizes; and where each of them listens.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// One of the things that are measured in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The service without a proxy.
    Direct,
    Ours,
    Haproxy,
    Nginx,
    Envoy,
    Toxiproxy,
    /// Ours with a plan of one rule and one endpoint, and with larger ones.
    Rules1,
    Rules100,
    Rules1000,
    /// A thousand rules and one endpoint, which shows what of the cost is the rules'.
    OnlyRules1000,
    /// HAProxy with a thousand servers, which shows what of the cost is everybody's.
    Haproxy1000,
    /// What no proxy can do without, to one endpoint and to a thousand: `relay.rs`.
    Relay,
    Relay1000,
    /// What no proxy of HTTP can do without: `least.rs`.
    Least,
    /// The same on tokio: `on_tokio.rs`.
    Tokio,
}

impl Subject {
    pub const ALL: [Self; 15] = [
        Self::Direct,
        Self::Ours,
        Self::Haproxy,
        Self::Nginx,
        Self::Envoy,
        Self::Toxiproxy,
        Self::Rules1,
        Self::Rules100,
        Self::Rules1000,
        Self::OnlyRules1000,
        Self::Haproxy1000,
        Self::Relay,
        Self::Relay1000,
        Self::Least,
        Self::Tokio,
    ];

    /// The word for it in arguments and results.
    pub fn key(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Ours => "ours",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Toxiproxy => "toxiproxy",
            Self::Rules1 => "rules1",
            Self::Rules100 => "rules100",
            Self::Rules1000 => "rules1000",
            Self::OnlyRules1000 => "onlyrules1000",
            Self::Haproxy1000 => "haproxy1000",
            Self::Relay => "relay",
            Self::Relay1000 => "relay1000",
            Self::Least => "least",
            Self::Tokio => "tokio",
        }
    }

    /// The last number of its address on loopback.
    fn host(self) -> u8 {
        match self {
            Self::Direct => 1,
            Self::Haproxy => 2,
            Self::Nginx => 3,
            Self::Envoy => 4,
            Self::Toxiproxy => 5,
            Self::Ours => 6,
            Self::Rules1 => 7,
            Self::Rules100 => 8,
            Self::Rules1000 => 9,
            Self::OnlyRules1000 => 10,
            Self::Haproxy1000 => 11,
            Self::Relay => 12,
            Self::Relay1000 => 13,
            Self::Least => 14,
            Self::Tokio => 15,
        }
    }

    /// Where it listens for this port of a case. The files in `configs` have the same addresses.
    pub fn at(self, port: u16) -> SocketAddr {
        ([127, 0, 77, self.host()], port).into()
    }

    /// Rules and endpoints in the plan, where it is one of those that differ in nothing else.
    pub fn rules_and_endpoints(self) -> Option<(usize, usize)> {
        match self {
            Self::Rules1 => Some((1, 1)),
            Self::Rules100 => Some((100, 100)),
            Self::Rules1000 => Some((1_000, 1_000)),
            Self::OnlyRules1000 => Some((1_000, 1)),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::Ours => "Glooshot",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
            Self::Toxiproxy => "toxiproxy",
            Self::Rules1 => "1 rule",
            Self::Rules100 => "100 rules",
            Self::Rules1000 => "1,000 rules",
            Self::OnlyRules1000 => "1,000 rules, 1 endpoint",
            Self::Haproxy1000 => "HAProxy, 1,000 servers",
            Self::Relay => "no work",
            Self::Relay1000 => "no work, 1,000 endpoints",
            Self::Least => "heads only",
            Self::Tokio => "heads only, on tokio",
        })
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::key).join(", ");
        Self::ALL.into_iter().find(|one| one.key() == text).ok_or_else(|| format!("{text:?} is none of {known}"))
    }
}
