//! How bytes are cut into the pieces in which they arrive: fixed for the same bytes, so that a crash can be repeated.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The longest input that is also sent byte by byte.
const MOST_SINGLE: usize = 512;

/// Several ways to cut the same bytes.
pub(crate) fn cuts(data: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut cuts = vec![scattered(data)];
    if data.len() <= MOST_SINGLE {
        cuts.push(data.iter().map(|byte| vec![*byte]).collect());
    }
    cuts
}

/// Pieces of up to 64 bytes, or of up to 4, by what the bytes are.
pub(crate) fn scattered(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    let most = if hasher.finish().is_multiple_of(2) { 64 } else { 4 };
    let mut pieces = Vec::new();
    while !data.is_empty() {
        data.len().hash(&mut hasher);
        let count = usize::try_from(hasher.finish() % most).unwrap_or(0) + 1;
        let (piece, rest) = data.split_at(count.min(data.len()));
        pieces.push(piece.to_vec());
        data = rest;
    }
    pieces
}
