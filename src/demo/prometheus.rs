//! A real Prometheus as a child process, that scrapes this process every second and never outlives it.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::engine::{
    Prometheus,
    condition::{PrometheusUrlError, QUERY_TIMEOUT},
};

/// Time until it has scraped us for the first time.
const READY: Duration = Duration::from_secs(60);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(100);
/// Tries to start it: another process may take the free port that was found for it.
const ATTEMPTS: u32 = 3;
/// Is 1 once it has scraped us, which it can only do when it is ready.
const SCRAPED: &str = "scalar(up{job=\"glooshot\"})";
/// Bytes of its log that are shown when it ends by itself.
const LOG_TAIL: u64 = 2_000;

/// Why there is no Prometheus: always the environment's fault.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// There is no such program.
    #[error(
        "there is no program {0:?} here; install it, as in: apt-get install prometheus\n\
         or say where it is, as in: glooshot demo --prometheus=/opt/prometheus/prometheus"
    )]
    NotFound(PathBuf),
    /// Its directory cannot be written, or it cannot be started.
    #[error("cannot start Prometheus: {0}")]
    Start(#[from] io::Error),
    /// It ended by itself.
    #[error("Prometheus ended by itself ({status}); its last words:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It runs and does not scrape us.
    #[error("Prometheus was not ready after {READY:?}: {0}")]
    NotReady(String),
    /// No client could be made for it.
    #[error(transparent)]
    Client(#[from] PrometheusUrlError),
}

/// A Prometheus that runs. Dropped, it is killed, waited for, and its directory is removed.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
    client: Prometheus,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It fails when the child has ended already, which is just as well.
        let _ = self.child.kill();
        if let Err(error) = self.child.wait() {
            tracing::warn!(%error, "Prometheus could not be waited for");
        }
    }
}

impl Server {
    /// Starts `program` and returns when it has scraped `metrics` for the first time.
    ///
    /// # Cancellation
    /// Dropping the future ends the child.
    ///
    /// # Caveats
    /// To be called on a thread that lives as long as the process: the child dies with it, also by kill -9, where the
    /// program `setpriv` is there to arrange that.
    pub(super) async fn start(program: &Path, metrics: SocketAddr) -> Result<Self, PrometheusError> {
        let found = find(program).ok_or_else(|| PrometheusError::NotFound(program.to_owned()))?;
        let mut guardian = find(Path::new("setpriv"));
        let mut attempts = 1..=ATTEMPTS;
        loop {
            let mut server = Self::spawn(&found, guardian.as_deref(), metrics)?;
            match server.ready().await {
                Ok(()) => return Ok(server),
                Err(PrometheusError::Ended { log, .. }) if log.contains("setpriv") && guardian.is_some() => {
                    // Not every setpriv knows --pdeathsig.
                    guardian = None;
                }
                Err(PrometheusError::Ended { log, .. })
                    if log.contains("address already in use") && attempts.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(program: &Path, guardian: Option<&Path>, metrics: SocketAddr) -> Result<Self, PrometheusError> {
        let directory = tempfile::Builder::new().prefix("glooshot-demo-").tempdir()?;
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, configuration(metrics))?;
        let log = File::create(directory.path().join("log"))?;
        let address = free_address()?;
        let client = Prometheus::new(&format!("http://{address}"), QUERY_TIMEOUT)?;
        let mut command = match guardian {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let child = command
            .arg(option("--config.file", &file))
            .arg(option("--storage.tsdb.path", &directory.path().join("data")))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C on the terminal is for us, and we end it in our own order.
            .process_group(0)
            .spawn()?;
        Ok(Self { child, directory, address, client })
    }

    async fn ready(&mut self) -> Result<(), PrometheusError> {
        let deadline = Instant::now() + READY;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(PrometheusError::Ended { status, log: self.log() });
            }
            let problem = match self.client.query(SCRAPED, Timestamp::now()).await {
                Ok(1.0) => return Ok(()),
                Ok(_) => "it has not scraped the metrics of this process".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(PrometheusError::NotReady(problem));
            }
            sleep(LOOK).await;
        }
    }

    /// The client that experiments ask.
    pub(super) fn client(&self) -> &Prometheus {
        &self.client
    }

    /// Where a person can look at it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The last lines that it wrote.
    fn log(&self) -> String {
        tail(&self.directory.path().join("log")).unwrap_or_else(|error| format!("its log cannot be read: {error}"))
    }
}

fn tail(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn option(name: &str, value: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push("=");
    option.push(value);
    option
}

/// It scrapes only us, every second.
fn configuration(metrics: SocketAddr) -> String {
    format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n\
         scrape_configs:\n- job_name: glooshot\n  static_configs:\n  - targets: ['{metrics}']\n"
    )
}

/// An address that nobody listens on at this moment.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A program: a path to it, or a name that is looked up on `PATH`.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return is_executable(program).then(|| program.to_owned());
    }
    find_in(&env::var_os("PATH")?, program)
}

fn find_in(path: &OsStr, program: &Path) -> Option<PathBuf> {
    env::split_paths(path).map(|directory| directory.join(program)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn program(directory: &Path, name: &str, script: &str) -> PathBuf {
        let file = directory.join(name);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        file
    }

    #[test]
    fn a_program_is_looked_up_on_the_path_and_must_be_executable() {
        let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::write(one.path().join("prometheus"), "no program").unwrap();
        let real = program(two.path(), "prometheus", "#!/bin/sh\n");
        let path = env::join_paths([one.path(), two.path()]).unwrap();
        assert_eq!(find_in(&path, Path::new("prometheus")), Some(real.clone()));
        assert_eq!(find_in(&path, Path::new("prometheus2")), None);
        assert_eq!(find(&real), Some(real));
        assert_eq!(find(&one.path().join("prometheus")), None);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_said_with_the_way_to_install_it() {
        let metrics = free_address().unwrap();
        let error = Server::start(Path::new("/nowhere/prometheus"), metrics).await.unwrap_err();
        assert!(error.to_string().contains("apt-get install prometheus"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_ends_at_once_is_quoted() {
        let directory = TempDir::new().unwrap();
        let file = program(directory.path(), "prometheus", "#!/bin/sh\necho my last words >&2\nexit 3\n");
        let error = Server::start(&file, free_address().unwrap()).await.unwrap_err();
        assert!(matches!(&error, PrometheusError::Ended { log, .. } if log == "my last words"), "{error}");
    }
}
