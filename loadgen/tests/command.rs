//! The command: its forms of output, exit codes and help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{Server, Version, nobody, respond, serve, serve_tls};
use tempfile::TempDir;

async fn loadgen(args: &[&str]) -> Output {
    loadgen_with_input(args, String::new()).await
}

async fn loadgen_with_input(args: &[&str], input: String) -> Output {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    tokio::task::spawn_blocking(move || {
        use std::io::Write as _;
        let mut command = Command::new(env!("CARGO_BIN_EXE_glooshot-loadgen"));
        let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its input closes it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

async fn server(status: u16) -> (Server, String) {
    let server = serve(move |_, _| async move { respond(status, "12345") }).await;
    let url = server.url("/").to_string();
    (server, url)
}

fn file(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_run_that_was_answered_exits_with_0_and_prints_text() {
    let (_server, url) = server(200).await;
    for args in [&[&url, "-n", "20"][..], &["run", &url, "-n", "20"]] {
        let output = loadgen(args).await;
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("statuses     200: 20"), "{}", text(&output.stdout));
        assert_eq!(text(&output.stderr), "", "no progress bar without a terminal");
    }
}

#[tokio::test]
async fn json_goes_to_standard_output_alone_and_in_one_line() {
    let (_server, url) = server(404).await;
    let output = loadgen(&[&url, "-n", "20", "-r", "1000", "-o", "json"]).await;
    assert_eq!(json(&output)["statuses"]["404"], 20);
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert_eq!(output.status.code(), Some(0), "it was measured");
}

#[tokio::test]
async fn a_run_without_an_answer_exits_with_3() {
    let output = loadgen(&[&nobody().await.to_string(), "-n", "2", "--assert", "errors<1%"]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("errors       connect: 2"));
}

#[tokio::test]
async fn an_assertion_that_fails_exits_with_1_and_is_named() {
    let (_server, url) = server(503).await;
    for (assertions, code) in [
        ("p99<10s,responses==20", 0),
        ("5xx>=100%", 0),
        ("p99<10s,errors<1%", 1),
        ("p50>10s", 1),
        ("unsent==0, responses>20", 1),
    ] {
        let output = loadgen(&[&url, "-n", "20", "--assert", assertions]).await;
        assert_eq!(output.status.code(), Some(code), "{assertions}: {output:?}");
        let failed = text(&output.stdout).lines().filter(|line| line.starts_with("FAILED")).count();
        assert_eq!(failed > 0, code == 1, "{assertions}: {output:?}");
    }
    let output = loadgen(&[&url, "-n", "20", "--assert", "errors<1%", "--assert", "rate>0", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let judged = &json(&output)["assertions"];
    assert_eq!((&judged[0]["holds"], &judged[0]["actual"]), (&Value::from(false), &Value::from("100.000%")));
    assert_eq!(judged[1]["holds"], true);
}

#[tokio::test]
async fn wrong_arguments_exit_with_2_and_say_what_to_write() {
    for (args, said) in [
        (&["ftp://127.0.0.1/"][..], "http://127.0.0.1:8080/path"),
        (&["http://127.0.0.1/", "-d", "5"], "30s"),
        (&["http://127.0.0.1/", "-c", "0"], "connections is 0"),
        (&["http://127.0.0.1/", "--assert", "p99"], "p99<50ms"),
        (&["http://127.0.0.1/", "--profile", "5..9"], "'100..5000 for 1m'"),
        (&["http://127.0.0.1/", "-o", "yaml"], "html=report.html"),
        (&["http://127.0.0.1/", "-o", "csv", "-o", "json"], "-o json=result.json"),
        (&["http://no-such-host.invalid/", "-n", "1"], "cannot be looked up"),
        (&["merge"], "Usage"),
        (&["merge", "/no/such/file"], "/no/such/file"),
        (&[], "nothing to request"),
    ] {
        let output = loadgen(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(text(&output.stderr).contains(said), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn each_form_can_go_to_a_file_and_the_text_still_comes() {
    let (_server, url) = server(200).await;
    let directory = TempDir::new().unwrap();
    let [json, csv, html] = ["r.json", "r.csv", "r.html"].map(|name| file(&directory, name));
    let outputs = [format!("json={json}"), format!("csv={csv}")];
    let output =
        loadgen(&[&url, "-n", "20", "-o", &outputs[0], "-o", &outputs[1], "-o", "html", "--output-file", &html]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("200: 20"), "{output:?}");
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read(&json)).unwrap()["responses"], 20);
    assert!(read(&html).starts_with("<!doctype html>") && read(&html).contains("</html>"));
    let rows: Vec<Vec<String>> = read(&csv).lines().map(|row| row.split(',').map(str::to_owned).collect()).collect();
    let responses: u64 = rows[1..].iter().map(|row| row[3].parse::<u64>().unwrap()).sum();
    assert_eq!(responses, 20);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}");
}

#[tokio::test]
async fn results_are_merged_from_files_and_from_the_log_of_a_job() {
    let (_server, url) = server(200).await;
    let directory = TempDir::new().unwrap();
    let [one, other] = ["one.json", "other.json"].map(|name| file(&directory, name));
    for (count, path) in [("30", &one), ("12", &other)] {
        let output = format!("json={path}");
        assert_eq!(loadgen(&[&url, "-n", count, "-r", "2000", "-o", &output]).await.status.code(), Some(0));
    }
    let output = loadgen(&["merge", &one, &other, "-o", "json", "--assert", "responses==42"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let merged = json(&output);
    assert_eq!((&merged["responses"], &merged["runs"]), (&Value::from(42), &Value::from(2)));

    let log: String =
        [&one, &other].map(|path| std::fs::read_to_string(path).unwrap()).join("a line of something else\n");
    let output = loadgen_with_input(&["merge", "-", "--assert", "responses>42"], log).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("200: 42") && text(&output.stdout).contains("2 runs together"));
}

#[tokio::test]
async fn a_damaged_result_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "bad.json");
    for content in ["", "hello", "{\"format\": \"x\"}"] {
        std::fs::write(&path, content).unwrap();
        let output = loadgen(&["merge", &path]).await;
        assert_eq!(output.status.code(), Some(2), "{content}: {output:?}");
        assert!(text(&output.stderr).contains("bad.json"), "{output:?}");
    }
}

#[tokio::test]
async fn http_2_and_certificates_are_chosen_by_flags() {
    let (server, pem) = serve_tls(Version::Http2, |_, _| async { respond(200, "") }).await;
    let url = server.url("/").to_string();
    let directory = TempDir::new().unwrap();
    let ca = file(&directory, "ca.pem");
    std::fs::write(&ca, pem).unwrap();
    for (args, code) in [
        (&["--http2", "--insecure"][..], 0),
        (&["--http2", "--streams", "3", "--ca", &ca], 0),
        (&["--http2"], 3),
        (&["--insecure"], 3),
    ] {
        let output = loadgen(&[&[url.as_str(), "-n", "4", "-c", "2"][..], args].concat()).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    }
}

#[tokio::test]
async fn an_interrupted_run_reports_what_it_has() {
    let (_server, url) = server(200).await;
    let output = tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut command = Command::new("timeout");
        // The command itself is told to end, as by Kubernetes.
        let command = command.args(["--signal=TERM", "1", env!("CARGO_BIN_EXE_glooshot-loadgen"), &url, "-d", "1h"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.wait().unwrap();
        out
    })
    .await
    .unwrap();
    assert!(output.contains("answered") && output.contains("200: "), "{output}");
}

#[tokio::test]
async fn the_help_teaches_by_examples() {
    let help = text(&loadgen(&["--help"]).await.stdout);
    for part in ["--rate", "closed loop", "open loop", "Examples:", "--profile '", "merge", "Exit status:"] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
}

#[tokio::test]
async fn the_job_for_kubernetes_gives_arguments_that_are_accepted_and_a_log_that_is_merged() {
    let manifest = include_str!("../../manifests/loadgen/job.yaml");
    let job: Value = serde_saphyr::from_str(manifest).unwrap();
    assert_eq!(job["spec"]["completionMode"], "Indexed");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["command"], serde_json::json!(["glooshot-loadgen"]));
    let (_server, url) = server(200).await;
    let args: Vec<&str> = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    assert!(args[0].starts_with("http://"), "{args:?}");
    let mut log = String::new();
    for _ in 0..2 {
        let output = loadgen(&[&[url.as_str(), "--count=7"], &args[1..]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        log.push_str(&text(&output.stdout));
    }
    // The command in the comment on top.
    let merge = manifest.lines().find_map(|line| line.split_once("glooshot-loadgen merge - ")).unwrap().1;
    assert!(merge.contains("--assert 'p99<50ms,errors<1%'"), "{merge}");
    let output = loadgen_with_input(&["merge", "-", "--assert", "responses==14"], log).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
