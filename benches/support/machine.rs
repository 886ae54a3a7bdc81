//! What a result was measured on, with what, and when.

use std::{fs, process::Command};

use jiff::Timestamp;
use serde_json::{Value, json};

/// The machine, as its kernel describes it.
pub fn describe() -> Value {
    let line = |file: &str, field: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap_or("unknown").trim_start_matches(['\t', ' ', ':', '=']).trim_matches('"').to_owned()
    };
    // Not those that this process may use: a bench binds itself to one.
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let memory = line("/proc/meminfo", "MemTotal:");
    let kibibytes = memory.trim_end_matches(" kB").parse::<u64>();
    json!({
        "cpu": line("/proc/cpuinfo", "model name"),
        "cores": cores,
        "memoryMiB": kibibytes.map_or(0, |kibibytes| kibibytes / 1_024),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "system": line("/etc/os-release", "PRETTY_NAME"),
        "architecture": std::env::consts::ARCH,
    })
}

/// The second in which this is called, in UTC.
pub fn date() -> String {
    format!("{:.0}", Timestamp::now())
}

/// What of ours is measured: its version, and the compiler.
pub fn versions() -> Value {
    json!({"glooshot": env!("CARGO_PKG_VERSION"), "rustc": first_line("rustc", &["--version"])})
}

/// The first line that a program says; nothing where there is no such program.
pub fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    // Some programs tell their version on standard error.
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&said).lines().next().map(ToOwned::to_owned)
}
