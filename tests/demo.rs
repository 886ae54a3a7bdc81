//! `glooshot demo` from the outside. The tests run side by side, so the demos do too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test has the plain clock, and pauses between two looks at a condition"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything but a whole demo takes, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(60);

/// More lines than any demo prints.
const LINES: usize = 10_000;

/// A demo whose output is read line by line. Killed when dropped.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    begin: Instant,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a demo has left behind.
struct Ended {
    status: ExitStatus,
    text: String,
    errors: String,
    took: Duration,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glooshot"));
    command.arg("demo").args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn demo(arguments: &[&str]) -> Demo {
    started(&mut command(arguments))
}

fn started(command: &mut Command) -> Demo {
    let mut child = command.spawn().unwrap();
    let (send, lines) = sync_channel(LINES);
    let out: ChildStdout = child.stdout.take().unwrap();
    thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    Demo { child, lines, seen: Vec::new(), begin: Instant::now() }
}

impl Demo {
    /// Reads on to a line that holds `text`.
    fn until(&mut self, text: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no {text:?} ({error}) in:\n{}", self.seen.join("\n")),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Reads to the end.
    fn end(mut self, limit: Duration) -> Ended {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("no end after {limit:?} in:\n{}", self.seen.join("\n")),
            }
        }
        let status = self.child.wait().unwrap();
        let took = self.begin.elapsed();
        let mut errors = String::new();
        let err: ChildStderr = self.child.stderr.take().unwrap();
        BufReader::new(err).read_to_string(&mut errors).unwrap();
        Ended { status, text: self.seen.join("\n"), errors, took }
    }
}

/// Every block of YAML whose first line is `key:` at this indentation.
fn blocks(text: &str, indentation: usize, key: &str) -> Vec<Value> {
    let margin = " ".repeat(indentation);
    let first = format!("{margin}{key}:");
    let lines: Vec<&str> = text.lines().collect();
    let begins = lines.iter().enumerate().filter(|(_, line)| **line == first).map(|(index, _)| index);
    let block = |begin: usize| -> Value {
        let yaml: Vec<&str> = lines[begin..].iter().map_while(|line| line.strip_prefix(&*margin)).collect();
        serde_saphyr::from_str(&yaml.join("\n")).unwrap_or_else(|error| panic!("{error} in:\n{}", yaml.join("\n")))
    };
    begins.map(|begin| block(begin)[key].clone()).collect()
}

/// Both results and the two lists of the Reports' values.
fn results_and_values(text: &str) -> ([Value; 2], [Vec<Value>; 2]) {
    let values = |history: Value| {
        let history = history.as_array().unwrap();
        assert_eq!(history.len(), 1, "one condition, one history");
        assert!(history[0]["failureConditionName"].as_str().unwrap().starts_with("0-1"));
        let snapshots = history[0]["failureConditionSnapshots"].as_array().unwrap();
        snapshots.iter().for_each(|snapshot| assert_rfc3339(&snapshot["timestamp"]));
        snapshots.iter().map(|snapshot| snapshot["value"].clone()).collect::<Vec<Value>>()
    };
    let results: [Value; 2] = blocks(text, 2, "result").try_into().expect("two results");
    let histories: [Value; 2] = blocks(text, 4, "failureConditionHistory").try_into().expect("two reports");
    (results, histories.map(values))
}

/// UTC with nine digits of a second.
fn assert_rfc3339(time: &Value) {
    let text = time.as_str().unwrap();
    assert!(text.parse::<jiff::Timestamp>().is_ok() && text.len() == 30 && text.ends_with('Z'), "{text}");
}

fn assert_times(result: &Value) {
    assert_rfc3339(&result["timeStarted"]);
    assert_rfc3339(&result["timeFinished"]);
    assert!(result["timeStarted"].as_str() < result["timeFinished"].as_str());
}

/// What the tutorial shows of the first experiment.
fn assert_failed(result: &Value, values: &[Value]) {
    assert_eq!(result["state"], "Failed");
    let report = &result["failureReport"];
    assert_eq!(report["failure_type"], "value_exceeded_threshold");
    assert_eq!(report["comparison_operator"], ">");
    assert_eq!(report["threshold"], "0.01");
    let value: f64 = report["value"].as_str().expect("a text, as in the tutorial").parse().unwrap();
    assert!(value > 0.01, "{value}");
    assert_eq!(values.last().and_then(Value::as_f64), Some(value), "the last snapshot is the value");
    assert_times(result);
}

/// What the tutorial shows of the second one.
fn assert_succeeded(result: &Value, values: &[Value]) {
    assert_eq!(result["state"], "Succeeded");
    assert!(result.get("failureReport").is_none(), "{result}");
    assert!(values.len() > 3, "{values:?}");
    let quiet = |value: &Value| value == "NaN" || value.as_f64() == Some(0.0);
    assert!(values.iter().all(quiet), "{values:?}");
    assert_times(result);
}

/// The live lines of a part of the output.
fn live(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("pages/s")).collect()
}

