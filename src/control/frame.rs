//! Frames: four bytes of length, most significant first, then so many bytes of one message.

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of the length.
const HEAD: usize = 4;

/// Why what comes is no sequence of frames: the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {claimed} bytes was announced; at most {limit} are accepted")]
pub(crate) struct TooLong {
    claimed: usize,
    limit: usize,
}

/// Cuts what comes into frames. Holds no more than one frame and what came with it.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: BytesMut,
    limit: usize,
}

impl Frames {
    /// Takes messages of up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Takes what has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// When one is announced that is too long, before its bytes have come.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let claimed = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if claimed > self.limit {
            return Err(TooLong { claimed, limit: self.limit });
        }
        if self.buffer.len() < HEAD + claimed {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(self.buffer.split_to(claimed).freeze()))
    }
}

/// A message as a frame.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    // Longer ones do not exist: our own limits are far below, and the peer would refuse it.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = BytesMut::with_capacity(HEAD + message.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_that_is_too_long_is_refused_by_its_length_alone() {
        let mut frames = Frames::new(10);
        frames.push(&[0, 0, 0, 11]);
        assert_eq!(frames.next(), Err(TooLong { claimed: 11, limit: 10 }));
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_were_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10),
            cut in 1usize..20,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| framed(message).to_vec()).collect();
            let mut frames = Frames::new(50);
            let mut came = Vec::new();
            for piece in bytes.chunks(cut) {
                frames.push(piece);
                while let Some(message) = frames.next().unwrap() {
                    came.push(message.to_vec());
                }
            }
            prop_assert_eq!(came, messages);
        }

        #[test]
        fn nothing_that_comes_panics_or_is_kept_beyond_the_limit(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..50)) {
            let mut frames = Frames::new(100);
            for piece in pieces {
                frames.push(&piece);
                loop {
                    match frames.next() {
                        Ok(Some(message)) => prop_assert!(message.len() <= 100),
                        Ok(None) => break,
                        Err(_) => return Ok(()),
                    }
                }
                prop_assert!(frames.buffer.len() < HEAD + 100);
            }
        }
    }
}
