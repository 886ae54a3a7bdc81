//! A message on its way: a request to the upstream or an answer to the client, its head, and its body as it comes.

use std::{
    io::Write as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::{
    super::head::{RequestHead, ResponseHead},
    answer::{self, Manner},
    asked::Terms,
    encode::{self, Framing},
    error::Error,
    output::Output,
};

/// What is left to send of a message.
#[derive(Debug)]
pub(crate) struct Sending<B> {
    output: Output,
    /// `None` when all of it is in the output.
    body: Option<B>,
    framing: Framing,
    /// The trailers that may come behind chunks.
    announced: Vec<HeaderName>,
}

impl<B> Sending<B> {
    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self { output: Output::default(), body: None, framing: Framing::Nothing, announced: Vec::new() }
    }
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// This request.
    pub(crate) fn of(request: &RequestHead, body: B) -> Self {
        let framing = Framing::of(request, &body);
        let announced = if framing == Framing::Chunks { encode::announced(&request.fields) } else { Vec::new() };
        Self::with(framing, announced, body, |out| encode::head(request, framing, out))
    }

    /// The answer with this head.
    pub(crate) fn of_answer(response: &ResponseHead, terms: Terms, manner: Manner, body: B) -> Self {
        let framing = manner.framing;
        let may_have_trailers = terms.takes_trailers && framing == Framing::Chunks;
        let announced = if may_have_trailers { encode::announced(&response.fields) } else { Vec::new() };
        Self::with(framing, announced, body, |out| answer::head(response, terms, manner, out))
    }

    fn with(framing: Framing, announced: Vec<HeaderName>, body: B, head: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut output = Output::default();
        output.write_own(head);
        let has_none = framing == Framing::Nothing || body.is_end_stream();
        Self { output, body: (!has_none).then_some(body), framing, announced }
    }

    /// Sends on until all of it is sent: reads on in the body when the stream has taken what was there.
    pub(crate) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        loop {
            let mut waits = false;
            // A part of the body that is there already goes with the head.
            if self.output.has_room()
                && let Some(body) = &mut self.body
            {
                match Pin::new(body).poll_frame(cx) {
                    Poll::Pending => waits = true,
                    Poll::Ready(Some(frame)) => self.add(frame.map_err(|error| Error::Source(error.into()))?)?,
                    Poll::Ready(None) => self.end(None)?,
                }
            }
            ready!(self.output.poll_write(stream, cx))?;
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Adds what came of the body.
    fn add(&mut self, frame: Frame<Bytes>) -> Result<(), Error> {
        match frame.into_data() {
            Ok(data) => self.add_data(data),
            Err(frame) => self.end(frame.into_trailers().ok().as_ref()),
        }
    }

    fn add_data(&mut self, data: Bytes) -> Result<(), Error> {
        // An empty chunk would end the body.
        if !data.is_empty() {
            let length = data.len() as u64;
            match &mut self.framing {
                Framing::Chunks => {
                    // Writing to a vector does not fail.
                    self.output.write_own(|out| _ = write!(out, "{length:x}\r\n"));
                    self.output.put(data, b"\r\n");
                }
                Framing::Length(left) => {
                    *left = left.checked_sub(length).ok_or_else(|| Error::Source("too much came of it".into()))?;
                    self.output.put(data, b"");
                }
                Framing::UntilClose => self.output.put(data, b""),
                Framing::Nothing => {}
            }
        }
        if self.framing == Framing::Length(0) { self.end(None) } else { Ok(()) }
    }

    /// Adds the end of the body.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Error> {
        match self.framing {
            Framing::Chunks => self.output.write_own(|out| {
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if self.announced.contains(name) {
                        encode::field(name.as_ref(), value.as_bytes(), out);
                    }
                }
                out.extend_from_slice(b"\r\n");
            }),
            Framing::Length(left) if left > 0 => return Err(Error::Source("too little came of it".into())),
            Framing::Length(_) | Framing::Nothing | Framing::UntilClose => {}
        }
        self.body = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, task::Waker};

    use http::HeaderValue;
    use http_body::SizeHint;
    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::*;

    /// A body in parts, whose length may be told beforehand. `None` is a part that is not there yet.
    struct Parts(VecDeque<Option<Frame<Bytes>>>, Option<u64>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(frame) => Poll::Ready(frame.map(Ok)),
                None => Poll::Ready(None),
            }
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map(SizeHint::with_exact).unwrap_or_default()
        }
    }

    fn data(parts: &[&'static str]) -> VecDeque<Option<Frame<Bytes>>> {
        parts.iter().flat_map(|part| [None, Some(Frame::data(Bytes::from_static(part.as_bytes())))]).collect()
    }

    /// What is sent through a pipe that takes `room` bytes at a time, behind the head.
    async fn sent(body: Parts, room: usize) -> Result<String, Error> {
        let mut sending = Sending::of(&RequestHead::post("/", &[("trailer", "x-sum")]), body);
        let (mut ours, mut theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(room);
        let sent = async move { std::future::poll_fn(|cx| sending.poll(&mut ours, cx)).await };
        let mut read = String::new();
        let (sent, _) = tokio::join!(sent, theirs.read_to_string(&mut read));
        let (_, body) = read.split_once("\r\n\r\n").unwrap();
        sent.map(|()| body.to_owned())
    }

    #[tokio::test]
    async fn chunks_carry_what_comes_and_only_announced_trailers_behind_it() {
        let trailers = [("x-sum", "7"), ("x-other", "8")];
        let trailers = trailers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        for room in [1, 7, 1_000] {
            let mut parts = data(&["hello", "", "sixteen and more"]);
            parts.push_back(Some(Frame::trailers(trailers.clone().into_iter().collect())));
            assert_eq!(
                sent(Parts(parts, None), room).await.unwrap(),
                "5\r\nhello\r\n10\r\nsixteen and more\r\n0\r\nx-sum: 7\r\n\r\n"
            );
        }
    }

    #[tokio::test]
    async fn a_body_of_known_length_is_sent_as_it_is() {
        for room in [1, 7, 1_000] {
            assert_eq!(sent(Parts(data(&["hello", "", " you"]), Some(9)), room).await.unwrap(), "hello you");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_of_its_length_is_never_completed() {
        for length in [4, 6] {
            let failed = sent(Parts(data(&["hello"]), Some(length)), 1_000).await;
            assert!(matches!(failed, Err(Error::Source(_))), "{failed:?}");
        }
    }

    #[test]
    fn a_part_that_is_there_already_goes_with_the_head() {
        let body = Parts([Some(Frame::data(Bytes::from_static(b"hello")))].into(), Some(5));
        let mut sending = Sending::of(&RequestHead::post("/", &[]), body);
        let mut stream = noting::Writes::default();
        let polled = sending.poll(&mut stream, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Ok(()))));
        assert_eq!(stream.0, ["POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello"]);
    }

    /// A stream that notes every write.
    mod noting {
        use std::io::{self, IoSlice};

        use super::*;

        #[derive(Default)]
        pub(super) struct Writes(pub(super) Vec<String>);

        impl AsyncWrite for Writes {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>();
                let count = bytes.len();
                self.0.push(String::from_utf8(bytes).unwrap());
                Poll::Ready(Ok(count))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
    }
}
