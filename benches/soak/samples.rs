//! What the proxy's process holds while the load goes on: taken every two seconds, told every half minute.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    account::Account,
    support::{figures::mib, process::Running},
};

/// Between two samples.
const PAUSE: Duration = Duration::from_secs(2);
/// Samples between two lines of progress.
const LINES: usize = 15;

/// One look.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the beginning.
    pub at: Duration,
    /// Bytes of memory.
    pub resident: u64,
    pub descriptors: u64,
    pub threads: u64,
    /// Connections of clients.
    pub open: u64,
}

/// Takes samples.
#[derive(Debug)]
pub struct Sampler {
    begun: Instant,
    /// Before the load.
    pub before: Sample,
    pub samples: Vec<Sample>,
    /// By how much this thread's sleep was too long at the most: what the machine does to any thread.
    pub oversleep: Duration,
}

impl Sampler {
    /// Takes the first one.
    pub fn start(proxy: &Running) -> Self {
        let begun = Instant::now();
        println!(
            "{:>8} {:>12} {:>13} {:>9} {:>12} {:>10}",
            "time", "memory MiB", "descriptors", "threads", "connections", "requests"
        );
        Self { begun, before: look(proxy, begun), samples: Vec::new(), oversleep: Duration::ZERO }
    }

    /// Waits, and takes the next one.
    #[allow(clippy::disallowed_methods, reason = "the interval of the samples")]
    pub fn sample(&mut self, proxy: &Running, account: &Account) {
        let slept = Instant::now();
        thread::sleep(PAUSE);
        self.oversleep = self.oversleep.max(slept.elapsed().saturating_sub(PAUSE));
        let sample = look(proxy, self.begun);
        if self.samples.len().is_multiple_of(LINES) {
            let Sample { at, resident, descriptors, threads, open } = sample;
            let requests = account.sum(|_| true, |tally| tally.sent);
            println!(
                "{:>6.0} s {:>12.2} {descriptors:>13} {threads:>9} {open:>12} {requests:>10}",
                at.as_secs_f64(),
                mib(resident)
            );
        }
        self.samples.push(sample);
    }

    /// Looks once more.
    pub fn now(&self, proxy: &Running) -> Sample {
        look(proxy, self.begun)
    }
}

fn look(proxy: &Running, begun: Instant) -> Sample {
    let open = proxy.metrics().sum("glooshot_proxy_open_connections", &[]) as u64;
    let process = proxy.process();
    Sample {
        at: begun.elapsed(),
        resident: process.resident(),
        descriptors: process.descriptors(),
        threads: process.threads(),
        open,
    }
}
