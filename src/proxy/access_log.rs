//! The access log: one structured event for a request, or for a connection that was faulted, sampled, bounded in lines and bytes, and without secrets.
//!
//! Of what a client sends only method and path are written, escaped and cut; never a query, a header or a body.

use std::{cell::Cell, fmt::Write as _, time::Duration};

use http::{Method, Uri};

use super::{clock::Moment, head::RequestHead};

/// Lines of one core in a second at the most; more are counted.
const LINES: u32 = 1_000;
const SECOND: Duration = Duration::from_secs(1);
/// Bytes of a path that are written at the most.
const PATH: usize = 256;

/// What a line says of a request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    method: Method,
    uri: Uri,
}

/// One core's log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    /// Requests are written whose random number is at most this.
    share: u64,
    second: Cell<Moment>,
    lines: Cell<u32>,
}

impl AccessLog {
    /// A log that writes this share (0 to 1) of the requests, and all that were faulted or failed.
    pub(crate) fn new(share: f64) -> Self {
        // The conversion saturates, so that 1 is all of them.
        let share = (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        Self { share, second: Cell::default(), lines: Cell::new(0) }
    }

    /// Whether anybody listens to the log.
    pub(crate) fn is_on() -> bool {
        tracing::enabled!(target: "glooshot::access", tracing::Level::DEBUG)
    }

    /// What to remember of a request until it has ended; nothing where nobody listens to the log.
    pub(crate) fn ask(head: &RequestHead) -> Option<Asked> {
        Self::is_on().then(|| Asked { method: head.method.clone(), uri: head.uri.clone() })
    }

    /// Whether this request is written if there is room for it.
    pub(crate) fn samples(&self, random: u64, matters: bool) -> bool {
        matters || random <= self.share
    }

    /// Whether there is room for a line in this second.
    pub(crate) fn has_room(&self, now: Moment) -> bool {
        if now.since(self.second.get()) >= SECOND {
            self.second.set(now);
            self.lines.set(0);
        }
        self.lines.set(self.lines.get().saturating_add(1));
        self.lines.get() <= LINES
    }
}

impl Asked {
    /// The method, as it is written.
    pub(crate) fn method(&self) -> String {
        escaped(self.method.as_str(), 32)
    }

    /// The path, as it is written.
    pub(crate) fn path(&self) -> String {
        escaped(self.uri.path(), PATH)
    }
}

/// Text in which nothing can end the line, move a terminal's cursor or close a quotation, cut after `most` bytes.
fn escaped(text: &str, most: usize) -> String {
    let mut safe = String::new();
    for byte in text.bytes() {
        if safe.len() >= most {
            safe.push_str("...");
            break;
        }
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\') {
            safe.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_path_can_forge_a_line() {
        assert_eq!(escaped("/a\r\nb\u{1b}[2J\"\\ é", 99), "/a\\x0d\\x0ab\\x1b[2J\\x22\\x5c\\x20\\xc3\\xa9");
    }

    #[test]
    fn a_long_path_is_cut() {
        let line = escaped(&"a".repeat(10_000), PATH);
        assert_eq!(line.len(), PATH + 3);
        assert!(line.ends_with("a..."));
    }

    #[test]
    fn a_query_is_never_written() {
        let asked = Asked { method: Method::GET, uri: Uri::from_static("/login?password=x") };
        assert_eq!((asked.method().as_str(), asked.path().as_str()), ("GET", "/login"));
    }

    #[test]
    fn lines_are_bounded_by_the_second() {
        let log = AccessLog::new(1.0);
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        assert!((0..LINES).all(|_| log.has_room(at(5))));
        assert!(!log.has_room(at(5)));
        assert!(log.has_room(at(6)));
    }

    #[test]
    fn a_share_of_the_requests_is_written_and_every_one_that_matters() {
        let log = AccessLog::new(0.5);
        assert!(log.samples(0, false) && log.samples(u64::MAX / 2 - 1024, false));
        assert!(!log.samples(u64::MAX / 2 + 1024, false) && log.samples(u64::MAX, true));
        assert!(AccessLog::new(1.0).samples(u64::MAX, false));
    }
}
