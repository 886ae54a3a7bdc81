//! Reads from a stream behind what has come already. Between two reads a connection holds what was not used yet, and no buffer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::scratch;

/// Reads once behind `input`; whether anything came before the end.
pub(super) fn poll_read<S>(stream: &mut S, input: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<bool>>
where
    S: AsyncRead + Unpin,
{
    scratch::reading(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        append(input, buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    })
}

/// Forgets what was used at the beginning of what is there. An empty rest would hold the block that it stood in.
pub(super) fn used(input: &mut Bytes, count: usize) {
    if count == input.len() {
        *input = Bytes::new();
    } else {
        input.advance(count);
    }
}

/// Adds a piece to what is there.
fn append(input: &mut Bytes, piece: &[u8]) {
    if input.is_empty() {
        *input = scratch::copy(piece);
        return;
    }
    let mut longer = std::mem::take(input).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    longer.extend_from_slice(piece);
    *input = longer.freeze();
}
