//! The details service: facts about the book.

use super::model::Details;

/// The details of any product: there is only one book.
pub(super) fn details(id: u64) -> Details {
    Details {
        id,
        author: "William Shakespeare".to_owned(),
        year: 1595,
        binding: "paperback".to_owned(),
        pages: 200,
        publisher: "PublisherA".to_owned(),
        language: "English".to_owned(),
        isbn_10: "1234567890".to_owned(),
        isbn_13: "123-1234567890".to_owned(),
    }
}
