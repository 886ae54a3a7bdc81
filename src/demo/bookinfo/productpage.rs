//! The productpage service: the HTML page that puts details and reviews together.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use minijinja::{Environment, Value, context};
use serde::de::DeserializeOwned;

use super::client::Client;
use super::model::{Details, MOST_STARS, Rating, Review, Reviews};
use super::{DETAILS_ERROR, DETAILS_SORRY, REVIEWS_ERROR, REVIEWS_SORRY};

/// The only product.
const PRODUCT: u64 = 0;

/// Time for one call to details or reviews.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// How often reviews is asked before the page does without it.
const REVIEWS_TRIES: u32 = 2;

const TITLE: &str = "The Comedy of Errors";

const SUMMARY: &str = "Two brothers, alike to the last hair and parted by a shipwreck when they were small, are in Ephesus on \
     the same day, each with a servant who is a twin as well. Neither pair knows of the other. Wives, goldsmiths and \
     creditors take one for the other until nobody knows who has dined with whom. It is among Shakespeare's first plays \
     and the shortest of them all.";

const INDEX: &str = "index.html";
const PAGE: &str = "productpage.html";

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    details: Client,
    reviews: Client,
    templates: Environment<'static>,
}

impl Service {
    pub(super) fn new(details: Client, reviews: Client) -> Result<Self, minijinja::Error> {
        // The names end in .html: everything that is put into them is escaped.
        let mut templates = Environment::new();
        templates.add_template(INDEX, include_str!("templates/index.html"))?;
        templates.add_template(PAGE, include_str!("templates/productpage.html"))?;
        Ok(Self { details, reviews, templates })
    }

    /// The page that links to the product page.
    pub(super) fn index(&self) -> Result<String, minijinja::Error> {
        self.templates.get_template(INDEX)?.render(context! { title => TITLE })
    }

    /// The product page. It is a page whatever the called services do.
    pub(super) async fn page(&self, headers: &HeaderMap) -> Result<String, minijinja::Error> {
        let (details, reviews) = tokio::join!(self.ask_details(headers), self.ask_reviews(headers));
        self.templates.get_template(PAGE)?.render(context! {
            title => TITLE,
            summary => SUMMARY,
            details => details.map(details_view),
            details_error => DETAILS_ERROR,
            details_sorry => DETAILS_SORRY,
            reviews => reviews.map(reviews_view),
            reviews_error => REVIEWS_ERROR,
            reviews_sorry => REVIEWS_SORRY,
            most_stars => MOST_STARS,
        })
    }

    async fn ask_details(&self, headers: &HeaderMap) -> Option<Details> {
        ask(&self.details, &format!("/details/{PRODUCT}"), headers).await
    }

    async fn ask_reviews(&self, headers: &HeaderMap) -> Option<Reviews> {
        for _ in 0..REVIEWS_TRIES {
            let reviews = ask(&self.reviews, &format!("/reviews/{PRODUCT}"), headers).await;
            if reviews.is_some() {
                return reviews;
            }
        }
        None
    }
}

/// One call; `None` if it fails in any way.
async fn ask<T: DeserializeOwned>(client: &Client, path: &str, headers: &HeaderMap) -> Option<T> {
    let problem = match client.get(path, headers, CALL_TIMEOUT).await {
        Ok(reply) if reply.status == StatusCode::OK => match serde_json::from_slice(&reply.body) {
            Ok(answer) => return Some(answer),
            Err(error) => error.to_string(),
        },
        Ok(reply) => format!("status {}", reply.status),
        Err(error) => error.to_string(),
    };
    tracing::debug!(path, %problem, "a called service answered badly");
    None
}

/// The details as the template sees them.
fn details_view(details: Details) -> Value {
    context! {
        author => details.author,
        year => details.year,
        binding => details.binding,
        pages => details.pages,
        publisher => details.publisher,
        language => details.language,
        isbn_10 => details.isbn_10,
        isbn_13 => details.isbn_13,
    }
}

/// The reviews as the template sees them.
fn reviews_view(reviews: Reviews) -> Value {
    let review = |review: Review| {
        let (stars, color, error) = match review.rating {
            None => (None, None, None),
            Some(Rating::Stars { stars, color }) => (Some(stars), Some(color), None),
            Some(Rating::Unavailable { error }) => (None, None, Some(error)),
        };
        context! { text => review.text, reviewer => review.reviewer, stars, color, error }
    };
    context! { reviews => reviews.reviews.into_iter().map(review).collect::<Vec<_>>(), podname => reviews.podname }
}
