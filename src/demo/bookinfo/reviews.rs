//! The reviews service, in the four versions that differ in how they treat ratings.

use http::{HeaderMap, StatusCode};
use hyper::body::Bytes;
use serde_json::json;

use super::RATINGS_ERROR;
use super::client::Client;
use super::config::Version;
use super::model::{MOST_STARS, Rating, Ratings, Review, Reviews};

/// The reviewers and what they wrote.
const TEXTS: [(&str, &str); 2] = [
    (
        "Reviewer1",
        "Two pairs of twins, one town and no explanation until the last page. I laughed all the way through.",
    ),
    ("Reviewer2", "Great fun, though the plot is thinner than that of the later comedies."),
];

/// One version of the service.
#[derive(Debug)]
pub(super) struct Service {
    version: Version,
    /// `None` for the version that shows no stars.
    ratings: Option<Client>,
}

impl Service {
    pub(super) fn new(version: Version, ratings: Option<Client>) -> Self {
        Self { version, ratings }
    }

    /// The reviews of product `id` with their stars, as JSON and the status to send it with.
    pub(super) async fn reviews(&self, id: u64, headers: &HeaderMap) -> (StatusCode, serde_json::Value) {
        let (Some(client), Some(color)) = (&self.ratings, self.version.stars()) else {
            return self.answer(id, |_| None);
        };
        match self.ask(client, id, headers).await {
            Some(ratings) => self.answer(id, |reviewer| Some(stars(&ratings, reviewer, color))),
            None if self.version.fails_with_ratings() => {
                (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": RATINGS_ERROR }))
            }
            None => self.answer(id, |_| Some(unavailable())),
        }
    }

    /// The ratings, or `None` if the answer is bad in any way: late, broken, not 200, not what was asked for.
    async fn ask(&self, client: &Client, id: u64, headers: &HeaderMap) -> Option<Ratings> {
        let reply = client.get(&format!("/ratings/{id}"), headers, self.version.ratings_timeout()).await;
        let problem = match reply {
            Ok(reply) if reply.status == StatusCode::OK => match complete(&reply.body) {
                Ok(ratings) => return Some(ratings),
                Err(problem) => problem,
            },
            Ok(reply) => format!("status {}", reply.status),
            Err(error) => error.to_string(),
        };
        tracing::debug!(version = %self.version, %problem, "ratings answered badly");
        None
    }

    fn answer(&self, id: u64, rating: impl Fn(&str) -> Option<Rating>) -> (StatusCode, serde_json::Value) {
        let review = |(reviewer, text): (&str, &str)| Review {
            reviewer: reviewer.to_owned(),
            text: text.to_owned(),
            rating: rating(reviewer),
        };
        let reviews = Reviews {
            id: id.to_string(),
            podname: format!("reviews-{}", self.version),
            reviews: TEXTS.map(review).into(),
        };
        (StatusCode::OK, json!(reviews))
    }
}

/// Reads ratings that have stars for every reviewer.
fn complete(body: &Bytes) -> Result<Ratings, String> {
    let ratings: Ratings = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match TEXTS.iter().find(|(reviewer, _)| !ratings.ratings.contains_key(*reviewer)) {
        Some((reviewer, _)) => Err(format!("no stars of {reviewer}")),
        None => Ok(ratings),
    }
}

fn stars(ratings: &Ratings, reviewer: &str, color: &str) -> Rating {
    match ratings.ratings.get(reviewer) {
        Some(stars) => Rating::Stars { stars: (*stars).min(MOST_STARS), color: color.to_owned() },
        None => unavailable(),
    }
}

fn unavailable() -> Rating {
    Rating::Unavailable { error: RATINGS_ERROR.to_owned() }
}
