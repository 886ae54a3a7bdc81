//! The ratings service: the reviewers' stars. It is the one that the tutorial breaks.

use std::collections::BTreeMap;

use super::model::Ratings;

/// The ratings of any product.
pub(super) fn ratings(id: u64) -> Ratings {
    let ratings = [("Reviewer1", 5), ("Reviewer2", 4)];
    Ratings { id, ratings: BTreeMap::from(ratings.map(|(reviewer, stars)| (reviewer.to_owned(), stars))) }
}
