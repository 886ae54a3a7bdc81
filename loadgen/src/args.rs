//! The command line, and the [`Config`] that it asks for.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use glooshot_loadgen::{Config, Limit, Pace};
use http::header::{HeaderName, HeaderValue};
use http::{Method, Uri};

/// Drive HTTP load at a server and report counts and latencies.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = GUIDE)]
pub(crate) struct Args {
    /// Address to request, for example http://127.0.0.1:9080/productpage
    url: Uri,

    /// Number of keep-alive connections
    #[arg(short = 'c', long, value_name = "N", default_value_t = 10)]
    connections: usize,

    /// Requests per second over all connections; without it, as fast as the server answers
    #[arg(short = 'q', long, value_name = "RATE")]
    rate: Option<f64>,

    /// Stop after this time, such as 30s, 1m30s, 500ms; 10s if there is no --count either
    #[arg(short = 'z', long, value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,

    /// Stop after this many requests
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,

    /// Request method
    #[arg(short = 'm', long, value_name = "METHOD", default_value = "GET")]
    method: Method,

    /// Request header; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// Request body
    #[arg(short = 'd', long, value_name = "BODY")]
    body: Option<String>,

    /// Time for one request, from the connect to the end of its response
    #[arg(short = 't', long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,

    /// Source address of the connections
    #[arg(long, value_name = "IP")]
    local_address: Option<IpAddr>,

    /// Form of the summary on standard output
    #[arg(short = 'o', long, value_name = "FORM", value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// Form of the summary.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    /// Aligned lines
    Text,
    /// One JSON object
    Json,
}

const GUIDE: &str = "\
Two questions, two paces:

How much can it take? Without --rate each connection sends its next request when the last one is
answered (a closed loop). Read the throughput; the latencies look better than what users feel,
because the callers wait politely while the server stalls.

How does it feel at 200 requests per second? With --rate requests are due at fixed times, and each
latency counts from when the request was due: a stall is felt by every request due meanwhile. If
requests stay unsent, give more connections, or accept that the server cannot hold the rate.

Examples:
  glooshot-loadgen http://127.0.0.1:9080/productpage -z 30s
  glooshot-loadgen http://127.0.0.1:9080/productpage -q 200 -c 50 -z 1m
  glooshot-loadgen http://127.0.0.1:9080/reviews/0 -n 1000 -H 'end-user: jason' -o json

Exit status: 0 some request was answered with a status below 400; 1 none was; 2 wrong arguments.";

impl Args {
    pub(crate) fn into_config(self) -> anyhow::Result<Config> {
        let connections = self.connections;
        let pace = match self.rate {
            Some(rate_per_second) => Pace::Constant { rate_per_second, connections },
            None => Pace::Closed { connections },
        };
        let unlimited = self.duration.is_none() && self.count.is_none();
        let duration = if unlimited { Some(Duration::from_secs(10)) } else { self.duration };
        let mut config = Config::new(self.url, pace);
        config.limit = Limit { duration, count: self.count };
        config.method = self.method;
        config.headers.extend(self.headers);
        config.body = self.body.unwrap_or_default().into();
        config.timeout = self.timeout;
        config.local_address = self.local_address;
        config.check()?;
        Ok(config)
    }
}

/// Reads `1m30s`, `500ms`, `1.5h`: numbers with a unit each, added up.
fn duration(text: &str) -> anyhow::Result<Duration> {
    const EXAMPLE: &str = "write a number with a unit (ms, s, m, h), such as 30s, 1m30s or 500ms";
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => bail!("{EXAMPLE}"),
        };
        let number: f64 = number.parse().ok().context(EXAMPLE)?;
        let part = Duration::try_from_secs_f64(number * seconds).ok().context(EXAMPLE)?;
        total = total.checked_add(part).context(EXAMPLE)?;
        rest = tail;
    }
    if total.is_zero() {
        bail!("it must be longer than 0; {EXAMPLE}");
    }
    Ok(total)
}

fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':').context("write it as 'name: value'")?;
    let name = name.trim().parse().with_context(|| format!("{:?} is no header name", name.trim()))?;
    let value = HeaderValue::from_str(value.trim()).context("the value has characters that no header may have")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(args: &[&str]) -> anyhow::Result<Config> {
        Args::try_parse_from([&["glooshot-loadgen"], args].concat())?.into_config()
    }

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, millis) in [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("1.5h", 5_400_000)] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for wrong in ["", "5", "s", "-1s", "1d", "0s", "1..2s", "1s garbage", "1e9h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_limits_a_run_takes_ten_seconds() {
        let limit = config(&["http://h/"]).unwrap().limit;
        assert_eq!(limit, Limit { duration: Some(Duration::from_secs(10)), count: None });
        let limit = config(&["http://h/", "-n", "5"]).unwrap().limit;
        assert_eq!(limit, Limit { duration: None, count: Some(5) });
    }

    #[test]
    fn a_rate_chooses_the_constant_pace() {
        assert_eq!(config(&["http://h/", "-c", "3"]).unwrap().pace, Pace::Closed { connections: 3 });
        let constant = Pace::Constant { rate_per_second: 2.5, connections: 10 };
        assert_eq!(config(&["http://h/", "-q", "2.5"]).unwrap().pace, constant);
    }

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let config = config(&["http://h/", "-H", "x-time: 10:30", "-H", "Accept:text/html"]).unwrap();
        assert_eq!(config.headers.get("x-time").unwrap(), "10:30");
        assert_eq!(config.headers.get("accept").unwrap(), "text/html");
        assert!(header("no colon").is_err());
        assert!(header("bad name: x").is_err());
    }

    #[test]
    fn what_cannot_be_driven_is_refused() {
        for wrong in
            [&["https://h/"][..], &["http://h/", "-q", "0"], &["http://h/", "-c", "0"], &["http://h/", "-n", "0"]]
        {
            assert!(config(wrong).is_err(), "{wrong:?}");
        }
    }
}
