//! One request as the scripted upstream sees it, and what the script can do about it.

use super::{
    endpoint::Endpoint,
    fields::fields,
    frame::Frame,
    state::{State, Stream},
};
use crate::harness::{client::Ending, patience::Gate};

/// A request whose head has come.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its connection.
    pub endpoint: Endpoint,
    /// Its stream.
    pub stream: u32,
}

impl Call {
    /// What has come of the request so far.
    pub fn request(&self) -> Stream {
        self.endpoint.state().stream(self.stream).clone()
    }

    /// The whole request; none when it is cut off.
    pub fn whole(&self) -> Option<Stream> {
        let over = |state: &mut State| state.stream(self.stream).is_over().then_some(());
        self.endpoint.try_wait(std::time::Duration::from_mins(1), over)?;
        Some(self.request()).filter(Stream::is_whole)
    }

    /// Waits for the test.
    pub fn wait_at(&self, gate: &Gate) {
        gate.wait();
    }

    /// The head of the answer, or of an interim one.
    pub fn head(&self, status: &str, more: &[(&str, &str)], end: bool) {
        let head = [fields(&[(":status", status)]), fields(more)].concat();
        self.endpoint.send_fields(self.stream, &head, end);
    }

    /// A part of the answer's body, as the windows allow; false when the stream is cut off or the connection ends before.
    pub fn data(&self, bytes: &[u8], end: bool) -> bool {
        self.endpoint.send_body(self.stream, bytes, end)
    }

    /// The fields behind the answer's body.
    pub fn trailers(&self, trailers: &[(&str, &str)]) {
        self.endpoint.send_fields(self.stream, &fields(trailers), true);
    }

    /// Cuts the stream off.
    pub fn reset(&self, code: u32) {
        self.endpoint.send_frame(&Frame::rst_stream(self.stream, code));
    }

    /// A whole answer with a Content-Length.
    pub fn answer(&self, body: &str) {
        self.head("200", &[("content-length", &body.len().to_string())], body.is_empty());
        if !body.is_empty() {
            self.data(body.as_bytes(), true);
        }
    }

    /// Waits until the peer cuts the stream off or the connection ends; the code, if there is one.
    pub fn cut_off(&self) -> Option<u32> {
        self.endpoint.try_wait(std::time::Duration::from_mins(1), |state| {
            let ended = state.ending != Ending::StillOpen;
            let reset = state.stream(self.stream).reset;
            (ended || reset.is_some()).then_some(reset)
        })?
    }
}
