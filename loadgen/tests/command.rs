//! The command: its output forms, exit codes and help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::process::{Command, Output};

use support::{nobody, respond, serve};

async fn loadgen(args: &[&str]) -> Output {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_glooshot-loadgen")).args(args).output().unwrap()
    })
    .await
    .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_run_that_was_answered_exits_with_0_and_prints_text() {
    let server = serve(|_, _| async { respond(200, "") }).await;
    let output = loadgen(&[&server.url("/").to_string(), "-n", "20"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("statuses     200: 20"), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr), "", "no progress bar without a terminal");
}

#[tokio::test]
async fn json_goes_to_standard_output_alone() {
    let server = serve(|_, _| async { respond(404, "") }).await;
    let output = loadgen(&[&server.url("/").to_string(), "-n", "20", "-q", "1000", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["statuses"]["404"], 20);
    assert_eq!(output.status.code(), Some(1), "no status below 400");
}

#[tokio::test]
async fn a_run_in_which_everything_failed_exits_with_1() {
    let output = loadgen(&[&nobody().await.to_string(), "-n", "2"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("errors       connect: 2"));
}

#[tokio::test]
async fn wrong_arguments_exit_with_2_and_say_what_to_write() {
    for (args, said) in [
        (&["https://127.0.0.1/"][..], "http://127.0.0.1:8080/path"),
        (&["http://127.0.0.1/", "-z", "5"], "30s"),
        (&["http://127.0.0.1/", "-c", "0"], "connections is 0"),
        (&["http://no-such-host.invalid/", "-n", "1"], "cannot be looked up"),
        (&[], "Usage"),
    ] {
        let output = loadgen(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(said), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn the_help_explains_the_two_paces() {
    let help = text(&loadgen(&["--help"]).await.stdout);
    for part in ["--rate", "closed loop", "Examples:", "Exit status:"] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
}
