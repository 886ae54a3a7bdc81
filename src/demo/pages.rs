//! What the visitors' pages show: recognised in their HTML, counted, and told in one short line.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::bookinfo::{RATINGS_ERROR, REVIEWS_ERROR};

/// What a page shows in the place of its reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Reviews with red stars (v3 and v4).
    RedStars,
    /// Reviews with black stars (v2).
    BlackStars,
    /// Reviews without stars (v1).
    NoStars,
    /// Reviews, with an error in the place of the stars.
    RatingsUnavailable,
    /// No reviews, but an error.
    ReviewsUnavailable,
    /// There is no page: an answer other than 200, or none.
    Lost,
}

impl Page {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::RedStars,
        Self::BlackStars,
        Self::NoStars,
        Self::RatingsUnavailable,
        Self::ReviewsUnavailable,
        Self::Lost,
    ];

    /// Recognises an answer of productpage.
    #[must_use]
    pub fn recognise(status: u16, body: &[u8]) -> Self {
        let html = String::from_utf8_lossy(body);
        if status != 200 {
            Self::Lost
        } else if html.contains(REVIEWS_ERROR) {
            Self::ReviewsUnavailable
        } else if html.contains(RATINGS_ERROR) {
            Self::RatingsUnavailable
        } else if html.contains("class=\"red\"") {
            Self::RedStars
        } else if html.contains("class=\"black\"") {
            Self::BlackStars
        } else {
            Self::NoStars
        }
    }

    /// Whether whoever loaded it would call it broken. A page that only lacks its stars is not.
    #[must_use]
    pub fn is_error(self) -> bool {
        matches!(self, Self::ReviewsUnavailable | Self::Lost)
    }

    /// What is written when all pages are like this.
    fn all(self) -> &'static str {
        match self {
            Self::RedStars => "red stars",
            Self::BlackStars => "black stars",
            Self::NoStars => "no stars",
            Self::RatingsUnavailable => "ratings unavailable",
            Self::ReviewsUnavailable => "reviews unavailable",
            Self::Lost => "no page at all",
        }
    }

    /// What is written in front of a share.
    fn some(self) -> &'static str {
        match self {
            Self::RedStars => "red",
            Self::BlackStars => "black",
            Self::NoStars => "none",
            Self::RatingsUnavailable => "no ratings",
            Self::ReviewsUnavailable => "no reviews",
            Self::Lost => "no page",
        }
    }
}

/// Counters that the load generator writes and anybody reads.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; Page::ALL.len()]);

impl Counts {
    /// Counts one page.
    pub(super) fn add(&self, page: Page) {
        for (kind, count) in Page::ALL.iter().zip(&self.0) {
            if *kind == page {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The counters now, with requests that came to no answer at all.
    pub(super) fn read(&self, unanswered: u64) -> Pages {
        let mut counts = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        for (kind, count) in Page::ALL.iter().zip(&mut counts) {
            if *kind == Page::Lost {
                *count += unanswered;
            }
        }
        Pages { at: Instant::now(), counts }
    }
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    at: Instant,
    counts: [u64; Page::ALL.len()],
}

/// The pages of an interval.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    elapsed: Duration,
    counts: [u64; Page::ALL.len()],
}

impl Pages {
    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Seen {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        Seen { elapsed: self.at.saturating_duration_since(earlier.at), counts }
    }
}

impl Seen {
    /// Pages of one kind.
    #[must_use]
    pub fn count(&self, page: Page) -> u64 {
        Page::ALL.iter().zip(self.counts).filter(|(kind, _)| **kind == page).map(|(_, count)| count).sum()
    }

    /// All pages.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Pages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.total() as f64 / seconds } else { 0.0 }
    }

    /// The share of pages that are errors to whoever loaded them, 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        let errors: u64 = Page::ALL.iter().filter(|page| page.is_error()).map(|page| self.count(*page)).sum();
        errors as f64 / self.total().max(1) as f64
    }

    /// What they show: `red stars`, or the three most frequent kinds with their shares.
    #[must_use]
    pub fn shows(&self) -> String {
        let total = self.total();
        let mut kinds: Vec<(Page, u64)> =
            Page::ALL.into_iter().map(|page| (page, self.count(page))).filter(|(_, count)| *count > 0).collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        match kinds.as_slice() {
            [] => "no pages yet".to_owned(),
            [(only, _)] => only.all().to_owned(),
            several => {
                let share = |(page, count): &(Page, u64)| {
                    format!("{} {:.0} %", page.some(), *count as f64 / total as f64 * 100.0)
                };
                several.iter().take(3).map(share).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pages: &[(Page, u64)]) -> Seen {
        let counts = Counts::default();
        let before = counts.read(0);
        for (page, count) in pages {
            (0..*count).for_each(|_| counts.add(*page));
        }
        Seen { elapsed: Duration::from_millis(500), ..counts.read(0).since(&before) }
    }

    #[test]
    fn a_page_is_recognised_by_what_it_shows() {
        for (html, page) in [
            (format!("<h2>{REVIEWS_ERROR}</h2>"), Page::ReviewsUnavailable),
            (format!("<p>{RATINGS_ERROR}</p>"), Page::RatingsUnavailable),
            ("<style>.red { }</style><p class=\"red\">".to_owned(), Page::RedStars),
            ("<style>.red { }</style><p class=\"black\">".to_owned(), Page::BlackStars),
            ("<style>.red { } .black { }</style>".to_owned(), Page::NoStars),
        ] {
            assert_eq!(Page::recognise(200, html.as_bytes()), page);
            assert_eq!(Page::recognise(502, html.as_bytes()), Page::Lost);
        }
    }

    #[test]
    fn only_pages_without_reviews_are_errors() {
        let pages = seen(&[(Page::RatingsUnavailable, 25), (Page::ReviewsUnavailable, 20), (Page::Lost, 5)]);
        assert!((pages.error_rate() - 0.5).abs() < 1e-9);
        assert!((pages.rate() - 100.0).abs() < 1e-9);
        assert_eq!(seen(&[]).error_rate(), 0.0);
    }

    #[test]
    fn requests_without_an_answer_are_lost_pages() {
        let counts = Counts::default();
        let before = counts.read(2);
        counts.add(Page::Lost);
        assert_eq!(counts.read(5).since(&before).count(Page::Lost), 4);
    }

    #[test]
    fn one_kind_is_named_and_several_have_shares() {
        assert_eq!(seen(&[]).shows(), "no pages yet");
        assert_eq!(seen(&[(Page::RedStars, 50)]).shows(), "red stars");
        let mixed = seen(&[(Page::NoStars, 10), (Page::RedStars, 25), (Page::BlackStars, 15)]);
        assert_eq!(mixed.shows(), "red 50 %, black 30 %, none 20 %");
    }
}
