//! Which place of a group is next: in turn, and where there are many, for a moment in turn among a few of them.
//!
//! A connection that was not used for some milliseconds has left the processor's caches, and a request over it costs a sixth more,
//! most of it in the kernel. So a large group is seen through a window (Finagle's balancers call it an aperture) that moves on over all of its
//! endpoints. An endpoint in the window is used again only while a connection to it waits that was used a moment ago. One that is
//! still answering is not: the next one outside is, so that slow endpoints get no more requests at a time than in turn.

/// Endpoints in a window: more than a core mostly has requests in flight, and a prime, so that the rounds of no common number of
/// endpoints are all alike.
const WINDOW: usize = 127;
/// One of so many requests goes to the next endpoint outside, and the window moves on by one.
const STAY: usize = 32;

/// How far one group has been gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aperture {
    picks: usize,
    /// The place at which the window begins.
    first: usize,
}

impl Aperture {
    /// One that begins at this place; the places of a group with fewer are counted again from its first.
    pub(crate) const fn beginning_at(place: u32) -> Self {
        Self { picks: place as usize, first: place as usize }
    }

    /// The next place in a group of `count`, and what comes behind it. `None` when it has none.
    pub(crate) fn next(self, count: usize, is_warm: impl FnOnce(usize) -> bool) -> Option<(usize, Self)> {
        let Self { picks, first } = self;
        let picked = picks.wrapping_add(1);
        if count <= WINDOW {
            return Some((picks.checked_rem(count)?, Self { picks: picked, first }));
        }
        let inside = (first + picks % WINDOW) % count;
        if picks % STAY != 0 && is_warm(inside) {
            return Some((inside, Self { picks: picked, first }));
        }
        Some(((first + WINDOW) % count, Self { picks: picked, first: (first + 1) % count }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The places of so many requests.
    fn places(count: usize, requests: usize, is_warm: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut aperture = Aperture::beginning_at(0);
        let next = |_| {
            let (place, behind) = aperture.next(count, &is_warm).unwrap();
            aperture = behind;
            place
        };
        (0..requests).map(next).collect()
    }

    #[test]
    fn a_group_of_nobody_has_no_place() {
        assert_eq!(Aperture::beginning_at(0).next(0, |_| true), None);
    }

    #[test]
    fn few_are_taken_in_turn_however_warm_they_are() {
        for count in [1, 2, 3, WINDOW] {
            let in_turn: Vec<usize> = (0..count).cycle().take(5 * count).collect();
            assert_eq!(places(count, 5 * count, |_| true), in_turn);
        }
    }

    #[test]
    fn many_that_are_still_answering_are_taken_in_turn() {
        for count in [WINDOW + 1, 1_000] {
            let in_turn: Vec<usize> = (0..count).cycle().skip(WINDOW).take(5 * count).collect();
            assert_eq!(places(count, 5 * count, |_| false), in_turn);
        }
    }

    #[test]
    fn one_that_is_not_warm_is_used_only_when_all_others_were() {
        let mut last = [0; 1_000];
        for (number, place) in (1..).zip(places(1_000, 100_000, |place| place % 3 != 0)) {
            let since = number - std::mem::replace(&mut last[place], number);
            assert!(place % 3 != 0 || since == number || since >= 1_000, "{place} again after {since}");
        }
    }

    #[test]
    fn many_that_are_warm_get_the_same_share_and_at_any_time_few_of_them_get_all() {
        for count in [WINDOW + 1, 500, 1_000, 1_016, 4_096] {
            let rounds = 20;
            let places = places(count, rounds * STAY * count, |_| true);
            let mut shares = vec![0_usize; count];
            places.iter().for_each(|place| shares[*place] += 1);
            let fair = rounds * STAY;
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(*least * 100 >= fair * 90 && *most * 100 <= fair * 110, "{least} to {most} of {fair}, {count}");
            for some in places.chunks(STAY * WINDOW) {
                let seen = some.iter().collect::<BTreeSet<_>>().len();
                assert!(seen <= 2 * WINDOW, "{seen} of {count}");
            }
        }
    }
}
