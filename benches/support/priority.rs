//! Sees to it that a bench measures what it does itself, and not what else goes on on this machine.

use std::{fs, process::Command};

use rustix::{
    process::{Signal, getpid, getsid, set_parent_process_death_signal, setpriority_process, setsid},
    thread::gettid,
};

/// How far we go before others: the kernel gives us some thirty times the share of a usual process.
const NICE: i32 = -15;

/// Goes before other processes, with all that is started from now on; says whether the system let us.
pub fn go_first() -> bool {
    // The kernel shares the processor among sessions first (sched(7), autogroup), so that we need one of our own.
    // Whoever leads one already has it.
    if setsid().is_err() && getsid(None).ok() != Some(getpid()) {
        return false;
    }
    // Ctrl-C does not reach another session, but it ends cargo, which started us.
    let _stays_if_cargo_does_not = set_parent_process_death_signal(Some(Signal::TERM));
    let _no_autogroups_here = fs::write("/proc/self/autogroup", NICE.to_string());
    setpriority_process(None, NICE).is_ok()
}

/// Lets all other threads go before the one that asks, and those that it starts: what stands for another machine must not take
/// this one's processor. A thread of the policy IDLE (sched(7)) gives way in the moment in which any other wakes up; a worse
/// priority alone lets it go on to the end of its slice, which is milliseconds.
pub fn step_back() {
    let thread = gettid().as_raw_nonzero().to_string();
    let idle = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    if !idle.is_ok_and(|status| status.success()) {
        let _there_is_no_such_priority = setpriority_process(None, 0);
    }
}
