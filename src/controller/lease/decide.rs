//! What is done about the Lease as it is seen; pure.
//!
//! Whoever holds it writes it every few seconds. It is free when nobody holds it, or when nobody has written it for as long as a
//! lease lasts, by our own clock since we saw the last change: no clock of another machine is believed.

use std::time::Duration;

use crate::proxy::Moment;

/// A Lease as the API server showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Who holds it; nobody after a polite release.
    pub(super) holder: Option<String>,
    /// How often its holder has changed.
    pub(super) transitions: u64,
    /// Changes with every write.
    pub(super) version: String,
}

impl Seen {
    /// Whether nobody holds it.
    pub(super) fn is_free(&self) -> bool {
        self.holder.as_deref().is_none_or(str::is_empty)
    }
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none: it is created, held by us.
    Create,
    /// It is free: our name is written into it, as this transition.
    Take {
        /// The number of the transition.
        transitions: u64,
    },
    /// It is ours: it is written again, so that the others see that we live.
    Renew,
    /// Somebody else holds it, and it becomes free after this time unless it is renewed.
    Wait(Duration),
}

/// What an elector remembers of the Lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// The version that was seen last, and when it was seen first.
    last: Option<(String, Moment)>,
}

impl Memory {
    /// What `me` does about the Lease, where a lease lasts for `length`.
    pub(super) fn decide(&mut self, me: &str, seen: Option<&Seen>, length: Duration, now: Moment) -> Step {
        let Some(seen) = seen else {
            self.last = None;
            return Step::Create;
        };
        if seen.is_free() {
            return Step::Take { transitions: seen.transitions + 1 };
        }
        if seen.holder.as_deref() == Some(me) {
            return Step::Renew;
        }
        let since = match &self.last {
            Some((version, since)) if *version == seen.version => *since,
            _ => {
                self.last = Some((seen.version.clone(), now));
                now
            }
        };
        match length.checked_sub(now.since(since)) {
            Some(left) if !left.is_zero() => Step::Wait(left),
            _ => Step::Take { transitions: seen.transitions + 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(15);

    fn seen(holder: Option<&str>, version: &str) -> Seen {
        Seen { holder: holder.map(ToOwned::to_owned), transitions: 4, version: version.to_owned() }
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(1_000_000_000_000).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_lease_that_is_missing_is_created_and_a_free_one_is_taken_at_once() {
        let mut memory = Memory::default();
        assert_eq!(memory.decide("a", None, LENGTH, at(0)), Step::Create);
        for nobody in [None, Some("")] {
            assert_eq!(memory.decide("a", Some(&seen(nobody, "1")), LENGTH, at(0)), Step::Take { transitions: 5 });
        }
    }

    #[test]
    fn our_own_is_renewed_however_old_it_is() {
        let mut memory = Memory::default();
        assert_eq!(memory.decide("a", Some(&seen(Some("a"), "1")), LENGTH, at(0)), Step::Renew);
        assert_eq!(memory.decide("a", Some(&seen(Some("a"), "1")), LENGTH, at(100)), Step::Renew);
    }

    #[test]
    fn another_s_is_taken_when_it_was_not_written_for_the_length_of_a_lease_by_our_clock() {
        let mut memory = Memory::default();
        let mut decide = |version, second| memory.decide("b", Some(&seen(Some("a"), version)), LENGTH, at(second));
        assert_eq!(decide("1", 0), Step::Wait(LENGTH), "when it was last written is not known");
        assert_eq!(decide("1", 14), Step::Wait(Duration::from_secs(1)));
        assert_eq!(decide("2", 14), Step::Wait(LENGTH), "it was written, whenever that was");
        assert_eq!(decide("2", 28), Step::Wait(Duration::from_secs(1)));
        assert_eq!(decide("2", 29), Step::Take { transitions: 5 });
    }

    #[test]
    fn a_holder_with_our_pod_s_name_from_an_earlier_process_is_another() {
        let mut memory = Memory::default();
        let step = memory.decide("pod_2", Some(&seen(Some("pod_1"), "1")), LENGTH, at(0));
        assert_eq!(step, Step::Wait(LENGTH));
    }

    #[test]
    fn a_lease_that_was_deleted_and_made_anew_is_watched_anew() {
        let mut memory = Memory::default();
        memory.decide("b", Some(&seen(Some("a"), "1")), LENGTH, at(0));
        assert_eq!(memory.decide("b", None, LENGTH, at(14)), Step::Create);
        assert_eq!(memory.decide("b", Some(&seen(Some("a"), "1")), LENGTH, at(15)), Step::Wait(LENGTH));
    }
}
