//! Which request is due when: the one place in which the paces differ.
//!
//! Every core has a share of its own, so that none asks another: of regular arrivals every n-th one, of a
//! Poisson process a Poisson process with the n-th part of the rate.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::config::{Arrivals, Limit, Pace};
use crate::profile::Profile;

/// Most points at which the waiting times of unsent requests are sampled.
const UNSENT_POINTS: u64 = 10_000;

/// Parts in which the cores take the requests of a closed loop with a count: enough that they end together.
const CLAIMS: u64 = 1_000;

/// What all cores' shares have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    cores: u64,
    end: Option<Duration>,
    count: Option<u64>,
    /// `None` for the closed loop.
    open_loop: Option<(Profile, Arrivals)>,
    /// Of a closed loop with a count: how many the cores have taken already.
    claimed: AtomicU64,
}

impl Plan {
    pub(crate) fn new(pace: &Pace, limit: Limit, cores: usize) -> Self {
        let open_loop = pace.open_loop();
        let profile_end = open_loop.as_ref().and_then(|(profile, _)| profile.duration());
        let end = limit.duration.into_iter().chain(profile_end).min();
        Self { cores: cores as u64, end, count: limit.count, open_loop, claimed: AtomicU64::new(0) }
    }

    pub(crate) fn is_open_loop(&self) -> bool {
        self.open_loop.is_some()
    }

    /// The part of `count` that falls to `core` if it is dealt out in turn.
    fn share(&self, core: u64, count: u64) -> u64 {
        count.saturating_sub(core).div_ceil(self.cores)
    }
}

/// Hands out the requests of one core.
#[derive(Debug)]
pub(crate) struct Schedule {
    plan: Arc<Plan>,
    core: u64,
    start: Instant,
    end: Option<Instant>,
    /// Requests of this core in the whole run, where that is known beforehand.
    total: u64,
    taken: Cell<u64>,
    /// Of a closed loop with a count: how many are claimed and not yet taken.
    in_hand: Cell<u64>,
    /// Of a Poisson process: where the next request lies, in requests of the whole run.
    next: Cell<f64>,
    rng: RefCell<Rng>,
}

/// One request that may be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slot {
    /// When it is due; `None` for at once.
    pub(crate) due: Option<Instant>,
}

impl Schedule {
    pub(crate) fn new(plan: Arc<Plan>, core: usize, start: Instant, mut rng: Rng) -> Self {
        let core = core as u64;
        let end = plan.end.and_then(|end| start.checked_add(end));
        let mut total = plan.count.unwrap_or(u64::MAX);
        if let (Some(end), Some((profile, Arrivals::Regular))) = (plan.end, &plan.open_loop) {
            total = total.min(profile.count_within(end.as_secs_f64()));
        }
        let next = Cell::new(plan.cores as f64 * exponential(&mut rng));
        let total = if plan.open_loop.is_some() { plan.share(core, total) } else { total };
        let (taken, in_hand, rng) = (Cell::new(0), Cell::new(0), RefCell::new(rng));
        Self { plan, core, start, end, total, taken, in_hand, next, rng }
    }

    /// Takes the next request, or `None` when the run is over.
    pub(crate) fn take(&self, now: Instant) -> Option<Slot> {
        if self.end.is_some_and(|end| now >= end) {
            return None;
        }
        let Some((profile, arrivals)) = &self.plan.open_loop else {
            return self.claim().then_some(Slot { due: None });
        };
        let taken = self.taken.get();
        if taken >= self.total {
            return None;
        }
        let due = self.at(profile.when(self.position(taken))?)?;
        if *arrivals == Arrivals::Poisson {
            if self.end.is_some_and(|end| due >= end) {
                return None;
            }
            let distance = self.plan.cores as f64 * exponential(&mut self.rng.borrow_mut());
            self.next.set(self.next.get() + distance);
        }
        self.taken.set(taken + 1);
        Some(Slot { due: Some(due) })
    }

    /// Takes one request of a closed loop.
    fn claim(&self) -> bool {
        if self.plan.count.is_none() {
            return true;
        }
        if self.in_hand.get() == 0 {
            self.in_hand.set(self.claim_some());
        }
        let left = self.in_hand.get().checked_sub(1);
        self.in_hand.set(left.unwrap_or(0));
        left.is_some()
    }

    fn claim_some(&self) -> u64 {
        let part = (self.total / CLAIMS / self.plan.cores).max(1);
        let claimed = self.plan.claimed.fetch_add(part, Ordering::Relaxed);
        part.min(self.total.saturating_sub(claimed))
    }

    /// Where request `index` of this core lies among the requests of the whole run. Of a Poisson process only
    /// the next one has been drawn; the others are taken to lie at equal distances around it.
    fn position(&self, index: u64) -> f64 {
        let cores = self.plan.cores as f64;
        match &self.plan.open_loop {
            Some((_, Arrivals::Poisson)) => self.next.get() + (index as f64 - self.taken.get() as f64) * cores,
            _ => self.core as f64 + index as f64 * cores,
        }
    }

