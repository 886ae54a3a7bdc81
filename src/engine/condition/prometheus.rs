//! Prometheus conditions: one instant query at a time, and what can be wrong with its answer.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::{
    http::{self, ClientError, bounded_body, shown},
    promql,
};

/// The time for one query, from the connection to the last byte of the answer.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer at the most; a number needs about a hundred.
const MAX_ANSWER: usize = 1024 * 1024;

/// A Prometheus, or anything that answers its query API.
#[derive(Clone)]
pub struct Prometheus {
    client: Client,
    /// Ends with a slash, and holds no credentials.
    base: Url,
    credentials: Option<(String, Option<String>)>,
    timeout: Duration,
}

/// Why an address is none of a Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrometheusUrlError {
    /// Not an HTTP URL.
    #[error("{0:?} is not the address of a Prometheus; write for example \"http://127.0.0.1:9090\"")]
    NotHttp(String),
    /// No client could be made.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Why a query has no value. None of these says anything about the experiment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Nobody answers there.
    #[error("Prometheus is unreachable: {0}")]
    Unreachable(String),
    /// The answer did not come in time.
    #[error("Prometheus did not answer within {0:?}")]
    Timeout(Duration),
    /// Prometheus answered that it cannot.
    #[error("Prometheus answered {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// What answers there is something else.
    #[error("what answers there is no Prometheus: {0}")]
    NotPrometheus(String),
    /// The author's query is wrong.
    #[error("Prometheus refuses the query: {message}")]
    BadQuery {
        /// Prometheus's own words.
        message: String,
    },
    /// The author's query gives more than one number.
    #[error(
        "the query gives a vector of {n} elements; a condition needs one number: aggregate it, as in \"sum(...)\" or \"max(...)\""
    )]
    ManyElements {
        /// How many.
        n: usize,
    },
    /// The author's query gives something that is not a number.
    #[error(
        "the query gives a {0}; a condition needs a scalar or a vector of one element, as in \"scalar(sum(rate(...[1m])))\""
    )]
    WrongType(String),
    /// The answer is longer than any number needs.
    #[error("the answer is longer than {} bytes", MAX_ANSWER)]
    TooLarge,
}

impl Prometheus {
    /// The Prometheus at `url`, which may have a path prefix and credentials.
    ///
    /// # Errors
    /// When `url` is not an HTTP URL.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, PrometheusUrlError> {
        let not_http = || PrometheusUrlError::NotHttp(without_credentials(url));
        let mut base = Url::parse(url.trim()).map_err(|_| not_http())?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(not_http());
        }
        let credentials =
            (!base.username().is_empty()).then(|| (base.username().to_owned(), base.password().map(ToOwned::to_owned)));
        base.set_username("").and_then(|()| base.set_password(None)).map_err(|()| not_http())?;
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let client = http::build(http::client_builder(timeout)?.pool_max_idle_per_host(1))?;
        Ok(Self { client, base, credentials, timeout })
    }

    /// The value of a query at a time of day; NaN where there is no data.
    ///
    /// # Errors
    /// When there is no answer, or the answer is not one number.
    pub async fn query(&self, query: &str, at: Timestamp) -> Result<f64, QueryError> {
        let time = format!("{:.3}", at.as_millisecond() as f64 / 1_000.0);
        let answer = self.get("api/v1/query", &[("query", query), ("time", &time)]).await?;
        value_of(&answer)
    }

    /// A metric that `query` names and that this Prometheus does not know at all.
    ///
    /// # Errors
    /// When there is no answer, or none that can be read.
    pub async fn unknown_metric(&self, query: &str) -> Result<Option<String>, QueryError> {
        for metric in promql::metric_names(query) {
            if !self.knows(&metric).await? {
                return Ok(Some(metric));
            }
        }
        Ok(None)
    }

    /// Whether any series of this name is stored. The answer holds one name at the most, on every version that has `match[]`
    /// on label values (2.24 and later); listing series instead has no limit before version 3.
    async fn knows(&self, metric: &str) -> Result<bool, QueryError> {
        let quoted = metric.replace('\\', "\\\\").replace('"', "\\\"");
        let selector = format!("{{__name__=\"{quoted}\"}}");
        let answer = self.get("api/v1/label/__name__/values", &[("match[]", &selector)]).await?;
        match answer {
            Value::Array(names) => Ok(!names.is_empty()),
            // Prometheus leaves an empty list out in some versions.
            Value::Null => Ok(false),
            _ => Err(QueryError::NotPrometheus("its list of names is no list".to_owned())),
        }
    }

    /// The `data` of a successful answer.
    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, QueryError> {
        let url = self.base.join(path).map_err(|error| QueryError::Unreachable(error.to_string()))?;
        let mut request = self.client.get(url).query(parameters).header("accept", "application/json");
        if let Some((user, password)) = &self.credentials {
            request = request.basic_auth(user, password.as_ref());
        }
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        let status = response.status();
        let body = bounded_body(response, MAX_ANSWER).await.map_err(|error| self.transport(&error))?;
        let body = body.ok_or(QueryError::TooLarge)?;
        read(status, &body)
    }

    fn transport(&self, error: &reqwest::Error) -> QueryError {
        match error {
            error if error.is_timeout() => QueryError::Timeout(self.timeout),
            error if http::is_not_http(error) => QueryError::NotPrometheus("it does not speak HTTP".to_owned()),
            error => QueryError::Unreachable(http::causes(error)),
        }
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prometheus({self})")
    }
}

