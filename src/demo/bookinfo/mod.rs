//! The tutorial's application: four small HTTP services that show one book.
//!
//! ```text
//! browser -> productpage -> details
//!                        -> reviews (v1..v4) -> ratings      v1 does not call ratings
//! ```
//!
//! What the tutorial is about is how a failing *ratings* travels up this chain:
//!
//! | reviews | stars | when ratings answers badly |
//! |---|---|---|
//! | v1 | none | never asks it |
//! | v2 | black | 200, with an error in place of the stars |
//! | v3 | red | 200, with an error in place of the stars |
//! | v4 | red | **500**: the weakness that the experiment finds |
//!
//! The productpage asks reviews twice before it gives up, and is a page with status 200 in any case: one
//! page load that fails is two 500s of reviews.
//!
//! Outgoing connections come from the address on which the service itself listens, so that a proxy on
//! loopback, where every process could be any service, recognises the caller by its address.
//!
//! The files, as a request meets them: [`config`], `server` (connections), `app` (paths), one file per
//! service (`productpage`, `details`, `reviews`, `ratings`), `client` (calls to the next service), `model`
//! (what they tell each other).

mod app;
mod client;
pub mod config;
mod details;
mod model;
mod productpage;
mod ratings;
mod reviews;
mod server;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError, Service, Upstream, UpstreamError, Version};
pub use server::serve;

/// What the page says above the reviews when it has none. A page that holds this has failed.
pub const REVIEWS_ERROR: &str = "Error fetching product reviews!";

/// What the page says below [`REVIEWS_ERROR`].
pub const REVIEWS_SORRY: &str = "Sorry, product reviews are currently unavailable for this book.";

/// What stands in place of the stars of a review when ratings has failed and reviews has survived.
pub const RATINGS_ERROR: &str = "Ratings service is currently unavailable";

/// What the page says in place of the book's details when it has none.
pub const DETAILS_ERROR: &str = "Error fetching product details!";

/// What the page says below [`DETAILS_ERROR`].
pub const DETAILS_SORRY: &str = "Sorry, product details are currently unavailable for this book.";
