//! The grammar of chunked bodies, byte by byte (RFC 9112 §7.1), as strict for an upstream's as for a client's.

/// Digits of a chunk size: 2^64 - 1 has 16.
const MAX_SIZE_DIGITS: u8 = 16;

/// Where one stands within a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// A chunk's size: its value, and its digits so far.
    Size(u64, u8),
    /// An extension of a chunk of this size; whether it has anything behind its semicolon.
    Extension(u64, bool),
    /// The LF behind a chunk's size or extension.
    SizeEnd(u64),
    /// A chunk's data, and what is left of it.
    Data(u64),
    /// The CR and the LF behind a chunk's data.
    DataCr,
    /// See [`Chunk::DataCr`].
    DataLf,
    /// The beginning of a trailer line, or of the last CRLF.
    TrailerStart,
    /// Within a trailer line.
    Trailer,
    /// The LF of a trailer line.
    TrailerLf,
    /// The last LF.
    LastLf,
    /// Behind the body.
    End,
}

/// What the bytes broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunk")]
pub(crate) struct Malformed;

impl Chunk {
    /// The beginning of a chunked body.
    pub(crate) const BEGIN: Self = Self::Size(0, 0);

    /// Where one stands behind a byte outside a chunk's data.
    pub(crate) fn behind(self, byte: u8) -> Result<Self, Malformed> {
        Ok(match (self, byte) {
            (Self::Size(size, digits), _) if byte.is_ascii_hexdigit() && digits < MAX_SIZE_DIGITS => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Self::Size(size << 4 | digit, digits + 1)
            }
            (Self::Size(size, 1..), b';') => Self::Extension(size, false),
            (Self::Size(size, 1..) | Self::Extension(size, true), b'\r') => Self::SizeEnd(size),
            (Self::Extension(size, _), b'\t' | 0x20..=0x7e | 0x80..) => Self::Extension(size, true),
            (Self::SizeEnd(0), b'\n') => Self::TrailerStart,
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::BEGIN,
            (Self::TrailerStart, b'\r') => Self::LastLf,
            (Self::TrailerStart | Self::Trailer, b'\t' | 0x20..=0x7e | 0x80..) => Self::Trailer,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::LastLf, b'\n') => Self::End,
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_sixteen_digits_at_the_most() {
        let stand = |text: &str| text.bytes().try_fold(Chunk::BEGIN, Chunk::behind);
        assert_eq!(stand("ffffffffffffffff"), Ok(Chunk::Size(u64::MAX, 16)));
        assert_eq!(stand("00000000000000001"), Err(Malformed));
    }
}
