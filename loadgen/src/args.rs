//! The command line, and the [`Config`] that it asks for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Parser, Subcommand};
use glooshot_loadgen::units::parse_duration;
use glooshot_loadgen::{Arrivals, Assertion, Config, Limit, Pace, Profile, Protocol, RequestSpec, Trust};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};

use crate::output::OutputArgs;

/// A load generator for HTTP that tells the truth about stalls.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, args_conflicts_with_subcommands = true, after_long_help = GUIDE)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make requests and report on them; this is meant where no command is given
    Run(Box<RunArgs>),
    /// Put together the results of runs that went on at the same time
    Merge(MergeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Address to request, for example http://127.0.0.1:9080/productpage
    url: Option<Uri>,

    /// Several addresses instead, each drawn by its weight: 3=http://h/read and '1=POST http://h/write'
    #[arg(long = "target", value_name = "WEIGHT=[METHOD ]URL", conflicts_with = "url", help_heading = "Request")]
    targets: Vec<TargetArg>,

    /// Request method; without it POST if there is a body, and GET otherwise
    #[arg(short = 'X', short_alias = 'm', long, value_name = "METHOD", help_heading = "Request")]
    method: Option<Method>,

    /// Request header; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header, help_heading = "Request")]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// Request body. With --target it goes to those that name a method other than GET and HEAD
    #[arg(long, value_name = "TEXT", help_heading = "Request")]
    body: Option<String>,

    /// File with the request body
    #[arg(long, value_name = "FILE", conflicts_with = "body", help_heading = "Request")]
    body_file: Option<PathBuf>,

    /// Time for one request, from the connect to the end of its response
    #[arg(short = 't', long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, help_heading = "Request")]
    timeout: Duration,

    /// Requests per second over all connections, at regular distances, or at random ones as from many users
    /// (poisson:5000). Without it: as fast as the server answers
    #[arg(short = 'r', short_alias = 'q', long, value_name = "[poisson:]RATE", help_heading = "Load")]
    rate: Option<RateArg>,

    /// A rate that changes: '100..5000 for 30s, 5000 for 1m', '1000..5000 in 5 steps for 5m'
    #[arg(long, value_name = "[poisson:]PARTS", conflicts_with = "rate", help_heading = "Load")]
    profile: Option<ProfileArg>,

    /// Stop after this time, such as 30s, 1m30s, 500ms; 10s if there is neither --count nor --profile
    #[arg(short = 'd', short_alias = 'z', long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Load")]
    duration: Option<Duration>,

    /// Stop after this many requests
    #[arg(short = 'n', long, value_name = "COUNT", help_heading = "Load")]
    count: Option<u64>,

    /// Number of connections, kept alive: the most requests that are in flight over HTTP/1.1
    #[arg(short = 'c', long, value_name = "N", default_value_t = 50, help_heading = "Connections")]
    connections: usize,

    /// Threads, each with its part of the connections; by default one for each core that may be used
    #[arg(long, value_name = "N", help_heading = "Connections")]
    threads: Option<usize>,

    /// HTTP/2: with prior knowledge to http:// addresses, by ALPN to https:// ones
    #[arg(long, help_heading = "Connections")]
    http2: bool,

    /// Requests in flight on each connection over HTTP/2
    #[arg(long, value_name = "N", default_value_t = 10, requires = "http2", help_heading = "Connections")]
    streams: usize,

    /// Accept any certificate of an https:// server
    #[arg(long, conflicts_with = "ca", help_heading = "Connections")]
    insecure: bool,

    /// PEM file with the certificate authorities to trust, instead of those of the web
    #[arg(long, value_name = "FILE", help_heading = "Connections")]
    ca: Option<PathBuf>,

    /// Source address of the connections
    #[arg(long, value_name = "IP", help_heading = "Connections")]
    local_address: Option<IpAddr>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Results in JSON, also several in one file, also between the lines of a log; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const GUIDE: &str = "\
Two questions, two kinds of load:

How much can it take? Without --rate each connection sends its next request when the last one is answered (a
closed loop). Read the throughput; the latencies look better than what users feel, because the callers wait
politely while the server stalls.

How does it feel at 200 requests per second? With --rate or --profile requests are due at times of their own (an
open loop), and each latency counts from when the request was due: a stall is felt by every request that was due
meanwhile. The line 'from sending' shows what one would have seen without that. If requests were never sent, give
more connections, or accept that the server cannot hold the rate. 'sent late by' is the part that this program
adds itself.

Examples:
  The highest throughput over 64 connections, for half a minute:
    glooshot-loadgen http://127.0.0.1:9080/productpage -c 64 -d 30s
  Latency at a constant rate; exit code 1 unless it is good enough:
    glooshot-loadgen http://127.0.0.1:9080/ -r 200 -d 1m --assert 'p99<50ms,errors<1%'
  Random arrivals, and a page with plots:
    glooshot-loadgen http://127.0.0.1:9080/ -r poisson:200 -o html=report.html
  Warm up, then five steps of two minutes each, then stop:
    glooshot-loadgen http://127.0.0.1:9080/ --profile '10..500 for 30s, 500..2500 in 5 steps for 10m'
  Nine reads for each write:
    glooshot-loadgen --target 9=http://h/items --target '1=POST http://h/items' --body-file item.json
  HTTP/2 with 20 requests in flight on each of 4 connections, to a server with a certificate of its own:
    glooshot-loadgen https://127.0.0.1:8443/ --http2 -c 4 --streams 20 --ca ca.pem
  From several machines at the same time, each with -o json, and then:
    glooshot-loadgen merge one.json two.json -o html=report.html

Assertions compare with <, <=, >, >= or ==:
  p50, p99, p99.9 ..., mean, min, max     latency, such as p99<50ms
  service.p99, schedule.p99, connect.p99  from sending, sent late by, connecting
  errors, unanswered, unsent, responses, 2xx ... 5xx, 503 ...
                                          share of all requests (1%) or number (5); errors are requests
                                          without a complete response and with a status of 400 or more
  rate                                    responses per second, such as rate>=990

Exit status: 0 measured, and all assertions hold; 1 an assertion failed; 2 wrong arguments or files; 3 nothing
could be measured, since no request at all was answered.";

impl RunArgs {
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::new(Uri::default(), self.pace()?);
        config.requests = self.requests()?;
        let unlimited = self.duration.is_none() && self.count.is_none() && self.profile.is_none();
        let duration = if unlimited { Some(Duration::from_secs(10)) } else { self.duration };
        config.limit = Limit { duration, count: self.count };
        config.timeout = self.timeout;
        config.local_address = self.local_address;
        config.threads = self.threads;
        config.trust = self.trust()?;
        if self.http2 {
            config.protocol = Protocol::Http2 { streams: self.streams };
        }
        config.check()?;
        Ok(config)
    }

    fn pace(&self) -> anyhow::Result<Pace> {
        let connections = self.connections;
        Ok(match (&self.rate, &self.profile) {
            (Some(RateArg { rate, arrivals: Arrivals::Regular }), _) => {
                Pace::Constant { rate_per_second: *rate, connections }
            }
            (Some(RateArg { rate, arrivals }), _) => {
                Pace::Open { profile: Profile::constant(*rate), arrivals: *arrivals, connections }
            }
            (None, Some(ProfileArg { profile, arrivals })) => {
                ensure!(
                    profile.duration().is_none_or(|length| self.duration.is_none_or(|limit| limit <= length)),
                    "--duration is longer than the profile, which ends the run; make its last part longer"
                );
                Pace::Open { profile: profile.clone(), arrivals: *arrivals, connections }
            }
            (None, None) => Pace::Closed { connections },
        })
    }

    fn requests(&self) -> anyhow::Result<Vec<RequestSpec>> {
        let body = match (&self.body, &self.body_file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(file)) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
            (None, None) => Vec::new(),
        };
        let headers: HeaderMap = self.headers.iter().cloned().collect();
        let body = bytes::Bytes::from(body);
        let request = |weight: f64, method: &Method, target: &Uri, body: &bytes::Bytes| RequestSpec {
            weight,
            target: target.clone(),
            method: method.clone(),
            headers: headers.clone(),
            body: body.clone(),
        };
        match &self.url {
            Some(url) => {
                let has_body = self.body.is_some() || self.body_file.is_some();
                let usual = if has_body { Method::POST } else { Method::GET };
                Ok(vec![request(1.0, self.method.as_ref().unwrap_or(&usual), url, &body)])
            }
            None if self.targets.is_empty() => {
                bail!(
                    "there is nothing to request: give a URL such as http://127.0.0.1:8080/path, or --target; see --help"
                )
            }
            None => {
                let one = |target: &TargetArg| {
                    let method = target.method.as_ref().or(self.method.as_ref()).unwrap_or(&Method::GET);
                    let bodiless = [Method::GET, Method::HEAD].contains(method);
                    let body = if bodiless { bytes::Bytes::new() } else { body.clone() };
                    request(target.weight, method, &target.url, &body)
                };
                Ok(self.targets.iter().map(one).collect())
            }
        }
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        match &self.ca {
            Some(file) => {
                let pem = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
                Ok(Trust::Pem(pem.into()))
            }
            None if self.insecure => Ok(Trust::Anyone),
            None => Ok(Trust::Web),
        }
    }
}

