//! The least that an HTTP proxy does to a message: its head is parsed and written anew, without what belongs to one connection and
//! with the proxy's own marks. No plan, no fault, no metrics, no limits, no errors: a message that is not as the bench sends them ends
//! the process.

use httparse::{EMPTY_HEADER, Header, Request, Response, Status};

const FIELDS: usize = 64;
const VIA: &[u8] = b"via: 1.1 relay\r\n";
const FORWARDED_FOR: &[u8] = b"x-forwarded-for: 127.0.0.1\r\n";

/// Writes a whole message anew, and says how long it has become.
pub fn anew(is_request: bool, message: &[u8], into: &mut [u8]) -> usize {
    let mut out = Out { into, length: 0 };
    let mut fields = [EMPTY_HEADER; FIELDS];
    let head = if is_request {
        let mut request = Request::new(&mut fields);
        let Ok(Status::Complete(head)) = request.parse(message) else { panic!("no request") };
        out.put(&[request.method.unwrap().as_bytes(), b" ", request.path.unwrap().as_bytes(), b" HTTP/1.1\r\n"]);
        out.put_fields(request.headers);
        out.put(&[FORWARDED_FOR]);
        head
    } else {
        let mut response = Response::new(&mut fields);
        let Ok(Status::Complete(head)) = response.parse(message) else { panic!("no answer") };
        // The three digits stand where they always do.
        out.put(&[b"HTTP/1.1 ", &message[9..12], b" ", response.reason.unwrap().as_bytes(), b"\r\n"]);
        let length = out.put_fields(response.headers);
        assert_eq!(length, message.len() - head, "an answer in one piece");
        head
    };
    out.put(&[VIA, b"\r\n", &message[head..]]);
    out.length
}

struct Out<'a> {
    into: &'a mut [u8],
    length: usize,
}

impl Out<'_> {
    fn put(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.into[self.length..][..piece.len()].copy_from_slice(piece);
            self.length += piece.len();
        }
    }

    /// All but those of one connection; says the body's length.
    fn put_fields(&mut self, fields: &[Header<'_>]) -> usize {
        let mut length = 0;
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            // Who closes does so for both sides.
            let closes = field.value == b"close";
            if (is("connection") && !closes) || is("keep-alive") || is("te") || is("upgrade") || is("proxy-connection")
            {
                continue;
            }
            if is("content-length") {
                length = std::str::from_utf8(field.value).unwrap().parse().unwrap();
            }
            self.put(&[field.name.as_bytes(), b": ", field.value, b"\r\n"]);
        }
        length
    }
}
