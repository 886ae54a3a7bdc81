//! The binary under test as a process: started with arguments, known by what it prints, ended by its pid.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use super::{
    client::Client,
    metrics::Metrics,
    patience::{PATIENCE, try_within, within},
    upstream::Upstream,
};

/// The service that a route of [`Setup`] serves when none is named: the one that the tutorial breaks.
pub const SERVICE: &str = "bookinfo/ratings:9080";

/// How a process is started.
#[derive(Debug, Default)]
pub struct Setup {
    experiment: Option<String>,
    routes: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    without_metrics: bool,
}

impl Setup {
    /// `glooshot proxy`.
    pub fn proxy() -> Self {
        Self::default()
    }

    /// `glooshot run` of the experiment in `yaml`.
    pub fn run(yaml: &str) -> Self {
        Self { experiment: Some(yaml.to_owned()), ..Self::default() }
    }

    /// Routes [`SERVICE`] from any free port to `upstream`.
    pub fn to(self, upstream: SocketAddr) -> Self {
        self.route(SERVICE, "127.0.0.1:0", upstream)
    }

    /// Routes `service` (`NS/SVC:PORT`) from `listen` to `upstream`.
    pub fn route(self, service: &str, listen: &str, upstream: SocketAddr) -> Self {
        self.raw_route(&format!("{service}={listen}->{upstream}"))
    }

    /// A route as it is written on the command line.
    pub fn raw_route(mut self, route: &str) -> Self {
        self.routes.push(route.to_owned());
        self
    }

    /// A further argument, or several.
    pub fn with<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// An environment variable.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a port for metrics, unless an argument names one.
    pub fn without_metrics(mut self) -> Self {
        self.without_metrics = true;
        self
    }

    /// Starts the process and waits until it says that it is ready.
    #[track_caller]
    pub fn start(self) -> Glooshot {
        let routes = self.routes.len();
        let mut glooshot = self.spawn();
        glooshot.wait_for_line("ready", |line| line == "ready");
        for line in glooshot.lines() {
            if let Some((_, address)) = line.strip_prefix("listening ").and_then(|rest| rest.rsplit_once(" on ")) {
                glooshot.listening.push(address.parse().unwrap());
            }
            if let Some(address) = line.strip_prefix("metrics on ") {
                glooshot.metrics_address = Some(address.parse().unwrap());
            }
        }
        assert_eq!(glooshot.listening.len(), routes, "one `listening` line per route: {:#?}", glooshot.lines());
        glooshot
    }

    /// Starts the process and waits until the faults of its experiment are on.
    #[track_caller]
    pub fn start_with_faults_on(self) -> Glooshot {
        let glooshot = self.start();
        glooshot.wait_for_line("faults on", |line| says(line, "faults on"));
        glooshot
    }

    /// Starts the process without waiting for anything.
    pub fn spawn(self) -> Glooshot {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glooshot"));
        let file = self.experiment.map(|yaml| {
            let mut file = NamedTempFile::with_suffix(".yaml").unwrap();
            file.write_all(yaml.as_bytes()).unwrap();
            file
        });
        match &file {
            Some(file) => command.arg("run").arg("-f").arg(file.path()),
            None => command.arg("proxy"),
        };
        for route in &self.routes {
            command.args(["--route", route]);
        }
        if !self.without_metrics {
            command.args(["--listen-metrics", "127.0.0.1:0"]);
        }
        if !self.arguments.iter().any(|argument| argument == "--workers") {
            command.args(["--workers", "1"]);
        }
        command.args(&self.arguments).env_remove("RUST_LOG").envs(self.environment);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::<Lines>::default();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut stdout = child.stdout.take().unwrap();
        let collector = {
            let lines = lines.clone();
            thread::spawn(move || collect(stderr, &lines))
        };
        let output = thread::spawn(move || {
            let mut text = String::new();
            let _read = stdout.read_to_string(&mut text);
            text
        });
        Glooshot {
            child,
            lines,
            collector: Some(collector),
            output: Some(output),
            listening: Vec::new(),
            metrics_address: None,
            _file: file,
        }
    }
}

