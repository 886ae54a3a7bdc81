//! Everything that can stand where a Prometheus should, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::engine::tests::server::{Reply, Server, error, http, nobody, scalar, success};

const SHORT: Duration = Duration::from_secs(5);

fn client(url: &str) -> Prometheus {
    Prometheus::new(url, SHORT).unwrap()
}

async fn answer_of(server: &Server) -> Result<f64, QueryError> {
    client(&server.url()).query("up", Timestamp::UNIX_EPOCH).await
}

async fn error_of(server: &Server) -> QueryError {
    answer_of(server).await.unwrap_err()
}

#[tokio::test]
async fn a_scalar_is_its_value_whatever_it_is() {
    for (text, value) in [
        ("0.45160204631125467", 0.451_602_046_311_254_67),
        ("0", 0.0),
        ("+Inf", f64::INFINITY),
        ("-Inf", f64::NEG_INFINITY),
    ] {
        let server = Server::json(&scalar(text)).await;
        assert_eq!(answer_of(&server).await, Ok(value));
    }
    let server = Server::json(&scalar("NaN")).await;
    assert!(answer_of(&server).await.unwrap().is_nan());
}

#[tokio::test]
async fn a_vector_of_one_counts_an_empty_one_has_no_data_and_a_longer_one_is_an_error_with_the_fix() {
    let element = r#"{"metric":{"pod":"a"},"value":[1560182904.805,"0.5"]}"#;
    let vector =
        |elements: &[&str]| success(&format!(r#"{{"resultType":"vector","result":[{}]}}"#, elements.join(",")));
    assert_eq!(answer_of(&Server::json(&vector(&[element])).await).await, Ok(0.5));
    assert!(answer_of(&Server::json(&vector(&[])).await).await.unwrap().is_nan());
    let error = error_of(&Server::json(&vector(&[element, element, element])).await).await;
    assert_eq!(error, QueryError::ManyElements { n: 3 });
    assert!(error.to_string().contains("sum(...)"), "{error}");
    let histogram = r#"{"metric":{},"histogram":[1560182904.805,{"count":"1"}]}"#;
    let error = error_of(&Server::json(&vector(&[histogram])).await).await;
    assert_eq!(error, QueryError::WrongType("histogram".to_owned()));
}

#[tokio::test]
async fn a_matrix_or_a_string_is_the_wrong_type() {
    for kind in ["matrix", "string"] {
        let server = Server::json(&success(&format!(r#"{{"resultType":"{kind}","result":[0,"0.5"]}}"#))).await;
        let error = error_of(&server).await;
        assert!(matches!(error, QueryError::WrongType(_)), "{error}");
        assert!(error.to_string().starts_with(&format!("the query gives a {kind}")), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_prometheus_is_told_apart_from_one_that_is_down() {
    for (bytes, word) in [
        (http(200, "text/html", "<html>Welcome to nginx</html>"), "a page of HTML"),
        (http(200, "text/plain", "hello"), "a text of another kind"),
        (http(200, "application/json", "[1,2]"), "JSON of another kind"),
        (http(200, "application/json", &scalar("zero")), "its result cannot be read"),
        (http(200, "application/json", &success("{}")), "its result cannot be read"),
        (http(200, "application/json", r#"{"status":"success"}"#), "its result cannot be read"),
        (http(204, "application/json", ""), "nothing"),
        (b"\x16\x03\x01 this is not HTTP\r\n\r\n".to_vec(), "does not speak HTTP"),
    ] {
        let error = error_of(&Server::raw(bytes).await).await;
        assert!(matches!(error, QueryError::NotPrometheus(_)), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let address = nobody().await;
    let error = client(&format!("http://{address}")).query("up", Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert!(matches!(error, QueryError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    let error = error_of(&Server::raw(Vec::new()).await).await;
    assert!(matches!(error, QueryError::Unreachable(_)), "{error:?}");
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"status\":".to_vec();
    let error = error_of(&Server::raw(broken).await).await;
    assert!(matches!(error, QueryError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn an_author_reads_prometheuss_own_words_about_the_query() {
    let words = "1:5: parse error: unexpected end of input";
    for (status, kind) in [(400, "bad_data"), (422, "execution")] {
        let error = error_of(&Server::raw(error(status, kind, words)).await).await;
        assert_eq!(error, QueryError::BadQuery { message: words.to_owned() });
    }
    let overloaded = error_of(&Server::raw(error(503, "timeout", "query timed out")).await).await;
    assert_eq!(overloaded, QueryError::Status { status: 503, message: "query timed out".to_owned() });
}

#[tokio::test]
async fn a_status_without_prometheuss_words_is_told_and_a_redirect_is_not_followed() {
    let error = error_of(&Server::raw(http(502, "text/html", "<html>bad gateway")).await).await;
    assert_eq!(error, QueryError::Status { status: 502, message: "it sent a page of HTML".to_owned() });
    let elsewhere = Server::json(&scalar("1")).await;
    let redirect = format!("HTTP/1.1 301 X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url());
    let error = error_of(&Server::raw(redirect).await).await;
    assert!(matches!(error, QueryError::Status { status: 301, .. }), "{error:?}");
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let body = " ".repeat(MAX_ANSWER + 1);
    assert_eq!(error_of(&Server::raw(http(200, "application/json", &body)).await).await, QueryError::TooLarge);
    let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
    assert_eq!(error_of(&Server::raw(endless).await).await, QueryError::TooLarge);
}

#[tokio::test]
async fn a_prometheus_that_hangs_or_drips_times_out() {
    let limit = Duration::from_millis(200);
    let hanging = Server::start(|_, _| Reply::Hang).await;
    let prometheus = Prometheus::new(&hanging.url(), limit).unwrap();
    assert_eq!(prometheus.query("up", Timestamp::UNIX_EPOCH).await, Err(QueryError::Timeout(limit)));
}

#[tokio::test]
async fn the_query_is_sent_as_it_is_written_to_the_prefix_with_the_time() {
    let line = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let seen = std::sync::Arc::clone(&line);
    let server = Server::start(move |_, head| {
        head.clone_into(&mut seen.lock().unwrap());
        Reply::Json(scalar("1"))
    })
    .await;
    let prometheus = client(&format!("http://me:secret@{}/prom?x=y", server.address));
    let at = Timestamp::from_nanosecond(1_560_182_904_805_162_499).unwrap();
    prometheus.query("sum(a{b=\"c & d\"})\n", at).await.unwrap();
    let expected = "GET /prom/api/v1/query?query=sum%28a%7Bb%3D%22c+%26+d%22%7D%29%0A&time=1560182904.805 HTTP/1.1";
    assert_eq!(*line.lock().unwrap(), expected);
    assert!(!format!("{prometheus:?} {prometheus}").contains("secret"));
}

#[tokio::test]
async fn a_metric_is_unknown_where_no_series_has_its_name() {
    let server = Server::start(|_, line| {
        let known = line.contains("istio_requests_total");
        Reply::Json(success(if known { r#"["istio_requests_total"]"# } else { "[]" }))
    })
    .await;
    let prometheus = client(&server.url());
    assert_eq!(prometheus.unknown_metric("sum(rate(istio_requests_total[1m]))").await, Ok(None));
    let query = "istio_requests_total / istio_request_total";
    assert_eq!(prometheus.unknown_metric(query).await, Ok(Some("istio_request_total".to_owned())));
    assert_eq!(prometheus.unknown_metric("vector(1)").await, Ok(None));
}

#[test]
fn an_address_that_is_no_http_url_is_refused_without_showing_a_password() {
    for url in ["", "localhost:9090", "ftp://a", "http://", "me:secret@host:9090"] {
        let error = Prometheus::new(url, SHORT).unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:9090"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
