//! Runs a command and measures its CPU time.

use std::{fs, process::Command, time::Duration};

/// What a command printed and used.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) output: String,
    pub(crate) cpu: Duration,
}

/// Runs it to its end. Nothing else that we start may end meanwhile: the CPU time is that of all ended children.
pub(crate) fn finish(mut command: Command) -> Finished {
    let before = cpu_of_ended_children();
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Finished { output: text.join("\n"), cpu: cpu_of_ended_children() - before }
}

fn cpu_of_ended_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    // cutime and cstime, the 16th and 17th field of proc(5); the first two are cut off.
    let ticks: u64 = fields.split(' ').skip(13).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    // Linux counts in hundredths of a second on every architecture that we build for.
    Duration::from_millis(ticks * 10)
}
