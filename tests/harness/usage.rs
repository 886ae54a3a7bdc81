//! What the kernel says about the process under test: its memory and its processor time.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{glooshot::Glooshot, patience::within};

const KIB: u64 = 1024;

impl Glooshot {
    /// What `act` gives, and by how many bytes the process has grown at the most meanwhile.
    pub fn growth_during<T>(&self, act: impl FnOnce() -> T) -> (T, u64) {
        // 5 makes the peak the present size (proc(5)).
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
        let before = self.memory("VmRSS:").saturating_sub(self.memory("RssFile:"));
        let result = act();
        // Pages of the program itself that are needed for the first time are no memory that a peer has cost.
        (result, self.memory("VmHWM:").saturating_sub(self.memory("RssFile:")).saturating_sub(before))
    }

    /// Waits until it uses hardly any processor time.
    #[track_caller]
    pub fn wait_until_idle(&self, limit: Duration) {
        const WINDOW: Duration = Duration::from_millis(200);
        let mut since = (Instant::now(), self.processor_time());
        within(limit, "the process is idle", || {
            let now = Instant::now();
            if now.duration_since(since.0) < WINDOW {
                return None;
            }
            let used = self.processor_time() - since.1;
            since = (now, self.processor_time());
            // Two ticks of the kernel's clock.
            (used <= Duration::from_millis(20)).then_some(())
        });
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * KIB
    }
}
