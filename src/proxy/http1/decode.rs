//! The body of an answer, told from its framing (RFC 9112 §6 and §7); pure.

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    super::{
        chunks::{Chunk, Malformed},
        fields::Fields,
    },
    error::Error,
    input::used,
};

/// Bytes of trailers, and of extensions of chunks in one body.
const LIMIT_BYTES: usize = 16 * 1024;
/// Trailers of one body.
const TRAILERS: usize = 100;

/// Where one stands in a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Decoder {
    /// Behind it, or there is none.
    #[default]
    Done,
    /// So many bytes are left; never 0.
    Length(u64),
    /// In chunks.
    Chunks(Box<Chunks>),
    /// It ends with the connection.
    UntilClose,
}

/// Where one stands in a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    stand: Chunk,
    /// Bytes of extensions so far.
    extended: usize,
    /// The trailers so far, with their line ends.
    trailers: Vec<u8>,
}

impl Decoder {
    /// A body of so many bytes.
    pub(crate) fn length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    /// A chunked body.
    pub(crate) fn chunks() -> Self {
        Self::Chunks(Box::new(Chunks { stand: Chunk::BEGIN, extended: 0, trailers: Vec::new() }))
    }

    /// Whether the whole body was read.
    pub(crate) fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// What is known of the length of the rest.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Done => SizeHint::with_exact(0),
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunks(_) | Self::UntilClose => SizeHint::default(),
        }
    }

    /// The next part of the body that is in `input`; `None` when there is none, or the body is at its end.
    pub(crate) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Frame<Bytes>>, Error> {
        match self {
            Self::Done => Ok(None),
            Self::UntilClose => Ok(Some(std::mem::take(input)).filter(|data| !data.is_empty()).map(Frame::data)),
            Self::Length(left) => {
                let data = take(input, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(data.map(Frame::data))
            }
            Self::Chunks(chunks) => {
                let frame = chunks.decode(input)?;
                if chunks.is_done() {
                    *self = Self::Done;
                }
                Ok(frame)
            }
        }
    }

    /// The connection was closed: whether that is the end of the body.
    pub(crate) fn close(&mut self) -> bool {
        if *self == Self::UntilClose {
            *self = Self::Done;
        }
        self.is_done()
    }
}

/// Takes the data that is there, at most what is left.
fn take(input: &mut Bytes, left: &mut u64) -> Option<Bytes> {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= count as u64;
    (count > 0).then(|| input.split_to(count))
}

impl Chunks {
    fn decode(&mut self, input: &mut Bytes) -> Result<Option<Frame<Bytes>>, Error> {
        loop {
            match self.stand {
                Chunk::Data(mut left) => {
                    let Some(data) = take(input, &mut left) else { return Ok(None) };
                    self.stand = if left == 0 { Chunk::DataCr } else { Chunk::Data(left) };
                    // What is behind it tells whether it was the last: then the answer ends with it.
                    self.lines(input)?;
                    return Ok(Some(Frame::data(data)));
                }
                Chunk::End => return self.trailers(),
                _ => {}
            }
            if input.is_empty() {
                return Ok(None);
            }
            self.lines(input)?;
        }
    }

    /// Reads lines up to the next data, or the end.
    fn lines(&mut self, input: &mut Bytes) -> Result<(), Error> {
        let mut read = 0;
        for byte in input.iter() {
            if matches!(self.stand, Chunk::Data(_) | Chunk::End) {
                break;
            }
            self.stand = self.stand.behind(*byte).map_err(|Malformed| Error::Garbage("malformed chunk"))?;
            match self.stand {
                Chunk::Extension(..) => self.extended += 1,
                Chunk::Trailer | Chunk::TrailerLf => self.trailers.push(*byte),
                Chunk::TrailerStart if !self.trailers.is_empty() => self.trailers.push(*byte),
                _ => {}
            }
            if self.extended.max(self.trailers.len()) > LIMIT_BYTES {
                return Err(Error::Garbage("too much between chunks"));
            }
            read += 1;
        }
        used(input, read);
        Ok(())
    }

    /// Whether all of the body was handed out.
    fn is_done(&self) -> bool {
        self.stand == Chunk::End && self.trailers.is_empty()
    }