/// What `--rate` says.
#[derive(Clone, Debug)]
struct RateArg {
    rate: f64,
    arrivals: Arrivals,
}

/// What `--profile` says.
#[derive(Clone, Debug)]
struct ProfileArg {
    profile: Profile,
    arrivals: Arrivals,
}

/// What one `--target` says.
#[derive(Clone, Debug)]
struct TargetArg {
    weight: f64,
    method: Option<Method>,
    url: Uri,
}

fn arrivals(text: &str) -> (Arrivals, &str) {
    match text.strip_prefix("poisson:") {
        Some(rest) => (Arrivals::Poisson, rest),
        None => (Arrivals::Regular, text),
    }
}

impl FromStr for RateArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (arrivals, rate) = arrivals(text);
        let rate = rate.trim().trim_end_matches("/s").parse();
        let rate = rate.ok().context("write requests per second, such as 200 or poisson:200")?;
        Ok(Self { rate, arrivals })
    }
}

impl FromStr for ProfileArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (arrivals, profile) = arrivals(text);
        Ok(Self { profile: profile.parse()?, arrivals })
    }
}

impl FromStr for TargetArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        const EXAMPLE: &str = "write it like 3=http://h/read or '1=POST http://h/write'";
        let (weight, rest) = text.split_once('=').context(EXAMPLE)?;
        let weight = weight.trim().parse().ok().context(EXAMPLE)?;
        let (method, url) = match rest.trim().split_once(' ') {
            Some((method, url)) => (Some(method.parse().context(EXAMPLE)?), url.trim()),
            None => (None, rest.trim()),
        };
        Ok(Self { weight, method, url: url.parse().with_context(|| format!("{url:?} is no address; {EXAMPLE}"))? })
    }
}

fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("write it as 'name: value'")?;
    let name = name.trim().parse().with_context(|| format!("{:?} is no header name", name.trim()))?;
    let value = HeaderValue::from_str(value.trim()).context("the value has characters that no header may have")?;
    Ok((name, value))
}

/// Reads assertions for clap, which splits them at commas.
pub(crate) fn assertion(text: &str) -> Result<Assertion, String> {
    text.parse().map_err(|error: glooshot_loadgen::assertion::AssertionError| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(args: &[&str]) -> anyhow::Result<Config> {
        Cli::try_parse_from([&["glooshot-loadgen"], args].concat())?.run.config()
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_limits_a_run_takes_ten_seconds() {
        let limit = |args| config(args).unwrap().limit;
        assert_eq!(limit(&["http://h/"]), Limit { duration: Some(Duration::from_secs(10)), count: None });
        assert_eq!(limit(&["http://h/", "-n", "5"]), Limit { duration: None, count: Some(5) });
        assert_eq!(limit(&["http://h/", "--profile", "5 for 3s"]), Limit::default());
    }

    #[test]
    fn a_rate_chooses_the_open_loop() {
        assert_eq!(config(&["http://h/", "-c", "3"]).unwrap().pace, Pace::Closed { connections: 3 });
        let constant = Pace::Constant { rate_per_second: 2.5, connections: 50 };
        for flag in ["-r", "-q", "--rate"] {
            assert_eq!(config(&["http://h/", flag, "2.5/s"]).unwrap().pace, constant);
        }
        let poisson = config(&["http://h/", "-r", "poisson:7"]).unwrap().pace;
        assert_eq!(poisson.open_loop(), Some((Profile::constant(7.0), Arrivals::Poisson)));
        let profile = config(&["http://h/", "--profile", "poisson: 1..5 for 3s"]).unwrap().pace;
        assert_eq!(profile.open_loop(), Some((" 1..5 for 3s".parse().unwrap(), Arrivals::Poisson)));
    }

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let config = config(&["http://h/", "-H", "x-time: 10:30", "-H", "Accept:text/html"]).unwrap();
        assert_eq!(config.requests[0].headers.get("x-time").unwrap(), "10:30");
        assert_eq!(config.requests[0].headers.get("accept").unwrap(), "text/html");
        assert!(header("no colon").is_err());
        assert!(header("bad name: x").is_err());
    }

    #[test]
    fn a_body_makes_a_post_unless_the_method_is_given() {
        let request = |args| config(args).unwrap().requests.remove(0);
        assert_eq!(request(&["http://h/"]).method, Method::GET);
        let post = request(&["http://h/", "--body", "x"]);
        assert_eq!((post.method, post.body.as_ref()), (Method::POST, b"x".as_slice()));
        assert_eq!(request(&["http://h/", "--body", "x", "-X", "PUT"]).method, Method::PUT);
    }

    #[test]
    fn targets_have_weights_and_may_have_methods_of_their_own() {
        let args = ["--target", "3=http://h/?a=b", "--target", "0.5=POST http://h/", "--target", "1=PUT http://i/"];
        let requests = config(&[&args[..], &["--body", "x"]].concat()).unwrap().requests;
        let seen: Vec<_> = requests
            .iter()
            .map(|one| (one.weight, one.method.as_str(), one.target.to_string(), one.body.len()))
            .collect();
        let expected = [
            (3.0, "GET", "http://h/?a=b".to_owned(), 0),
            (0.5, "POST", "http://h/".to_owned(), 1),
            (1.0, "PUT", "http://i/".to_owned(), 1),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_cannot_be_driven_is_refused() {
        for (wrong, said) in [
            (&["ftp://h/"][..], "only http"),
            (&["http://h/", "-r", "0"], "rate is 0"),
            (&["http://h/", "-r", "fast"], "poisson:200"),
            (&["http://h/", "-c", "0"], "connections is 0"),
            (&["http://h/", "-n", "0"], "count is 0"),
            (&["http://h/", "--profile", "5"], "'100 for 30s'"),
            (&["http://h/", "--profile", "5 for 3s", "-d", "4s"], "longer than the profile"),
            (&["http://h/", "--profile", "5 for 3s", "-r", "3"], "cannot be used with"),
            (&["--target", "http://h/"], "3=http://h/read"),
            (&["--target", "x=http://h/"], "3=http://h/read"),
            (&["http://h/", "--target", "1=http://h/"], "cannot be used with"),
            (&["http://h/", "--body-file", "/no/such/file"], "/no/such/file"),
            (&["http://h/", "--ca", "/no/such/file"], "/no/such/file"),
            (&["http://h/", "--streams", "3"], "--http2"),
            (&["http://h/", "--assert", "p99"], "p99<50ms"),
            (&[], "nothing to request"),
        ] {
            let error = format!("{:#}", config(wrong).unwrap_err());
            assert!(error.contains(said), "{wrong:?}: {error}");
        }
    }
}
