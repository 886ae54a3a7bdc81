//! curl and nghttp before the proxy: HTTP/1 and HTTP/2 as two other authors read them.

use std::{fs, io::Write as _, process::Command};

use tempfile::NamedTempFile;

use crate::{
    harness::{Glooshot, Setup, experiment::Experiment},
    peers::{
        Server as _,
        curl::{curl, fetch},
        go::GoServer,
    },
};

/// curl's arguments for each version of HTTP without TLS, the version that it then tells, and what Go calls it.
const VERSIONS: [(&str, &str, &str); 2] =
    [("--http1.1", "1.1", "HTTP/1.1"), ("--http2-prior-knowledge", "2", "HTTP/2.0")];

fn before(server: &GoServer) -> Glooshot {
    Setup::proxy().to(server.address()).start()
}

fn url(proxy: &Glooshot, path: &str) -> String {
    format!("http://{}{path}", proxy.address())
}

/// A file of `length` bytes that never repeat for long.
fn file(length: usize) -> (NamedTempFile, Vec<u8>) {
    let bytes = (0..length).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    (file, bytes)
}

#[test]
fn curl_is_answered_in_the_version_that_it_speaks() {
    let server = GoServer::start();
    let proxy = before(&server);
    for (argument, version, protocol) in VERSIONS {
        let (transfer, body) = fetch(&[argument, &url(&proxy, "/a?b=c")]);
        assert_eq!((transfer.status, transfer.version.as_str(), body.as_str()), (200, version, "/a?b=c"));
        assert_eq!(transfer.header("x-protocol"), Some(protocol));
        assert_eq!(transfer.header("x-host"), Some(proxy.address().to_string().as_str()));
        assert!(transfer.header("via").is_some_and(|via| via.ends_with(" ratings.bookinfo.glooshot")), "{transfer:?}");
    }
}

