//! The generators: how each is called, and how its report is read.

use std::{fmt, net::SocketAddr, process::Command, time::Duration};

use serde_json::Value;

use crate::{CONNECTIONS, on_core::on_core, process::finish, released::released};

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// As fast as the answers come.
    Closed,
    /// At this rate per second.
    Open(u32),
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed loop"),
            Self::Open(rate) => write!(f, "open loop at {rate}/s"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generator {
    Ours,
    Wrk,
    Oha,
    Hey,
    Fortio,
    H2load,
}

/// What a generator says of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    pub(crate) requests: u64,
    pub(crate) p99: Option<Duration>,
    pub(crate) p999: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) reported: Reported,
    pub(crate) cpu: Duration,
}

impl Generator {
    pub(crate) const ALL: [Self; 6] = [Self::Ours, Self::Wrk, Self::Oha, Self::Hey, Self::Fortio, Self::H2load];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "glooshot-loadgen",
            Self::Wrk => "wrk",
            Self::Oha => "oha",
            Self::Hey => "hey",
            Self::Fortio => "fortio",
            Self::H2load => "h2load",
        }
    }

    fn program(self) -> String {
        match self {
            Self::Ours => released(env!("CARGO_BIN_EXE_glooshot-loadgen")),
            other => other.name().to_owned(),
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        Command::new("sh")
            .args(["-c", "command -v \"$0\" >/dev/null", &self.program()])
            .status()
            .is_ok_and(|status| status.success())
    }

    /// wrk knows the closed loop only.
    pub(crate) fn can(self, load: Load) -> bool {
        load == Load::Closed || self != Self::Wrk
    }

    fn args(self, target: SocketAddr, load: Load, seconds: u64) -> Vec<String> {
        let url = format!("http://{target}/");
        let (clients, time) = (CONNECTIONS.to_string(), format!("{seconds}s"));
        let each = |rate: u32| (f64::from(rate) / CONNECTIONS as f64).to_string();
        let mut args: Vec<String> = match self {
            Self::Ours => ["-o", "json", "-c", &clients, "-d", &time].map(str::to_owned).into(),
            Self::Wrk => ["-t1", "--latency", "-c", &clients, "-d", &time].map(str::to_owned).into(),
            Self::Oha => ["--no-tui", "--output-format", "json", "-c", &clients, "-z", &time].map(str::to_owned).into(),
            Self::Hey => ["-c", &clients, "-z", &time].map(str::to_owned).into(),
            Self::Fortio => {
                let paced = match load {
                    Load::Closed => "0".to_owned(),
                    Load::Open(rate) => rate.to_string(),
                };
                ["load", "-quiet", "-json", "-", "-uniform", "-c", &clients, "-t", &time, "-qps", &paced]
                    .map(str::to_owned)
                    .into()
            }
            Self::H2load => ["--h1", "-c", &clients, "-D", &seconds.to_string()].map(str::to_owned).into(),
        };
        match (self, load) {
            (Self::Ours, Load::Open(rate)) => args.extend(["-r".to_owned(), rate.to_string()]),
            (Self::Oha, Load::Open(rate)) => {
                args.extend(["-q".to_owned(), rate.to_string(), "--latency-correction".to_owned()]);
            }
            (Self::Hey, Load::Open(rate)) => args.extend(["-q".to_owned(), each(rate)]),
            (Self::H2load, Load::Open(rate)) => args.push(format!("--rps={}", each(rate))),
            _ => {}
        }
        args.push(url);
        args
    }

    /// Runs it on the first core; `None` if its report is not understood.
    pub(crate) fn run(self, target: SocketAddr, load: Load, seconds: u64) -> Option<Run> {
        let finished = finish(on_core(0, &self.program(), &self.args(target, load, seconds)));
        let reported = self.read(&finished.output).filter(|reported| reported.requests > 0)?;
        Some(Run { reported, cpu: finished.cpu })
    }

    fn read(self, output: &str) -> Option<Reported> {
        match self {
            Self::Ours => {
                let json = first_json(output)?;
                let time = |name: &str| json["latencyMicros"][name].as_u64().map(Duration::from_micros);
                Some(Reported { requests: json["responses"].as_u64()?, p99: time("p99"), p999: time("p999") })
            }
            Self::Oha => {
                let json = first_json(output)?;
                let time = |name: &str| seconds_of(&json["latencyPercentiles"][name]);
                let requests = json["statusCodeDistribution"].as_object()?.values().filter_map(Value::as_u64).sum();
                Some(Reported { requests, p99: time("p99"), p999: time("p99.9") })
            }
            Self::Fortio => {
                let json = first_json(output)?;
                let all = json["DurationHistogram"]["Percentiles"].as_array()?;
                let time = |percentile: f64| {
                    let found = all.iter().find(|one| one["Percentile"].as_f64() == Some(percentile))?;
                    seconds_of(&found["Value"])
                };
                let requests = json["RetCodes"].as_object()?.values().filter_map(Value::as_u64).sum();
                Some(Reported { requests, p99: time(99.0), p999: time(99.9) })
            }
            Self::Wrk => {
                let requests = word_before(output, "requests in")?.parse().ok()?;
                Some(Reported { requests, ..Reported::default() })
            }
            Self::Hey => {
                let line = output.lines().find_map(|line| line.trim().strip_prefix("99% in "))?;
                let p99 = line.split(' ').next()?.parse().ok().map(Duration::from_secs_f64);
                let requests = word_before(output, "responses")?.parse().ok()?;
                Some(Reported { requests, p99, p999: None })
            }
            Self::H2load => {
                let requests = word_before(output, "succeeded")?.parse().ok()?;
                Some(Reported { requests, ..Reported::default() })
            }
        }
    }
}

fn seconds_of(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

/// The first JSON object in a text.
fn first_json(output: &str) -> Option<Value> {
    let begin = output.find('{')?;
    serde_json::Deserializer::from_str(output.get(begin..)?).into_iter().next()?.ok()
}

/// The word before the first place where `name` stands.
fn word_before<'a>(output: &'a str, name: &str) -> Option<&'a str> {
    let at = output.find(name)?;
    output.get(..at)?.split_whitespace().next_back()
}
