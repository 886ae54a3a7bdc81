//! Buffers that one core's connections share: whoever reads or writes has one for as long as that takes.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// Bytes that are read at a time.
const READ: usize = 64 * 1024;
/// Buffers for writing that are kept, and how large they may be.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 16 * 1024;

/// Bytes of a block that small pieces share: what one that is waited for long holds at the most.
const BLOCK: usize = 4 * 1024;

thread_local! {
    static PIECES: RefCell<BytesMut> = RefCell::default();
    static READING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static WRITING: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Lends the buffer for reading.
pub(crate) fn reading<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    READING.with_borrow_mut(|buffer| {
        buffer.resize(READ, 0);
        read(buffer)
    })
}

/// An empty buffer for writing.
pub(crate) fn take() -> Vec<u8> {
    WRITING.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Takes a buffer back.
pub(crate) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > KEPT_BYTES {
        return;
    }
    buffer.clear();
    WRITING.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    });
}

/// A copy of a piece that has come. Small ones share a block with those that came before and behind them: a message of its own in the
/// allocator for each, and one more to count who holds it, would cost more than to copy it. A block goes with the last of them.
pub(crate) fn copy(piece: &[u8]) -> Bytes {
    if piece.len() > BLOCK / 4 {
        return Bytes::copy_from_slice(piece);
    }
    PIECES.with_borrow_mut(|block| {
        if block.capacity() - block.len() < piece.len() {
            *block = BytesMut::with_capacity(BLOCK);
        }
        block.extend_from_slice(piece);
        block.split().freeze()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_one_that_has_grown_large_does_not() {
        let mut buffer = take();
        buffer.extend_from_slice(b"GET /");
        let capacity = buffer.capacity();
        give_back(buffer);
        give_back(vec![0; KEPT_BYTES + 1]);
        let again = take();
        assert_eq!((again.len(), again.capacity()), (0, capacity));
        assert_eq!(take().capacity(), 0);
    }
}
