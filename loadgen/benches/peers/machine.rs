//! Where and with what was measured: results mean nothing without.

use std::{fs, process::Command};

use serde_json::{Value, json};

/// The machine, its kernel, the date, and the versions of `programs`, each with the arguments that ask for it.
pub(crate) fn describe(programs: &[(&str, &[&str])]) -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let versions = programs.iter().map(|(name, args)| ((*name).to_owned(), version(name, args)));
    json!({
        "date": first_line("date", &["-u", "+%F"]),
        "cpu": model.trim_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim(),
        "versions": versions.collect::<serde_json::Map<_, _>>(),
    })
}

fn version(program: &str, args: &[&str]) -> Value {
    match args {
        // One that does not say it of itself came as a package.
        [] => json!(first_line("dpkg-query", &["-W", "-f", "${Version}", program])),
        _ => json!(first_line(program, args)),
    }
}

/// What a command prints first, of which only what looks like a version is kept.
fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let line = text.lines().next()?;
    let word = line.split([' ', '/']).find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    Some(word.unwrap_or(line).to_owned())
}