/// What visitors saw: reviews that went away with ratings in the first run and not in the second.
fn assert_pages(text: &str) {
    let (before, after) = text.split_once("\n6  ").unwrap();
    let mixed = |line: &&str| ["red ", "black ", "none "].iter().all(|kind| line.contains(kind));
    assert!(live(before).iter().any(mixed), "all versions are shown at first:\n{before}");
    let broken = |line: &&str| line.contains("faults ON") && line.contains("errors 100.0 %  faults");
    assert!(live(before).iter().any(broken), "the weakness is seen:\n{before}");
    let (_, again) = before.split_once("The fault is gone").unwrap();
    assert!(live(again).iter().any(|line| line.ends_with("errors   0.0 %  faults off  red stars")), "{again}");
    let survived = |line: &&str| line.contains("faults ON") && line.contains("ratings unavailable");
    assert!(live(after).iter().any(survived), "the fix is seen:\n{after}");
}

/// Waits until nobody listens at the address in a line any more.
fn assert_gone(line: &str) {
    let address: SocketAddr = line.trim().strip_prefix("http://").unwrap().parse().unwrap();
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "somebody still listens at {address}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_demo_finds_the_weakness_and_proves_the_fix_within_forty_seconds() {
    let Ended { status, text, errors, took } = demo(&[]).end(Duration::from_secs(120));
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""), "{text}");
    assert!(took < Duration::from_secs(40), "{took:?}");
    assert!(!text.contains('\x1b'), "no escape sequences but on a terminal");
    let ([failed, succeeded], [first, second]) = results_and_values(&text);
    assert_failed(&failed, &first);
    assert_succeeded(&succeeded, &second);
    assert_pages(&text);
}

#[test]
fn the_time_from_the_crossing_request_to_the_last_injected_response_is_shown_and_is_under_fifty_milliseconds() {
    let mut demo = demo(&[]);
    let line = demo.until("crossing request -> last injected response start: ", SOON);
    let (_, time) = line.split_once("start: ").unwrap();
    let milliseconds: f64 = time.strip_suffix(" ms").unwrap().parse().unwrap();
    assert!(milliseconds > 0.0 && milliseconds < 50.0, "{line}");
}

#[test]
fn two_minutes_with_a_prometheus_the_tutorials_own_files_fail_on_v4_and_succeed_on_v3() {
    let mut demo = demo(&["--prometheus"]);
    demo.until("It is ready", SOON);
    let url = demo.until("http://", SOON);
    let Ended { status, text, errors, .. } = demo.end(Duration::from_secs(300));
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""), "{text}");
    let ([failed, succeeded], [first, second]) = results_and_values(&text);
    assert_failed(&failed, &first);
    assert_succeeded(&succeeded, &second);
    assert_pages(&text);
    assert!(text.contains("the query gives 0\n") || text.contains("the query gives NaN\n"), "{text}");
    assert_gone(&url);
}

#[test]
fn ctrl_c_in_the_middle_of_an_experiment_ends_the_demo_with_130() {
    let mut demo = demo(&[]);
    let page = demo.until("/productpage?u=normal", SOON);
    demo.until("faults ON", SOON);
    demo.signal(Signal::INT);
    let Ended { status, text, errors, .. } = demo.end(SOON);
    assert_eq!(status.code(), Some(130), "{text}\n{errors}");
    assert!(errors.contains("interrupted; the faults are off"), "{errors}");
    assert!(!text.contains("result:"), "{text}");
    assert_gone(page.strip_suffix("/productpage?u=normal").unwrap());
}

#[test]
fn ctrl_c_ends_the_prometheus_too() {
    let mut demo = demo(&["--prometheus"]);
    demo.until("It is ready", SOON);
    let url = demo.until("http://", SOON);
    demo.until("faults ON", SOON);
    demo.signal(Signal::INT);
    let Ended { status, text, errors, .. } = demo.end(SOON);
    assert_eq!(status.code(), Some(130), "{text}\n{errors}");
    assert_gone(&url);
}

#[test]
fn the_prometheus_dies_with_a_demo_that_is_killed() {
    // Nobody is left to remove its data.
    let directory = tempfile::tempdir().unwrap();
    let mut demo = started(command(&["--prometheus"]).env("TMPDIR", directory.path()));
    demo.until("It is ready", SOON);
    let url = demo.until("http://", SOON);
    demo.signal(Signal::KILL);
    assert_gone(&url);
}

#[test]
fn a_prometheus_that_is_not_there_is_an_error_with_the_way_to_install_it() {
    let given = command(&["--prometheus=/nowhere/prometheus"]).output().unwrap();
    let looked_up = command(&["--prometheus"]).env("PATH", "/nowhere").output().unwrap();
    for output in [given, looked_up] {
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("apt-get install prometheus"), "{errors}");
        assert!(errors.contains("glooshot demo --prometheus="), "{errors}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_demo() {
    let mut child = command(&[]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{errors}");
    assert!(errors.contains("cannot write to standard output"), "{errors}");
}
