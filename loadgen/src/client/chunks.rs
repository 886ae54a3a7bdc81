//! A body in chunks (RFC 9112 §7.1), read as it comes, without keeping any of it.

/// Most bytes of chunk extensions and trailers of one body.
const MAX_OVERHEAD: usize = 64 * 1024;

/// Most digits of a chunk's size: what 64 bits hold.
const MAX_DIGITS: u8 = 16;

/// The bytes are not of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What comes next in the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Data of the body, and the bytes behind it.
    Data(&'a [u8], &'a [u8]),
    /// The body is complete; the bytes behind it.
    End(&'a [u8]),
    /// All bytes are read, and the body is not complete.
    More,
}

/// A place in the body; `...Lf` where only a line feed may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLf,
    Data(u64),
    DataCr,
    DataLf,
    /// At the begin of a trailer's line, or of the empty line that ends the body.
    Trailer,
    TrailerLine,
    TrailerLf,
    LastLf,
}

/// Follows the chunks of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    at: At,
    size: u64,
    digits: u8,
    overhead: usize,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { at: At::Size, size: 0, digits: 0, overhead: 0 }
    }

    /// Reads up to the next data, or to the end.
    pub(super) fn next<'a>(&mut self, mut bytes: &'a [u8]) -> Result<Step<'a>, Malformed> {
        loop {
            if let At::Data(left) = self.at
                && !bytes.is_empty()
            {
                let size = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let (data, rest) = bytes.split_at_checked(size).ok_or(Malformed)?;
                let left = left - size as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data(left) };
                return Ok(Step::Data(data, rest));
            }
            let Some((byte, rest)) = bytes.split_first() else { return Ok(Step::More) };
            if self.at == At::LastLf {
                return if *byte == b'\n' { Ok(Step::End(rest)) } else { Err(Malformed) };
            }
            self.at = self.behind(*byte)?;
            bytes = rest;
        }
    }

    /// The place behind one byte of framing.
    fn behind(&mut self, byte: u8) -> Result<At, Malformed> {
        match (self.at, byte) {
            (At::Size, byte) => self.behind_size(byte),
            (At::Extension, b'\r') => Ok(At::SizeLf),
            (At::SizeLf, b'\n') if self.size == 0 => Ok(At::Trailer),
            (At::SizeLf, b'\n') => Ok(At::Data(std::mem::take(&mut self.size))),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => {
                self.digits = 0;
                Ok(At::Size)
            }
            (At::Trailer, b'\r') => Ok(At::LastLf),
            (At::TrailerLine, b'\r') => Ok(At::TrailerLf),
            (At::TrailerLf, b'\n') => Ok(At::Trailer),
            (At::Extension | At::Trailer | At::TrailerLine, byte) if byte != b'\n' => {
                self.overhead += 1;
                let at = if self.at == At::Extension { At::Extension } else { At::TrailerLine };
                if self.overhead > MAX_OVERHEAD { Err(Malformed) } else { Ok(at) }
            }
            _ => Err(Malformed),
        }
    }

    fn behind_size(&mut self, byte: u8) -> Result<At, Malformed> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(digit), _) if self.digits < MAX_DIGITS => {
                self.size = self.size * 16 + u64::from(digit);
                self.digits += 1;
                Ok(At::Size)
            }
            (None, b'\r') if self.digits > 0 => Ok(At::SizeLf),
            // Blanks behind the size are in no grammar, and in the answers of many servers.
            (None, b';' | b' ' | b'\t') if self.digits > 0 => Ok(At::Extension),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data, whether the body ended, and what was left behind it.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), Malformed> {
        let mut chunks = Chunks::new();
        let mut data = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                match chunks.next(rest)? {
                    Step::Data(some, behind) => {
                        data.extend_from_slice(some);
                        rest = behind;
                    }
                    Step::End(behind) => return Ok((data, true, behind.len())),
                    Step::More => break,
                }
            }
        }
        Ok((data, false, 0))
    }

    #[test]
    fn chunks_are_one_body_wherever_the_bytes_are_split() {
        let body = b"5;a=b\r\nhello\r\n1 \r\n,\r\nA\r\n to you al\r\n000\r\nx-sum: 1\r\n\r\nNEXT";
        for first in 0..body.len() {
            for second in first..body.len() {
                let (head, tail) = body.split_at(second);
                let (head, middle) = head.split_at(first);
                let read = read(&[head, middle, tail]);
                assert_eq!(read.map(|(data, ended, _)| (data, ended)), Ok((b"hello, to you al".to_vec(), true)));
            }
        }
        assert_eq!(read(&[body]).map(|(_, _, left)| left), Ok(4));
    }

    #[test]
    fn a_body_that_stops_is_not_complete() {
        let body = b"5\r\nhello\r\n0\r\n\r\n";
        for end in 0..body.len() {
            assert_eq!(read(&[&body[..end]]).map(|(_, ended, _)| ended), Ok(false), "{end}");
        }
    }

    #[test]
    fn what_is_not_of_the_grammar_is_refused() {
        for wrong in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "5\nhello",
            "5\rx",
            "5;a\nhello",
            "2\r\nabc",
            "2\r\nab\n",
            "0\r\nx\n",
            "0\r\n\rx",
            "00000000000000001\r\n",
            ";\r\n",
            "0\r\n\n",
        ] {
            assert_eq!(read(&[wrong.as_bytes()]), Err(Malformed), "{wrong:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_have_a_limit() {
        let long = "x".repeat(MAX_OVERHEAD);
        assert!(read(&[format!("1;{long}\r\na\r\n").as_bytes()]).is_ok());
        assert_eq!(read(&[format!("1;{long}\r\na\r\n1;x\r\n").as_bytes()]), Err(Malformed));
        assert_eq!(read(&[format!("0\r\n{long}x").as_bytes()]), Err(Malformed));
    }
}
