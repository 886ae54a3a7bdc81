//! What the kernel says about a process: memory, file descriptors, threads, processor time.

use std::{fs, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The kernel counts in hundredths of a second on every architecture that we build for.
const TICK: Duration = Duration::from_millis(10);

/// A process by its number.
#[derive(Clone, Copy, Debug)]
pub struct Process(u32);

impl Process {
    /// Another process.
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    /// This one.
    pub fn own() -> Self {
        Self(std::process::id())
    }

    fn path(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0)
    }

    fn status(self, field: &str) -> u64 {
        let status = fs::read_to_string(self.path("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Bytes of memory that it holds.
    pub fn resident(self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// The most bytes of memory that it has held since [`Process::forget_peak`], without the pages of the program itself that
    /// it has read by now: code that runs for the first time is no growth.
    pub fn peak(self) -> u64 {
        (self.status("VmHWM:") - self.status("RssFile:")) * 1024
    }

    /// Lets [`Process::peak`] begin anew (proc(5): 5 makes the peak the present size).
    pub fn forget_peak(self) {
        fs::write(self.path("clear_refs"), "5").unwrap();
    }

    /// Threads.
    pub fn threads(self) -> u64 {
        self.status("Threads:")
    }

    /// Open file descriptors.
    pub fn descriptors(self) -> u64 {
        fs::read_dir(self.path("fd")).unwrap().count() as u64
    }

    /// The processor time of all its threads that live.
    pub fn processor_time(self) -> Duration {
        let tasks = fs::read_dir(self.path("task")).unwrap().filter_map(Result::ok);
        let times = tasks.filter_map(|task| {
            // The first number is the time on a processor in nanoseconds; a thread may have ended meanwhile.
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_ascii_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
    }
}

/// The processor time of the thread that asks.
pub fn time_of_this_thread() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_ascii_whitespace().next().unwrap().parse().unwrap())
}

/// The processor time of everything on this machine, since it started.
pub fn time_of_the_machine() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let all: Vec<u32> =
        stat.lines().next().unwrap().split_ascii_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
    // user, nice, system, then idle and iowait, which are no work; irq, softirq.
    let busy = all[0] + all[1] + all[2] + all[5] + all[6];
    TICK * busy
}

/// Lets this process and its children have as many file descriptors as it may; says how many.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _refused = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