impl fmt::Display for Prometheus {
    /// The address, without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str())
    }
}

/// A text that should have been a URL, without what could be a password.
fn without_credentials(url: &str) -> String {
    shown(url.rsplit_once('@').map_or(url, |(_, after)| after))
}

/// The envelope of every answer of the API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, QueryError> {
    let envelope: Option<Envelope> = serde_json::from_slice(body).ok();
    match envelope {
        Some(envelope) if status.is_success() && envelope.status == "success" => Ok(envelope.data),
        Some(envelope) if envelope.status == "error" => {
            let message = shown(&envelope.error);
            // The query could be parsed and not be evaluated (422), or not even be parsed (400).
            if matches!(envelope.error_type.as_str(), "bad_data" | "execution") {
                return Err(QueryError::BadQuery { message });
            }
            Err(QueryError::Status { status: status.as_u16(), message })
        }
        _ if status.is_redirection() => Err(QueryError::Status {
            status: status.as_u16(),
            message: "redirects are not followed; give the address that it leads to".to_owned(),
        }),
        _ if !status.is_success() => Err(QueryError::Status { status: status.as_u16(), message: kind_of(body) }),
        _ => Err(QueryError::NotPrometheus(kind_of(body))),
    }
}

/// What an answer that is not Prometheus's looks like.
fn kind_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..256).unwrap_or(body));
    let text = text.trim_start();
    let kind = match text.chars().next() {
        None => "nothing",
        Some('<') => "a page of HTML",
        Some('{' | '[') => "JSON of another kind",
        Some(_) => "a text of another kind",
    };
    format!("it sent {kind}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryData {
    result_type: String,
    result: Value,
}

fn value_of(data: &Value) -> Result<f64, QueryError> {
    let unreadable = || QueryError::NotPrometheus("its result cannot be read".to_owned());
    let QueryData { result_type, result } = QueryData::deserialize(data).map_err(|_| unreadable())?;
    match result_type.as_str() {
        "scalar" => number(&result).ok_or_else(unreadable),
        "vector" => match result.as_array().map(Vec::as_slice).ok_or_else(unreadable)? {
            [] => Ok(f64::NAN),
            [element] if element.get("histogram").is_some() => Err(QueryError::WrongType("histogram".to_owned())),
            [element] => element.get("value").and_then(number).ok_or_else(unreadable),
            several => Err(QueryError::ManyElements { n: several.len() }),
        },
        "matrix" => Err(QueryError::WrongType("matrix (a range of values)".to_owned())),
        "string" => Err(QueryError::WrongType("string".to_owned())),
        other => Err(QueryError::WrongType(shown(other))),
    }
}

/// `[<time>, "<value>"]`, with `NaN`, `+Inf` and `-Inf` among the values.
fn number(pair: &Value) -> Option<f64> {
    pair.get(1)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests;