    /// The trailers, once.
    fn trailers(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        self.trailers.extend_from_slice(b"\r\n");
        let text = std::mem::take(&mut self.trailers);
        let mut fields = [httparse::EMPTY_HEADER; TRAILERS];
        match httparse::parse_headers(&text, &mut fields) {
            Ok(httparse::Status::Complete((_, fields))) => {
                Ok(Some(Frame::trailers((&Fields::read(&text, fields)).into())))
            }
            _ => Err(Error::Garbage("malformed trailers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::{super::pieces, *};

    /// The data and the trailers that are read from these pieces, and what stands behind the body.
    fn read(mut decoder: Decoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), String> {
        let (mut data, mut trailers, mut rest) = (Vec::new(), HeaderMap::new(), Vec::new());
        for piece in pieces {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(frame) = decoder.decode(&mut input).map_err(|error| error.to_string())? {
                match frame.into_data() {
                    Ok(part) => data.extend_from_slice(&part),
                    Err(frame) => trailers = frame.into_trailers().unwrap(),
                }
            }
            rest.extend_from_slice(&input);
        }
        if decoder.is_done() { Ok((data, trailers, rest)) } else { Err("not at its end".to_owned()) }
    }

    #[test]
    fn behind_a_body_nothing_is_held_where_nothing_has_come() {
        let mut input = Bytes::from(b"2\r\nok\r\n0\r\n\r\n".to_vec());
        let (held, mut decoder) = (input.clone(), Decoder::chunks());
        while decoder.decode(&mut input).unwrap().is_some() {}
        assert!(decoder.is_done() && input.is_empty() && held.is_unique());
    }

    #[test]
    fn a_length_ends_with_its_last_byte_and_what_stands_behind_it_is_left() {
        let (data, _, rest) = read(Decoder::length(5), &[b"he", b"", b"lloEVIL"]).unwrap();
        assert_eq!((data, rest), (b"hello".to_vec(), b"EVIL".to_vec()));
        assert!(Decoder::length(0).is_done());
        assert!(read(Decoder::length(6), &[b"hello"]).is_err());
    }

    #[test]
    fn the_last_data_ends_a_chunked_body_when_its_end_is_there() {
        let mut decoder = Decoder::chunks();
        let mut input = Bytes::from_static(b"2\r\nok\r\n0\r\n\r\n");
        assert!(decoder.decode(&mut input).unwrap().unwrap().is_data());
        assert!(decoder.is_done() && input.is_empty());
    }

    #[test]
    fn a_body_without_framing_ends_with_the_connection() {
        let mut decoder = Decoder::UntilClose;
        assert!(decoder.decode(&mut Bytes::from_static(b"a")).unwrap().is_some());
        assert!(!decoder.is_done());
        assert!(decoder.close() && decoder.is_done());
        assert!(!Decoder::Length(1).close() && !Decoder::chunks().close());
    }

    #[test]
    fn trailers_come_behind_the_data() {
        let (data, trailers, rest) =
            read(Decoder::chunks(), &[b"2;a=b\r\nok\r\n0\r\nX-Sum: 7\r\nx-b: \r\n\r\nEVIL"]).unwrap();
        assert_eq!((data, rest), (b"ok".to_vec(), b"EVIL".to_vec()));
        assert_eq!((trailers.len(), trailers["x-sum"].as_bytes()), (2, &b"7"[..]));
    }

    #[test]
    fn trailers_that_are_no_fields_are_garbage() {
        for trailers in ["x\r\n", ": 1\r\n", " x: 1\r\n", "x y: 1\r\n"] {
            let body = format!("0\r\n{trailers}\r\n");
            assert!(read(Decoder::chunks(), &[body.as_bytes()]).is_err(), "{body:?}");
        }
    }

    #[test]
    fn neither_trailers_nor_extensions_may_be_endless() {
        let trailers = format!("0\r\n{}", "x: 1\r\n".repeat(LIMIT_BYTES));
        let extensions = "1;a\r\nx\r\n".repeat(LIMIT_BYTES);
        for body in [trailers, extensions] {
            assert!(read(Decoder::chunks(), &[body.as_bytes()]).unwrap_err().contains("too much"));
        }
    }

    proptest! {
        #[test]
        fn every_split_of_the_bytes_gives_the_same_body(
            cuts in prop::collection::vec(1usize..9, 0..40),
            end in prop::sample::select(vec!["0\r\n\r\n", "0\r\nx: y\r\n\r\n", "0;a\r\n\r\nEVIL", "0\n\r\n", "x"]),
        ) {
            let text = format!("5\r\nhello\r\n00a;b\r\n0123456789\r\n{end}");
            let pieces = pieces(&text, &cuts);
            prop_assert_eq!(read(Decoder::chunks(), &pieces), read(Decoder::chunks(), &[text.as_bytes()]));
        }
    }
}