/// Whether a line of progress begins with `what`, in any case of letters.
pub fn says(line: &str, what: &str) -> bool {
    line.get(..what.len()).is_some_and(|start| start.eq_ignore_ascii_case(what))
}

#[derive(Debug, Default)]
struct Lines {
    lines: Mutex<(Vec<String>, bool)>,
    news: Condvar,
}

fn collect(stderr: impl BufRead, lines: &Lines) {
    for line in stderr.split(b'\n').map_while(Result::ok) {
        lines.lines.lock().unwrap().0.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        lines.news.notify_all();
    }
    lines.lines.lock().unwrap().1 = true;
    lines.news.notify_all();
}

/// A running process; killed when it is dropped.
#[derive(Debug)]
pub struct Glooshot {
    child: Child,
    lines: Arc<Lines>,
    collector: Option<JoinHandle<()>>,
    output: Option<JoinHandle<String>>,
    listening: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    _file: Option<NamedTempFile>,
}

impl Glooshot {
    /// `glooshot proxy` in front of `upstream`, with default settings.
    #[track_caller]
    pub fn before(upstream: &Upstream) -> Self {
        Setup::proxy().to(upstream.address()).start()
    }

    /// Where the first route listens.
    pub fn address(&self) -> SocketAddr {
        self.listening[0]
    }

    /// Where the route number `index` listens.
    pub fn address_of(&self, index: usize) -> SocketAddr {
        self.listening[index]
    }

    /// A new connection to the first route.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// The lines of standard error so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lines.lock().unwrap().0.clone()
    }

    /// Waits for a line of standard error that satisfies `is_it`; fails the test when the process ends without it.
    #[track_caller]
    pub fn wait_for_line(&self, what: &str, is_it: impl Fn(&str) -> bool) {
        let found = |lines: &[String]| lines.iter().any(|line| is_it(line));
        let state = self.lines.lines.lock().unwrap();
        let (state, _timeout) =
            self.lines.news.wait_timeout_while(state, 2 * PATIENCE, |(lines, ended)| !found(lines) && !*ended).unwrap();
        let missing = (!found(&state.0)).then(|| state.0.clone());
        // Failing while the lines are locked would make their reader fail too.
        drop(state);
        assert!(missing.is_none(), "no line {what:?} on standard error: {missing:#?}");
    }

    /// Where its metrics and its health are served.
    #[track_caller]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address.expect("the process printed where its metrics are")
    }

    /// Its figures as they are now.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::scrape(self.metrics_address())
    }

    /// Waits until the sum of the figure `name` over all series with `labels` is `expected`.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let mut last = f64::NAN;
        let reached = try_within(Duration::from_secs(3), || {
            last = self.metrics().sum(name, labels);
            (last == expected).then_some(())
        });
        assert!(reached.is_some(), "{name}{labels:?} is {last}, not {expected}");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait_for_exit(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "the process ends", || self.child.try_wait().unwrap())
    }

    /// How it has ended, if it does within `limit`.
    pub fn try_wait_for_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        try_within(limit, || self.child.try_wait().unwrap())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All of standard output; only after the end.
    pub fn output(&mut self) -> String {
        self.output.take().map(|output| output.join().unwrap()).unwrap_or_default()
    }

    /// All lines of standard error; only after the end.
    pub fn all_lines(&mut self) -> Vec<String> {
        if let Some(collector) = self.collector.take() {
            collector.join().unwrap();
        }
        self.lines()
    }

    /// The processor time that it has used, user and system.
    pub fn processor_time(&self) -> Duration {
        const TICKS_PER_SECOND: u64 = 100;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The second field is the command in parentheses; after it, fields 14 and 15 of the whole are the times.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').collect::<Vec<_>>();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Glooshot {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
        if thread::panicking() {
            let lines = self.all_lines();
            let from = lines.len().saturating_sub(60);
            eprintln!("--- standard error of the process under test ---\n{}\n---", lines[from..].join("\n"));
        }
    }
}
