//! What a frame of the peer means: it changes the state and may have to be answered. What no correct peer sends is an error.

use super::{
    fields::{Section, check},
    frame::{Frame, MAX_PAYLOAD, flag, kind, number},
    setting,
    state::{GoAway, INITIAL_WINDOW, Role, State},
};

impl State {
    /// Takes in one frame; gives the frames that answer it.
    pub fn take(&mut self, frame: Frame) -> Result<Vec<Frame>, String> {
        self.frames += 1;
        let most = self.terms.setting(setting::MAX_FRAME_SIZE).map_or(MAX_PAYLOAD, |size| size as usize);
        if frame.payload.len() > most {
            return Err(format!("a frame of {} bytes", frame.payload.len()));
        }
        if self.settings.is_none() && (frame.kind != kind::SETTINGS || frame.has(flag::ACK)) {
            return Err(format!("not SETTINGS first: {frame:?}"));
        }
        if self.open_block.is_some() != (frame.kind == kind::CONTINUATION) {
            return Err(format!("within or outside of a field block: {frame:?}"));
        }
        let of_the_connection = matches!(frame.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        if frame.kind <= kind::CONTINUATION
            && frame.kind != kind::WINDOW_UPDATE
            && of_the_connection != (frame.stream == 0)
        {
            return Err(format!("on the wrong stream: {frame:?}"));
        }
        match frame.kind {
            kind::DATA => self.data(&frame),
            kind::HEADERS => self.headers(&frame),
            kind::CONTINUATION => self.continuation(&frame),
            kind::RST_STREAM => self.rst_stream(&frame),
            kind::SETTINGS => self.settings(&frame),
            kind::PING if frame.payload.len() == 8 => Ok(if frame.has(flag::ACK) {
                self.pings_answered += 1;
                Vec::new()
            } else {
                vec![frame.with(flag::ACK)]
            }),
            kind::GOAWAY => self.goaway(&frame),
            kind::WINDOW_UPDATE => self.window_update(&frame),
            kind::PUSH_PROMISE | kind::PING => Err(format!("not to be sent: {frame:?}")),
            // PRIORITY means nothing any more, and unknown kinds never did (RFC 9113 sections 5.3 and 5.5).
            _ => Ok(Vec::new()),
        }
    }

    fn data(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        let content = frame.content()?;
        let length = u32::try_from(frame.payload.len()).unwrap();
        let (grants, keeps_bodies) = (self.terms.grants, self.terms.keeps_bodies);
        self.receive_window -= i64::from(length);
        let connection_window = self.receive_window;
        let stream = self.stream(frame.stream);
        if stream.head.is_empty() || stream.is_over() {
            return Err(format!("DATA on a stream with head {:?}, ended {}", stream.head, stream.ended));
        }
        stream.receive_window -= i64::from(length);
        if connection_window < 0 || stream.receive_window < 0 {
            return Err(format!("windows exceeded: {connection_window}, {}", stream.receive_window));
        }
        stream.received += content.len() as u64;
        if keeps_bodies {
            stream.body.extend_from_slice(content);
        }
        if frame.has(flag::END_STREAM) {
            self.end(frame.stream)?;
        }
        if !grants || length == 0 {
            return Ok(Vec::new());
        }
        self.grant(0, length);
        self.grant(frame.stream, length);
        Ok(vec![Frame::window_update(0, length), Frame::window_update(frame.stream, length)])
    }

    fn headers(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if frame.stream.is_multiple_of(2) {
            return Err(format!("a stream that no client opens: {frame:?}"));
        }
        let block = Frame::new(frame.kind, frame.flags, frame.stream, frame.content()?);
        if block.has(flag::END_HEADERS) { self.block(&block) } else { self.open(block) }
    }

    fn open(&mut self, block: Frame) -> Result<Vec<Frame>, String> {
        self.open_block = Some(block);
        Ok(Vec::new())
    }

    fn continuation(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        let mut block = self.open_block.take().ok_or("CONTINUATION of nothing")?;
        if block.stream != frame.stream {
            return Err(format!("CONTINUATION of another stream: {frame:?}"));
        }
        block.payload.extend_from_slice(&frame.payload);
        if frame.has(flag::END_HEADERS) { self.block(&block) } else { self.open(block) }
    }

    /// A whole field block.
    fn block(&mut self, block: &Frame) -> Result<Vec<Frame>, String> {
        let fields = self.decoder.decode(&block.payload)?;
        let (role, end) = (self.role, block.has(flag::END_STREAM));
        let stream = self.stream(block.stream);
        if stream.is_over() {
            return Err(format!("HEADERS on a stream that is over: {fields:?}"));
        }
        if !stream.head.is_empty() {
            check(&fields, Section::Trailers)?;
            if !end {
                return Err(format!("trailers without an end: {fields:?}"));
            }
            stream.trailers = fields;
        } else if role == Role::Server {
            check(&fields, Section::Request)?;
            stream.head = fields;
        } else {
            check(&fields, Section::Response)?;
            if fields[0].1.starts_with('1') {
                stream.interim.push(fields);
                return if end { Err("an interim answer that ends the stream".to_owned()) } else { Ok(Vec::new()) };
            }
            stream.head = fields;
        }
        if end {
            self.end(block.stream)?;
        }
        Ok(Vec::new())
    }

    /// The stream is complete: its body must be as long as its head says (RFC 9113 section 8.1.1).
    fn end(&mut self, id: u32) -> Result<(), String> {
        let stream = self.stream(id);
        stream.ended = true;
        let without_body = stream.answers_head || matches!(stream.status(), 204 | 304);
        let said = stream.one("content-length").and_then(|length| length.parse::<u64>().ok());
        let expected = if without_body { Some(0) } else { said };
        match expected {
            Some(length) if length != stream.received => {
                Err(format!("{length} bytes were said, {} came", stream.received))
            }
            _ => Ok(()),
        }
    }

    fn rst_stream(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if frame.payload.len() != 4 {
            return Err(format!("{frame:?}"));
        }
        if !self.streams.contains_key(&frame.stream) && self.role == Role::Server {
            return Err(format!("RST_STREAM on an idle stream: {frame:?}"));
        }
        self.stream(frame.stream).reset = Some(number(&frame.payload));
        Ok(Vec::new())
    }

    fn settings(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if frame.has(flag::ACK) {
            return self.settings_acknowledged(frame);
        }
        if !frame.payload.len().is_multiple_of(6) {
            return Err(format!("{frame:?}"));
        }
        let before = self.peer_window();
        let settings = self.settings.get_or_insert_default();
        for entry in frame.payload.chunks(6) {
            settings.insert(u16::from_be_bytes([entry[0], entry[1]]), number(&entry[2..]));
        }
        let change = self.peer_window() - before;
        for stream in self.streams.values_mut() {
            stream.send_window += change;
        }
        Ok(vec![Frame::settings_ack()])
    }

    fn settings_acknowledged(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if !frame.payload.is_empty() {
            return Err(format!("{frame:?}"));
        }
        self.settings_acked += 1;
        if self.settings_acked == 1 {
            let change = self.terms.window() - INITIAL_WINDOW;
            self.streams.values_mut().for_each(|stream| stream.receive_window += change);
        }
        Ok(Vec::new())
    }

    fn goaway(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if frame.payload.len() < 8 {
            return Err(format!("{frame:?}"));
        }
        let goaway = GoAway { last_stream: number(&frame.payload), code: number(&frame.payload[4..]) };
        if self.goaways.last().is_some_and(|last| last.last_stream < goaway.last_stream) {
            return Err(format!("the last stream rises: {:?}, {goaway:?}", self.goaways));
        }
        self.goaways.push(goaway);
        Ok(Vec::new())
    }

    fn window_update(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        let increment = if frame.payload.len() == 4 { number(&frame.payload) } else { 0 };
        if increment == 0 || increment > 0x7fff_ffff {
            return Err(format!("{frame:?}"));
        }
        let window = if frame.stream == 0 { &mut self.send_window } else { &mut self.stream(frame.stream).send_window };
        *window += i64::from(increment);
        if *window > 0x7fff_ffff { Err(format!("a window of {window}")) } else { Ok(Vec::new()) }
    }
}