    fn at(&self, seconds: f64) -> Option<Instant> {
        self.start.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
    }

    /// Requests of this core that are due each second, at this time; 0 for the closed loop.
    pub(crate) fn rate_at(&self, moment: Instant) -> f64 {
        let seconds = moment.saturating_duration_since(self.start).as_secs_f64();
        let profile = self.plan.open_loop.as_ref().map(|(profile, _)| profile);
        profile.map_or(0.0, |profile| profile.rate_at(seconds) / self.plan.cores as f64)
    }

    /// How many requests of this core are due before `moment`; `None` for the closed loop, where none ever is.
    pub(crate) fn due_by(&self, moment: Instant) -> Option<u64> {
        let (profile, arrivals) = self.plan.open_loop.as_ref()?;
        let seconds = self.stopped_at(moment).saturating_duration_since(self.start).as_secs_f64();
        let due = match arrivals {
            Arrivals::Regular => self.plan.share(self.core, profile.count_within(seconds)),
            Arrivals::Poisson => {
                let behind = (profile.due_within(seconds) - self.position(0)) / self.plan.cores as f64;
                behind.ceil().max(0.0) as u64
            }
        };
        Some(due.min(self.total))
    }

    /// How long the requests of this core had waited that were due and of which only `started` were sent, in a
    /// run that stopped at `now`: times, each with the number of requests that it stands for.
    ///
    /// Many are put together in groups, so that the work stays bounded.
    pub(crate) fn unsent(&self, started: u64, now: Instant) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let stopped = self.stopped_at(now);
        let due = self.due_by(stopped).unwrap_or(started);
        let group = due.saturating_sub(started).div_ceil(UNSENT_POINTS).max(1);
        (0..UNSENT_POINTS).map(move |point| started + point * group).take_while(move |first| *first < due).map(
            move |first| {
                let size = group.min(due - first);
                let middle = self.position(first + (size - 1) / 2);
                let due = self.plan.open_loop.as_ref().and_then(|(profile, _)| self.at(profile.when(middle)?));
                (due.map_or(Duration::ZERO, |due| stopped.saturating_duration_since(due)), size)
            },
        )
    }

    pub(crate) fn is_closed_loop(&self) -> bool {
        self.plan.open_loop.is_none()
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// The moment up to which requests were due in a run that stopped at `now`.
    fn stopped_at(&self, now: Instant) -> Instant {
        self.end.map_or(now, |end| end.min(now))
    }
}

