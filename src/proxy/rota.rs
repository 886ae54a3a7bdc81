//! The open connections of one core, in parts that are looked at in turn: to look at thousands at once would hold up every
//! request meanwhile.

use std::array;

/// As many parts as there are turns in a round.
#[derive(Debug)]
pub(crate) struct Rota<T, const PARTS: usize> {
    parts: [Vec<T>; PARTS],
    /// The part that gets the next one.
    next: usize,
}

impl<T, const PARTS: usize> Default for Rota<T, PARTS> {
    fn default() -> Self {
        Self { parts: array::from_fn(|_| Vec::new()), next: 0 }
    }
}

impl<T, const PARTS: usize> Rota<T, PARTS> {
    /// Adds one.
    pub(crate) fn add(&mut self, item: T) {
        if let Some(part) = self.parts.get_mut(self.next) {
            part.push(item);
        }
        self.next = (self.next + 1) % PARTS;
    }

    /// Looks at those whose turn it is, and forgets what is not to be kept.
    pub(crate) fn look(&mut self, turn: u64, keep: impl FnMut(&T) -> bool) {
        let part = usize::try_from(turn % PARTS as u64).ok().and_then(|part| self.parts.get_mut(part));
        if let Some(part) = part {
            part.retain(keep);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().flatten()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rota(count: usize) -> Rota<usize, 25> {
        let mut rota = Rota::default();
        (0..count).for_each(|item| rota.add(item));
        rota
    }

    #[test]
    fn each_is_looked_at_once_in_a_round_and_no_turn_has_more_than_its_share() {
        let mut rota = rota(1_000);
        let mut seen = Vec::new();
        for turn in 7..7 + 25 {
            let before = seen.len();
            rota.look(turn, |item| {
                seen.push(*item);
                true
            });
            assert_eq!(seen.len() - before, 1_000 / 25);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..1_000));
    }

    #[test]
    fn what_is_not_kept_is_forgotten_and_the_rest_stays() {
        let mut rota = rota(100);
        (0..25).for_each(|turn| rota.look(turn, |item| item % 2 == 0));
        assert_eq!((rota.len(), rota.all().filter(|item| *item % 2 == 0).count()), (50, 50));
    }
}
