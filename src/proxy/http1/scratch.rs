//! Buffers that one core's connections share: whoever reads or writes has one for as long as that takes, and a message the room for
//! its fields.

use std::cell::RefCell;

use http::HeaderMap;

/// Bytes that are read at a time.
const READ: usize = 64 * 1024;
/// Buffers for writing that are kept, and how large they may be.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 16 * 1024;
/// Fields that a map has room for which is kept.
const KEPT_FIELDS: usize = 64;

thread_local! {
    static READING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static WRITING: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static FIELDS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
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

/// Room for so many fields, of a message that is gone where there is any.
pub(crate) fn take_fields(count: usize) -> HeaderMap {
    let mut fields = FIELDS.with_borrow_mut(Vec::pop).unwrap_or_default();
    fields.reserve(count);
    fields
}

/// Takes the room for fields back; what is in it goes.
pub(crate) fn give_back_fields(mut fields: HeaderMap) {
    if fields.capacity() == 0 || fields.capacity() > KEPT_FIELDS {
        return;
    }
    fields.clear();
    FIELDS.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(fields);
        }
    });
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

    #[test]
    fn room_for_fields_comes_back_without_any_and_with_as_much_as_is_asked_for() {
        let mut fields = take_fields(3);
        fields.insert("x-secret", http::HeaderValue::from_static("1"));
        give_back_fields(fields);
        give_back_fields(HeaderMap::with_capacity(2 * KEPT_FIELDS));
        let again = take_fields(10);
        assert!(again.is_empty() && again.capacity() >= 10);
        assert_eq!(take_fields(0).capacity(), 0);
    }
}
