//! What an upstream says first over HTTP/2: its SETTINGS (RFC 9113 §3.4). Who begins with anything else does not speak it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::tapped_io::Tap;

/// Bytes of a frame's header.
const HEADER: usize = 9;
/// The type of a SETTINGS frame.
const SETTINGS: u8 = 4;
/// Bytes of one setting, and the number of the one that says how many streams may be open.
const SETTING: usize = 6;
const MAX_CONCURRENT_STREAMS: u16 = 3;
/// Bytes of the first SETTINGS at the most: there are a few settings, not hundreds.
const MAX_LENGTH: usize = 1_024;

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// SETTINGS; and how many streams may be open, where that is limited.
    Settings(Option<u32>),
    /// Something else.
    NotHttp2,
}

/// Reads the greeting, in as many parts as it comes.
#[derive(Debug, Default)]
struct Reader(Vec<u8>);

impl Reader {
    /// Reads these bytes too; the greeting as soon as it is whole.
    fn read(&mut self, bytes: &[u8]) -> Option<Greeting> {
        let room = (HEADER + MAX_LENGTH).saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend_from_slice(bytes.get(..room).unwrap_or_default());
        let (header, payload) = self.0.split_at_checked(HEADER)?;
        let [l1, l2, l3, kind, _, s1, s2, s3, s4] = *header else { return None };
        let length = usize::try_from(u32::from_be_bytes([0, l1, l2, l3])).unwrap_or(usize::MAX);
        if kind != SETTINGS || [s1, s2, s3, s4] != [0; 4] || length > MAX_LENGTH || length % SETTING != 0 {
            return Some(Greeting::NotHttp2);
        }
        let settings = payload.get(..length)?.chunks_exact(SETTING);
        let mut streams = settings.filter_map(|setting| match *setting {
            [i1, i2, v1, v2, v3, v4] if u16::from_be_bytes([i1, i2]) == MAX_CONCURRENT_STREAMS => {
                Some(u32::from_be_bytes([v1, v2, v3, v4]))
            }
            _ => None,
        });
        Some(Greeting::Settings(streams.next_back()))
    }
}

/// The greeting of one connection, for whoever waits for it.
#[derive(Debug, Default)]
pub(crate) struct Greeted {
    said: Mutex<Option<Greeting>>,
    rung: Notify,
}

impl Greeted {
    /// Returns when it has come.
    pub(crate) async fn said(&self) -> Greeting {
        loop {
            let rung = self.rung.notified();
            if let Some(greeting) = *self.said.lock().unwrap_or_else(PoisonError::into_inner) {
                return greeting;
            }
            rung.await;
        }
    }
}

/// Listens for the greeting.
#[derive(Debug)]
pub(crate) struct GreetingTap {
    reader: Option<Reader>,
    greeted: Arc<Greeted>,
}

impl GreetingTap {
    /// Tells `greeted`.
    pub(crate) fn new(greeted: Arc<Greeted>) -> Self {
        Self { reader: Some(Reader::default()), greeted }
    }
}

impl Tap for GreetingTap {
    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(greeting) = self.reader.as_mut().and_then(|reader| reader.read(bytes)) {
            self.reader = None;
            *self.greeted.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(greeting);
            self.greeted.rung.notify_waiters();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(list: &[(u16, u32)]) -> Vec<u8> {
        let length = u8::try_from(list.len() * SETTING).unwrap();
        let mut bytes = vec![0, 0, length, SETTINGS, 0, 0, 0, 0, 0];
        for (id, value) in list {
            bytes.extend(id.to_be_bytes());
            bytes.extend(value.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn settings_are_a_greeting_and_may_say_how_many_streams_are_taken() {
        let said = |bytes: &[u8]| Reader::default().read(bytes);
        assert_eq!(said(&settings(&[])), Some(Greeting::Settings(None)));
        assert_eq!(said(&settings(&[(4, 65_535), (3, 2)])), Some(Greeting::Settings(Some(2))));
        assert_eq!(said(&settings(&[(3, 2), (3, 7)])), Some(Greeting::Settings(Some(7))));
    }

    #[test]
    fn everything_else_is_not_http2() {
        for bytes in [&b"HTTP/1.1 400 Bad Request\r\n"[..], &[0, 0, 8, 6, 0, 0, 0, 0, 0], &[0, 0, 7, 4, 0, 0, 0, 0, 0]]
        {
            assert_eq!(Reader::default().read(bytes), Some(Greeting::NotHttp2), "{bytes:?}");
        }
    }

    #[test]
    fn a_greeting_may_come_byte_by_byte() {
        let bytes = settings(&[(3, 100)]);
        let mut reader = Reader::default();
        let told: Vec<_> = bytes.iter().map(|byte| reader.read(&[*byte])).collect();
        assert!(told[..bytes.len() - 1].iter().all(Option::is_none));
        assert_eq!(told.last(), Some(&Some(Greeting::Settings(Some(100)))));
    }
}
