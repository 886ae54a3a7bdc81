//! What the services tell each other, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most stars of a rating.
pub(super) const MOST_STARS: u8 = 5;

/// Answer of details.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Details {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) year: u16,
    #[serde(rename = "type")]
    pub(super) binding: String,
    pub(super) pages: u32,
    pub(super) publisher: String,
    pub(super) language: String,
    #[serde(rename = "ISBN-10")]
    pub(super) isbn_10: String,
    #[serde(rename = "ISBN-13")]
    pub(super) isbn_13: String,
}

/// Answer of ratings: stars by reviewer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ratings {
    pub(super) id: u64,
    pub(super) ratings: BTreeMap<String, u8>,
}

/// Answer of reviews.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Reviews {
    pub(super) id: String,
    /// Which version answered.
    pub(super) podname: String,
    pub(super) reviews: Vec<Review>,
}

/// One review.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Review {
    pub(super) reviewer: String,
    pub(super) text: String,
    /// Absent from a version without stars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rating: Option<Rating>,
}

/// The stars of a review, or why there are none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Rating {
    /// Ratings has answered.
    Stars { stars: u8, color: String },
    /// Ratings has failed.
    Unavailable { error: String },
}
