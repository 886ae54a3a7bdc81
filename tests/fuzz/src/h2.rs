//! Whatever a client sends over HTTP/2, an upstream that speaks HTTP/1 gets whole and unambiguous requests, each of them admitted.

use arbitrary::{Arbitrary, Unstructured};

use crate::{
    harness::wire::latin1,
    http2::{
        PREFACE,
        fields::Field as Pair,
        frame::{Frame, bytes_of, flag},
        hpack,
    },
    passage::pass,
    pieces,
};

/// The first byte says whether the others are frames, or a story of which frames are made.
const RAW: u8 = b'r';

/// Sends the bytes, or what they tell, as one HTTP/2 connection: in one piece, and in many.
///
/// # Panics
/// See [`pass`].
pub fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let frames = if *mode == RAW { rest.to_vec() } else { written(rest) };
    let bytes = [PREFACE, &Frame::settings(&[]).bytes(), &frames].concat();
    pass(vec![bytes.clone()]);
    pass(pieces::scattered(&bytes));
}

/// What a client does.
#[derive(Arbitrary, Debug)]
enum Move {
    Request { pseudo: Pseudo, fields: Vec<Field>, ends: bool, cut_at: Option<u8> },
    Data { stream: u8, bytes: Vec<u8>, ends: bool, padding: Option<u8> },
    Trailers { stream: u8, fields: Vec<Field>, ends: bool },
    Reset { stream: u8, code: u8 },
    Window { stream: u8, more: u32 },
    Setting { name: u8, value: u32 },
    Ping,
    Frame { kind: u8, flags: u8, stream: u8, payload: Vec<u8> },
}

/// The pseudo-header fields; none, one of the usual values, or anything. Sometimes behind the others, sometimes twice.
#[derive(Arbitrary, Debug)]
struct Pseudo {
    method: Option<Text>,
    scheme: Option<Text>,
    authority: Option<Text>,
    path: Option<Text>,
    behind: bool,
    again: Option<Field>,
}

#[derive(Arbitrary, Debug)]
struct Field {
    name: Text,
    value: Text,
}

/// One of the usual texts, or any.
#[derive(Arbitrary, Debug)]
enum Text {
    Usual(u8),
    Any(Vec<u8>),
}

const METHODS: [&str; 9] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "CONNECT", "TRACE", "get", "M-SEARCH"];
const SCHEMES: [&str; 4] = ["http", "https", "HTTP", "ftp"];
const AUTHORITIES: [&str; 8] = ["ratings", "ratings:9080", "[::1]:80", "a@b", "a,b", "a:99999", "", "a/b"];
const PATHS: [&str; 12] =
    ["/", "/a?b", "*", "/a b", "/a#b", "//a", "http://a/b", "", "a", "?", "/\u{e4}", "/a HTTP/1.1\r\nX: y"];
const NAMES: [&str; 24] = [
    "host",
    "cookie",
    "te",
    "content-length",
    "transfer-encoding",
    "connection",
    "expect",
    "via",
    "x-forwarded-for",
    "forwarded",
    "max-forwards",
    "trailer",
    "x-sum",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "x_forwarded_for",
    "content_length",
    "x-glooshot-fault",
    "X-Upper",
    "",
    ":path",
    "x-a",
];
const VALUES: [&str; 19] = [
    "a",
    "",
    "0",
    "5",
    "18446744073709551615",
    "5, 5",
    "chunked",
    "gzip, chunked",
    "trailers",
    "close, x-a",
    "100-continue",
    "ratings",
    "a=b; c=d",
    "x-sum",
    "1.1 ratings.bookinfo.glooshot",
    "websocket",
    " a ",
    "a\r\nHost: b",
    "a\tb\u{e4}",
];

impl Text {
    /// One character per byte.
    fn latin1(&self, usual: &[&str]) -> String {
        match self {
            Self::Usual(index) => latin1(usual[usize::from(*index) % usual.len()].as_bytes()),
            Self::Any(bytes) => latin1(bytes),
        }
    }
}

impl Field {
    fn pair(&self) -> Pair {
        (self.name.latin1(&NAMES), self.value.latin1(&VALUES))
    }
}

/// The frames of the story that these bytes tell.
fn written(data: &[u8]) -> Vec<u8> {
    let Ok(moves) = Vec::<Move>::arbitrary_take_rest(Unstructured::new(data)) else { return Vec::new() };
    let mut opened = 0;
    let frames: Vec<Frame> = moves.iter().flat_map(|it| frames_of(it, &mut opened)).collect();
    bytes_of(&frames)
}

fn frames_of(it: &Move, opened: &mut u32) -> Vec<Frame> {
    // A client's streams are odd; most moves concern one that is open.
    let of = |stream: u8, opened: u32| u32::from(stream) % opened.max(1) * 2 + 1;
    match it {
        Move::Request { pseudo, fields, ends, cut_at } => {
            let stream = *opened * 2 + 1;
            *opened += 1;
            head(stream, &hpack::block(&list(pseudo, fields)), *ends, *cut_at)
        }
        Move::Data { stream, bytes, ends, padding } => {
            let data = Frame::data(of(*stream, *opened), bytes, *ends);
            vec![padding.map_or(data.clone(), |padding| data.padded(padding))]
        }
        Move::Trailers { stream, fields, ends } => {
            let fields: Vec<Pair> = fields.iter().map(Field::pair).collect();
            vec![Frame::headers(of(*stream, *opened), &hpack::block(&fields), *ends)]
        }
        Move::Reset { stream, code } => vec![Frame::rst_stream(of(*stream, *opened), u32::from(*code))],
        Move::Window { stream, more } => vec![Frame::window_update(of(*stream, *opened), *more)],
        Move::Setting { name, value } => vec![Frame::settings(&[(u16::from(*name), *value)])],
        Move::Ping => vec![Frame::ping([0; 8])],
        Move::Frame { kind, flags, stream, payload } => {
            vec![Frame::new(*kind, *flags, u32::from(*stream), payload.as_slice())]
        }
    }
}

/// A request's head, in one frame or in two.
fn head(stream: u32, block: &[u8], ends: bool, cut_at: Option<u8>) -> Vec<Frame> {
    let Some(at) = cut_at else { return vec![Frame::headers(stream, block, ends)] };
    let (first, rest) = block.split_at(usize::from(at).min(block.len()));
    vec![Frame::headers(stream, first, ends).without(flag::END_HEADERS), Frame::continuation(stream, rest, true)]
}

fn list(pseudo: &Pseudo, fields: &[Field]) -> Vec<Pair> {
    let named = [
        (":method", &pseudo.method, &METHODS[..]),
        (":scheme", &pseudo.scheme, &SCHEMES),
        (":authority", &pseudo.authority, &AUTHORITIES),
        (":path", &pseudo.path, &PATHS),
    ];
    let mut list: Vec<Pair> = named
        .iter()
        .filter_map(|(name, text, usual)| Some(((*name).to_owned(), text.as_ref()?.latin1(usual))))
        .collect();
    list.extend(pseudo.again.iter().map(Field::pair));
    let at = if pseudo.behind { 0 } else { list.len() };
    list.splice(at..at, fields.iter().map(Field::pair));
    list
}
