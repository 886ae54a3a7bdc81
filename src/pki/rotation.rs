//! What is due at this time: a pure decision over the lives of the certificates that there are.
//!
//! # Why no rotation cuts a connection
//! - A new authority is trusted (it is in the bundle) for [`Rule::overlap`] before it signs anything, so that everybody has the
//!   new bundle when the first certificate of it is shown.
//! - An old authority is trusted until [`Rule::overlap`] after the last certificate that it signed was replaced, so that a
//!   server that still shows that one is still believed.
//! - A leaf is renewed at two thirds of its life, so that a third of it is left for whatever goes wrong.

use std::time::{Duration, SystemTime};

/// A certificate begins this much before it is made: clocks of other machines may be late.
pub(super) const BACKDATED: Duration = Duration::from_secs(300);

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Life {
    /// When it was made.
    fn made(self) -> SystemTime {
        self.not_before + BACKDATED
    }

    /// Whether two thirds of it are over.
    fn is_ripe(self, now: SystemTime) -> bool {
        let whole = self.not_after.duration_since(self.not_before).unwrap_or_default();
        now >= self.not_before + whole / 3 * 2
    }

    /// Whether it is over.
    fn is_over(self, now: SystemTime) -> bool {
        now >= self.not_after
    }

    /// Whether it was made at least this long ago.
    fn is_older_than(self, age: Duration, now: SystemTime) -> bool {
        now >= self.made() + age
    }
}

/// How long certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// An authority.
    pub authority: Duration,
    /// A leaf; it never outlives its authority.
    pub leaf: Duration,
    /// How long everybody may take to hear of a change. Much shorter than a third of either life.
    pub overlap: Duration,
}

impl Default for Rule {
    /// A year, a month, and a day for everybody to hear of it.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self { authority: 365 * DAY, leaf: 30 * DAY, overlap: DAY }
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Everything anew: no authority is valid any more, so there is no trust left to keep.
    StartAnew,
    /// One more authority in the bundle; it signs nothing yet.
    AddAuthority,
    /// A new leaf, signed by the authority with this index (the oldest is 0).
    RenewLeaf {
        /// The index.
        signer: usize,
    },
    /// The oldest authority leaves the bundle.
    DropOldest,
}

/// The certificates that there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    /// The authorities, oldest first.
    pub(super) authorities: &'a [Life],
    /// Which of them signed the leaf.
    pub(super) signer: usize,
    /// The leaf.
    pub(super) leaf: Life,
    /// Whether the leaf is for the names that are wanted.
    pub(super) names_fit: bool,
}