#[test]
fn curl_keeps_its_connection() {
    let server = GoServer::start();
    let proxy = before(&server);
    // Inside TLS it does so in HTTP/2 as well; curl 7.88 cannot use a connection twice that it began with prior knowledge.
    let urls = (0..5).map(|number| url(&proxy, &format!("/{number}"))).collect::<Vec<_>>();
    let ended = curl(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((ended.code, ended.body.as_slice()), (0, &b"/0/1/2/3/4"[..]));
    assert_eq!(ended.transfers.iter().map(|transfer| transfer.connects).sum::<u64>(), 1);
}

#[test]
fn curl_gets_back_what_it_sends() {
    let server = GoServer::start();
    let proxy = before(&server);
    let (file, bytes) = file(3 << 20);
    let data = format!("@{}", file.path().display());
    for (argument, ..) in VERSIONS {
        // With so much to send, curl asks first (Expect: 100-continue) in HTTP/1.
        let (transfer, body) = curl(&[argument, "--data-binary", &data, &url(&proxy, "/echo")]).only();
        assert_eq!(transfer.status, 200);
        assert!(body == bytes, "{argument}: {} bytes of {} came back", body.len(), bytes.len());
    }
}

#[test]
fn curl_may_send_without_saying_how_much() {
    let server = GoServer::start();
    let proxy = before(&server);
    let (file, bytes) = file(200_000);
    let upload = file.path().to_str().unwrap();
    for (argument, ..) in VERSIONS {
        let arguments = [argument, "--header", "Transfer-Encoding: chunked", "--upload-file", upload];
        let (transfer, body) = curl(&[&arguments[..], &[&url(&proxy, "/echo")]].concat()).only();
        assert_eq!(transfer.status, 200);
        assert!(body == bytes, "{argument}: {} bytes of {} came back", body.len(), bytes.len());
    }
}

#[test]
fn curl_gets_no_body_for_a_head() {
    let server = GoServer::start();
    let proxy = before(&server);
    for (argument, ..) in VERSIONS {
        let (transfer, body) = fetch(&[argument, "--head", &url(&proxy, "/a")]);
        assert_eq!((transfer.status, transfer.header("content-length")), (200, Some("2")), "{argument}");
        assert!(!body.ends_with("/a"), "{body}");
    }
}

#[test]
fn curl_sees_each_cookie_by_itself() {
    let server = GoServer::start();
    let proxy = before(&server);
    for (argument, ..) in VERSIONS {
        let (transfer, _) = fetch(&[argument, &url(&proxy, "/cookies")]);
        assert_eq!(transfer.headers["set-cookie"], ["a=1", "b=2", "c=3"], "{argument}");
    }
}

#[test]
fn interim_answers_do_not_confuse_curl() {
    let server = GoServer::start();
    let proxy = before(&server);
    for (argument, ..) in VERSIONS {
        let (transfer, body) = fetch(&[argument, &url(&proxy, "/hints")]);
        assert_eq!((transfer.status, body.as_str()), (200, "/hints"), "{argument}");
    }
}

#[test]
fn curl_sees_aborts_and_delays_in_both_versions() {
    let server = GoServer::start();
    let experiment = Experiment::named("curl")
        .fault("match: {path: {exact: /abort}}", "{abort: {httpStatus: 503}, percentage: 100}")
        .fault("match: {path: {exact: /delay}}", "{delay: {duration: 300ms}, percentage: 100}");
    let proxy = Setup::run(&experiment.yaml()).to(server.address()).start_with_faults_on();
    for (argument, version, _) in VERSIONS {
        let (aborted, _) = fetch(&[argument, &url(&proxy, "/abort")]);
        assert_eq!((aborted.status, aborted.version.as_str()), (503, version));
        assert_eq!(aborted.header("x-glooshot-fault"), Some(experiment.marker("abort", 0).as_str()));
        let (delayed, body) = fetch(&[argument, &url(&proxy, "/delay")]);
        assert_eq!((delayed.status, body.as_str()), (200, "/delay"));
        assert_eq!(delayed.header("x-glooshot-fault"), Some(experiment.marker("delay", 1).as_str()));
        assert!(delayed.seconds >= 0.3, "{delayed:?}");
        let (untouched, _) = fetch(&[argument, &url(&proxy, "/other")]);
        assert_eq!((untouched.status, untouched.header("x-glooshot-fault")), (200, None));
    }
    assert!(server.seen().iter().all(|line| !line.contains("/abort")), "{:?}", server.seen());
}

#[test]
fn curl_may_be_answered_from_an_upstream_of_another_version() {
    let server = GoServer::start();
    let (file, bytes) = file(200_000);
    let data = format!("@{}", file.path().display());
    for (upstream, protocol) in [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0")] {
        let option = format!("bookinfo/ratings:9080={upstream}");
        let proxy = Setup::proxy().to(server.address()).with(["--upstream-protocol", &option]).start();
        for (argument, version, _) in VERSIONS {
            let (transfer, body) = curl(&[argument, "--data-binary", &data, &url(&proxy, "/echo")]).only();
            assert_eq!((transfer.status, transfer.version.as_str()), (200, version));
            assert_eq!(transfer.header("x-protocol"), Some(protocol), "{argument}");
            assert!(body == bytes, "{argument}: {} bytes of {} came back", body.len(), bytes.len());
        }
    }
}

#[test]
fn an_upgrade_to_http_2_is_not_granted_and_curl_goes_on_in_http_1() {
    let server = GoServer::start();
    let proxy = before(&server);
    let (transfer, body) = fetch(&["--http2", &url(&proxy, "/a")]);
    assert_eq!((transfer.status, transfer.version.as_str(), body.as_str()), (200, "1.1", "/a"));
    assert_eq!(transfer.header("x-protocol"), Some("HTTP/1.1"));
}

/// Runs nghttp with `arguments` against `path`; what it prints of the frames.
#[track_caller]
fn nghttp(proxy: &Glooshot, path: &str, arguments: &[&str]) -> String {
    let output = Command::new("nghttp")
        .args(["--null-out", "--verbose", "--no-dep", "--timeout=20"])
        .args(arguments)
        .arg(url(proxy, path))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// How many streams were answered with this status.
fn answered(said: &str, status: u16) -> usize {
    said.matches(&format!(":status: {status}")).count()
}

#[test]
fn nghttp_is_answered_on_many_streams_of_one_connection() {
    let server = GoServer::start();
    let proxy = before(&server);
    let said = nghttp(&proxy, "/a", &["--multiply=50"]);
    assert_eq!(answered(&said, 200), 50, "{said}");
    assert_eq!(said.matches("x-protocol: HTTP/2.0").count(), 50, "{said}");
    assert_eq!(server.seen().len(), 50);
    assert!(!said.contains("RST_STREAM") && !said.contains("error_code=PROTOCOL_ERROR"), "{said}");
}

#[test]
fn nghttp_gets_through_its_smallest_windows() {
    let server = GoServer::start();
    let proxy = before(&server);
    let (file, bytes) = file(300_000);
    let data = format!("--data={}", file.path().display());
    // Windows of 2^4 - 1 bytes, for each stream and for the connection.
    for windows in [&["--window-bits=10", "--connection-window-bits=10"][..], &["--window-bits=4"]] {
        let said = nghttp(&proxy, "/echo", &[&[data.as_str()], windows].concat());
        assert_eq!(answered(&said, 200), 1, "{said}");
        let received = said
            .split("recv DATA frame <length=")
            .skip(1)
            .map(|frame| frame.split(',').next().unwrap().parse::<usize>().unwrap())
            .sum::<usize>();
        assert_eq!(received, bytes.len(), "{windows:?}");
    }
}

#[test]
fn nghttp_may_pad_continue_and_weigh() {
    let server = GoServer::start();
    let proxy = before(&server);
    let (file, bytes) = file(50_000);
    let data = format!("--data={}", file.path().display());
    let arguments = ["--padding=255", "--continuation", "--weight=1", "--expect-continue"];
    let said = nghttp(&proxy, "/a", &[&[data.as_str()], &arguments[..]].concat());
    assert_eq!(answered(&said, 200), 1, "{said}");
    assert!(said.contains(&format!("x-body-length: {}", bytes.len())), "{said}");
}

#[test]
fn the_trailers_of_nghttp_come_back() {
    let server = GoServer::start();
    let proxy = before(&server);
    let (file, _) = file(10);
    let data = format!("--data={}", file.path().display());
    let said = nghttp(&proxy, "/echo", &[&data, "--trailer=x-sum: 7"]);
    let received = said.rsplit_once("recv DATA").map_or("", |(_, behind)| behind);
    assert!(said.matches("x-sum: 7").count() == 2, "sent once and received once: {said}");
    assert!(received.contains("END_STREAM"), "{said}");
}

#[test]
fn a_push_is_never_sent_and_a_table_of_no_bytes_is_respected() {
    let server = GoServer::start();
    let proxy = before(&server);
    let said = nghttp(&proxy, "/a", &["--header-table-size=0", "--encoder-header-table-size=0", "--multiply=3"]);
    assert_eq!(answered(&said, 200), 3, "{said}");
    assert!(!said.contains("PUSH_PROMISE"), "{said}");
}

#[test]
fn nghttp_sees_aborts() {
    let server = GoServer::start();
    let experiment = Experiment::named("nghttp").abort(503, "100");
    let proxy = Setup::run(&experiment.yaml()).to(server.address()).start_with_faults_on();
    let said = nghttp(&proxy, "/a", &["--multiply=10"]);
    assert_eq!(answered(&said, 503), 10, "{said}");
    assert_eq!(said.matches(&format!("x-glooshot-fault: {}", experiment.marker("abort", 0))).count(), 10, "{said}");
    proxy.wait_for_metric("glooshot_proxy_injected_total", &[("kind", "abort")], 10.0);
    assert!(server.seen().is_empty());
}

#[test]
fn an_upgrade_to_http_2_is_not_granted_to_nghttp() {
    let server = GoServer::start();
    let proxy = before(&server);
    let output = Command::new("nghttp").args(["--upgrade", "--timeout=20", &url(&proxy, "/a")]).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("HTTP Upgrade failed"), "{said}");
    assert_eq!(server.seen().len(), 1, "asked once, in HTTP/1: {:?}", server.seen());
}

#[test]
fn the_file_that_curl_downloads_is_the_one_that_it_uploaded_through_two_proxies() {
    let server = GoServer::start();
    let behind = before(&server);
    let front = Setup::proxy().route("bookinfo/reviews:9080", "127.0.0.1:0", behind.address()).start();
    let (file, bytes) = file(1 << 20);
    let (data, come) = (format!("@{}", file.path().display()), NamedTempFile::new().unwrap());
    for (argument, ..) in VERSIONS {
        let output = come.path().to_str().unwrap();
        let (transfer, _) = fetch(&[argument, "--data-binary", &data, "--output", output, &url(&front, "/echo")]);
        assert_eq!(transfer.header("via").map(|via| via.matches("glooshot").count()), None, "one field for each proxy");
        assert_eq!(transfer.headers["via"].len(), 2, "{transfer:?}");
        assert!(fs::read(come.path()).unwrap() == bytes, "{argument}");
    }
}
