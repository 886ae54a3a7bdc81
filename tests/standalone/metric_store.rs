//! A real Prometheus as a process, which scrapes every second what it is told to.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use tempfile::TempDir;

use super::program::{Program, free_address};
use crate::harness::Glooshot;

/// A running Prometheus.
#[derive(Debug)]
pub struct MetricStore {
    _program: Program,
    folder: TempDir,
    /// Its address, as `--prometheus-url` takes it.
    pub url: String,
}

impl MetricStore {
    /// Starts it, without anything to scrape.
    #[track_caller]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(
            at("prometheus.yml"),
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n\
             scrape_configs:\n\
             - job_name: glooshot\n  file_sd_configs: [{files: [targets.yml], refresh_interval: 1s}]\n",
        )
        .unwrap();
        let address = free_address(Ipv4Addr::LOCALHOST.into());
        let arguments = [
            format!("--config.file={}", at("prometheus.yml")),
            format!("--storage.tsdb.path={}", at("data")),
            format!("--web.listen-address={address}"),
        ];
        let arguments = arguments.each_ref().map(String::as_str);
        let is_ready = |line: &str| line.contains("Server is ready to receive web requests");
        let program = Program::start("prometheus", &arguments, is_ready);
        Self { _program: program, folder, url: format!("http://{address}") }
    }

    /// From now on it scrapes `run`.
    pub fn scrape(&self, run: &Glooshot) {
        let lines = run.lines();
        let address = lines.iter().find_map(|line| line.strip_prefix("metrics on ")).unwrap();
        self.scrape_at(address.parse().unwrap());
    }

    /// From now on it scrapes what is at this address.
    pub fn scrape_at(&self, address: SocketAddr) {
        let targets = self.folder.path().join("targets.yml");
        fs::write(targets, format!("- targets: ['{address}']\n")).unwrap();
    }
}