/// What is due first; asked again after each step, until nothing is.
pub(super) fn due(state: State<'_>, rule: &Rule, now: SystemTime) -> Due {
    let Some(newest) = state.authorities.last().filter(|newest| !newest.is_over(now)) else {
        return Due::StartAnew;
    };
    if newest.is_ripe(now) {
        return Due::AddAuthority;
    }
    // The newest that everybody trusts by now; until then the one that signs anyway, as long as it lives.
    let known = state.authorities.iter().rposition(|life| life.is_older_than(rule.overlap, now) && !life.is_over(now));
    let alive = |index: &usize| state.authorities.get(*index).is_some_and(|life| !life.is_over(now));
    let signer = known.or_else(|| Some(state.signer).filter(alive)).unwrap_or(state.authorities.len() - 1);
    if state.signer != signer || !state.names_fit || state.leaf.is_ripe(now) {
        return Due::RenewLeaf { signer };
    }
    if state.signer > 0 && state.leaf.is_older_than(rule.overlap, now) {
        return Due::DropOldest;
    }
    Due::Nothing
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400;

    fn day(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * DAY + days * DAY)
    }

    /// A certificate that was made on the one day and ends on the other.
    fn life(made: u64, ends: u64) -> Life {
        Life { not_before: day(made) - BACKDATED, not_after: day(ends) }
    }

    /// What it is about; authorities, signer and leaf; today; what is due.
    type Case<'a> = (&'a str, &'a [Life], usize, Life, u64, Due);

    #[test]
    fn one_thing_is_due_at_a_time_and_in_this_order() {
        let old = life(0, 365);
        let new = life(244, 609);
        let table: [Case<'_>; 11] = [
            ("everything is young", &[old], 0, life(0, 30), 10, Due::Nothing),
            ("two thirds of the leaf are over", &[old], 0, life(0, 30), 20, Due::RenewLeaf { signer: 0 }),
            ("the leaf is over", &[old], 0, life(0, 30), 40, Due::RenewLeaf { signer: 0 }),
            ("two thirds of the authority are over", &[old], 0, life(240, 270), 244, Due::AddAuthority),
            ("the new one is not known to all yet", &[old, new], 0, life(240, 270), 244, Due::Nothing),
            ("it is known", &[old, new], 0, life(240, 270), 245, Due::RenewLeaf { signer: 1 }),
            ("the old leaf may still be shown", &[old, new], 1, life(245, 275), 245, Due::Nothing),
            ("nobody shows it any more", &[old, new], 1, life(245, 275), 246, Due::DropOldest),
            ("the old one has gone", &[new], 0, life(245, 275), 247, Due::Nothing),
            ("nobody looked for too long", &[old], 0, life(240, 270), 366, Due::StartAnew),
            ("the signer ended unseen", &[old, life(364, 729)], 0, life(340, 365), 365, Due::RenewLeaf { signer: 1 }),
        ];
        for (case, authorities, signer, leaf, today, expected) in table {
            let state = State { authorities, signer, leaf, names_fit: true };
            assert_eq!(due(state, &Rule::default(), day(today)), expected, "{case}");
        }
        let state = State { authorities: &[old], signer: 0, leaf: life(0, 30), names_fit: false };
        assert_eq!(due(state, &Rule::default(), day(1)), Due::RenewLeaf { signer: 0 }, "other names are wanted");
    }

    proptest! {
        /// Whoever looks at least once a day is, at every moment, believed by everybody whose bundle is up to a day old.
        #[test]
        fn a_leaf_is_always_trusted_by_the_bundle_of_a_day_ago(looks in prop::collection::vec(1u64..24, 1_000..1_500)) {
            let rule = Rule::default();
            let year = |now: SystemTime| Life { not_before: now - BACKDATED, not_after: now + rule.authority };
            let mut now = day(0);
            let mut authorities = vec![year(now)];
            let mut leaf = Life { not_before: now - BACKDATED, not_after: now + rule.leaf };
            let mut signed_by = authorities[0];
            // What was in the bundle, and which authority's leaf was shown, from when on.
            let mut bundles = vec![(now, authorities.clone())];
            let mut shown = vec![(now, signed_by)];
            for hours in looks {
                now += Duration::from_secs(hours * 3_600);
                for _ in 0..4 {
                    let signer = authorities.iter().position(|one| *one == signed_by).expect("its authority is kept");
                    match due(State { authorities: &authorities, signer, leaf, names_fit: true }, &rule, now) {
                        Due::Nothing => break,
                        Due::StartAnew => prop_assert!(false, "trust was lost"),
                        Due::AddAuthority => authorities.push(year(now)),
                        Due::RenewLeaf { signer } => {
                            signed_by = authorities[signer];
                            leaf = Life { not_before: now - BACKDATED, not_after: now + rule.leaf };
                        }
                        Due::DropOldest => drop(authorities.remove(0)),
                    }
                }
                bundles.push((now, authorities.clone()));
                shown.push((now, signed_by));
                prop_assert!(now < leaf.not_after);
                prop_assert!(authorities.len() <= 2);
                let then = now - Duration::from_secs(DAY - 1);
                let Some((_, bundle)) = bundles.iter().rev().find(|(at, _)| *at <= then) else { continue };
                prop_assert!(bundle.contains(&signed_by), "an old bundle does not believe the new leaf");
                let Some((_, old)) = shown.iter().rev().find(|(at, _)| *at <= then) else { continue };
                prop_assert!(authorities.contains(old), "the new bundle does not believe an old leaf");
            }
        }
    }
}
