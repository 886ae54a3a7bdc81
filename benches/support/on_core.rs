//! A command on one core, which ends with whoever started it.

use std::process::{Command, Stdio};

/// A command that runs on this core alone, and is killed when the thread that starts it ends.
pub fn on_core(core: usize, program: &str, args: &[String]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c", &core.to_string(), program]).args(args).stdin(Stdio::null());
    command
}
