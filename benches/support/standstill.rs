//! The moments in which the machine itself stood still: what runs under a hypervisor loses its processors for milliseconds, and no
//! priority helps.
//!
//! A thread on each core asks to be woken every millisecond, with a priority in real time (sched(7), FIFO). No usual thread can keep
//! it waiting, whatever it does: where it is late, its core was taken from all of us.

use std::{
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, gettid, sched_setaffinity};

/// Between two looks.
const BEAT: Duration = Duration::from_millis(1);
/// Who is woken so late was kept from its core. In a quiet machine it is less than a tenth of this.
const LATE: Duration = Duration::from_micros(500);
/// A thread that has not looked for this long is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The threads that look; they end when this is dropped.
#[derive(Debug)]
pub struct Standstills {
    cores: Vec<Arc<Mutex<Core>>>,
}

/// One core, as seen by its thread.
#[derive(Debug)]
struct Core {
    seen_until: Instant,
    late: Vec<Span>,
}

/// A time, from its begin to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub begin: Instant,
    pub end: Instant,
}

impl Standstills {
    /// Begins to look at these cores; `None` where the system gives us no priority in real time: then nothing is known.
    pub fn watch(cores: impl IntoIterator<Item = usize>) -> Option<Self> {
        let watches = cores.into_iter().map(|core| {
            let seen = Arc::new(Mutex::new(Core { seen_until: Instant::now(), late: Vec::new() }));
            let (own, (told, hears)) = (Arc::downgrade(&seen), std::sync::mpsc::sync_channel(1));
            let look = move || {
                let may = goes_first_on(core);
                let _nobody_waits = told.send(may);
                if may {
                    look(&own);
                }
            };
            thread::Builder::new().name(format!("standstill-{core}")).spawn(look).ok()?;
            hears.recv().ok().filter(|may| *may).map(|_| seen)
        });
        Some(Self { cores: watches.collect::<Option<_>>()? })
    }

    /// Forgets what was seen so far.
    pub fn forget(&self) {
        self.cores.iter().for_each(|core| lock(core).late.clear());
    }

    /// When any core stood still, up to this moment or later.
    pub fn until(&self, moment: Instant) -> Vec<Span> {
        let seen = |core: &Arc<Mutex<Core>>| {
            let deadline = Instant::now() + PATIENCE;
            while lock(core).seen_until < moment && Instant::now() < deadline {
                thread::yield_now();
            }
            lock(core).late.clone()
        };
        self.cores.iter().flat_map(seen).collect()
    }
}

/// Whether a time was touched by a standstill, or by what had to be made good behind it, for which there is as long again.
pub fn touched(time: Span, standstills: &[Span]) -> bool {
    standstills.iter().any(|still| {
        let made_good = still.end + (still.end - still.begin);
        time.begin < made_good && still.begin < time.end
    })
}

/// Binds the thread that asks to a core, and gives it a priority in real time; says whether it got both.
fn goes_first_on(core: usize) -> bool {
    let mut only = CpuSet::new();
    only.set(core);
    let thread = gettid().as_raw_nonzero().to_string();
    let first = Command::new("chrt").args(["--fifo", "--pid", "1", &thread]).status();
    sched_setaffinity(None, &only).is_ok() && first.is_ok_and(|status| status.success())
}

/// Looks until nobody wants to know any more.
fn look(core: &Weak<Mutex<Core>>) {
    let mut last = Instant::now();
    while let Some(core) = core.upgrade() {
        pause(BEAT);
        let now = Instant::now();
        let due = last + BEAT;
        let mut core = lock(&core);
        if now.saturating_duration_since(due) > LATE {
            core.late.push(Span { begin: due, end: now });
        }
        core.seen_until = now;
        last = now;
    }
}

fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::disallowed_methods, reason = "how late it wakes up is what is measured")]
fn pause(duration: Duration) {
    thread::sleep(duration);
}