/// A draw from the exponential distribution with mean 1.
fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedules(pace: &Pace, limit: Limit, cores: usize) -> Vec<Schedule> {
        let start = Instant::now();
        let plan = Arc::new(Plan::new(pace, limit, cores));
        (0..cores).map(|core| Schedule::new(Arc::clone(&plan), core, start, Rng::with_seed(7 + core as u64))).collect()
    }

    fn constant(rate_per_second: f64, limit: Limit) -> Schedule {
        schedules(&Pace::Constant { rate_per_second, connections: 1 }, limit, 1).remove(0)
    }

    fn open(profile: &str, arrivals: Arrivals) -> Pace {
        Pace::Open { profile: profile.parse().unwrap(), arrivals, connections: 1 }
    }

    fn seconds(seconds: u64, count: Option<u64>) -> Limit {
        Limit { duration: Some(Duration::from_secs(seconds)), count }
    }

    /// Due times of all requests of all schedules in seconds from the start, in order.
    fn all_due(schedules: &[Schedule]) -> Vec<f64> {
        let seconds = |schedule: &Schedule, slot: Slot| slot.due.unwrap().duration_since(schedule.start).as_secs_f64();
        let of_one = |schedule: &Schedule| {
            std::iter::from_fn(|| Some(seconds(schedule, schedule.take(schedule.start)?))).collect::<Vec<f64>>()
        };
        let mut all: Vec<f64> = schedules.iter().flat_map(of_one).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn a_constant_rate_is_due_at_equal_distances_from_the_start() {
        let schedule = constant(4.0, Limit::default());
        for index in 0..5_u32 {
            assert_eq!(schedule.take(schedule.start).unwrap().due, Some(schedule.start + 250 * MS * index));
        }
    }

    #[test]
    fn the_shares_of_all_cores_together_are_the_schedule_of_one() {
        for pace in [Pace::Constant { rate_per_second: 70.0, connections: 9 }, open("0..90 for 5s", Arrivals::Regular)]
        {
            for count in [None, Some(200)] {
                let whole = all_due(&schedules(&pace, seconds(5, count), 1));
                let parts = all_due(&schedules(&pace, seconds(5, count), 3));
                assert_eq!(whole, parts, "{pace} {count:?}");
            }
        }
    }

    #[test]
    fn a_duration_allows_exactly_the_requests_that_are_due_within_it() {
        assert_eq!(all_due(&[constant(10.0, seconds(1, None))]).len(), 10);
        let ramp = schedules(&open("0..10 for 10s", Arrivals::Regular), Limit::default(), 2);
        assert_eq!(all_due(&ramp).len(), 50, "half of ten seconds at ten per second");
    }

    #[test]
    fn a_ramp_has_as_many_requests_in_each_second_as_its_rate_says() {
        let due = all_due(&schedules(&open("0..1000 for 10s", Arrivals::Regular), Limit::default(), 2));
        for second in 0..10 {
            let from = f64::from(second);
            let within = due.iter().filter(|due| (from..from + 1.0).contains(*due)).count() as f64;
            assert!((within - (100.0 * from + 50.0)).abs() <= 1.0, "{within} in second {second}");
        }
    }

    #[test]
    fn nothing_is_handed_out_after_the_end_in_either_pace() {
        let limit = Limit { duration: Some(MS), count: None };
        let open = constant(1e6, limit);
        assert_eq!(open.take(open.start + MS), None);
        let closed = schedules(&Pace::Closed { connections: 1 }, limit, 1).remove(0);
        assert!(closed.take(closed.start).is_some());
        assert_eq!(closed.take(closed.start + MS), None);
    }

    #[test]
    fn the_smaller_of_count_and_duration_decides() {
        let late = |schedule: &Schedule| schedule.due_by(schedule.start + 5000 * MS);
        assert_eq!(late(&constant(10.0, seconds(1, Some(3)))), Some(3));
        assert_eq!(late(&constant(10.0, seconds(1, Some(30)))), Some(10));
        let schedule = constant(10.0, seconds(1, Some(30)));
        assert_eq!(schedule.due_by(schedule.start + 250 * MS), Some(3));
    }

    #[test]
    fn the_cores_of_a_closed_loop_take_exactly_the_count() {
        for count in [1, 7, 100_003] {
            let limit = Limit { duration: None, count: Some(count) };
            let schedules = schedules(&Pace::Closed { connections: 4 }, limit, 3);
            // In turn, as threads would.
            let in_turn = || schedules.iter().filter(|schedule| schedule.take(schedule.start).is_some()).count() as u64;
            let taken: u64 = std::iter::repeat_with(in_turn).take_while(|taken| *taken > 0).sum();
            assert_eq!(taken, count);
        }
    }

    #[test]
    fn the_distances_of_a_poisson_process_have_the_mean_and_variance_of_its_rate() {
        for cores in [1, 3] {
            let due = all_due(&schedules(&open("1000 for 100s", Arrivals::Poisson), Limit::default(), cores));
            // 100000 ± 5 sigma.
            assert!((due.len() as f64 - 1e5).abs() < 5.0 * 1e5_f64.sqrt(), "{}", due.len());
            let distances: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let count = distances.len() as f64;
            let mean = distances.iter().sum::<f64>() / count;
            let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / count;
            // The standard errors are 1/sqrt(n) of the mean and sqrt(8/n) of the variance.
            assert!((mean * 1e3 - 1.0).abs() < 5.0 / count.sqrt(), "{cores} cores: {mean}");
            assert!((variance * 1e6 - 1.0).abs() < 5.0 * (8.0 / count).sqrt(), "{cores} cores: {variance}");
        }
    }

    #[test]
    fn a_poisson_process_follows_a_ramp() {
        let due = all_due(&schedules(&open("0..2000 for 10s", Arrivals::Poisson), Limit::default(), 2));
        let early = due.iter().filter(|due| **due < 5.0).count() as f64;
        assert!((early - 2500.0).abs() < 5.0 * 2500.0_f64.sqrt(), "{early}");
        assert!((due.len() as f64 - 10_000.0).abs() < 500.0, "{}", due.len());
    }

    #[test]
    fn what_is_left_of_a_poisson_process_counts_with_its_mean() {
        let schedule = schedules(&open("1000 for 10s", Arrivals::Poisson), Limit::default(), 1).remove(0);
        for _ in 0..1000 {
            schedule.take(schedule.start).unwrap();
        }
        let end = schedule.start + 10_000 * MS;
        let unsent: u64 = schedule.unsent(1000, end).map(|(_, count)| count).sum();
        assert_eq!(unsent, schedule.due_by(end).unwrap() - 1000);
        assert!((unsent as f64 - 9000.0).abs() < 5.0 * 1000.0_f64.sqrt(), "{unsent}");
    }

    #[test]
    fn unsent_requests_have_waited_since_they_were_due() {
        let schedule = constant(100_000.0, seconds(1, None));
        let end = schedule.start + 1000 * MS;
        let unsent: Vec<_> = schedule.unsent(1, end).collect();
        assert!(unsent.len() as u64 <= UNSENT_POINTS);
        assert_eq!(unsent.iter().map(|(_, count)| count).sum::<u64>(), 99_999);
        let mean = unsent.iter().map(|(waited, count)| waited.as_secs_f64() * *count as f64).sum::<f64>() / 99_999.0;
        assert!((mean - 0.5).abs() < 1e-4, "{mean}");
    }
}
