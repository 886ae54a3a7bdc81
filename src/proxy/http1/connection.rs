//! One connection to an upstream: a request is sent over it while its answer is waited for, and then the answer's body is read.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::head::{RequestHead, ResponseHead},
    decode::Decoder,
    error::Error,
    input,
    parse::{self, Bounds},
    sending::Sending,
};

/// A connection, with the exchange that it carries.
#[derive(Debug)]
pub(crate) struct Connection<S, B> {
    stream: S,
    bounds: Bounds,
    /// What has come and was not used yet.
    input: Bytes,
    sending: Sending<B>,
    /// How the sending ended; `None` while it goes on.
    sent: Option<Result<(), Error>>,
    receiving: Receiving,
    /// The request is one of HEAD.
    asked_for_head: bool,
    keeps_alive: bool,
    has_begun: bool,
}

/// What is read.
#[derive(Debug)]
enum Receiving {
    Head,
    Body(Decoder),
}

impl<S, B> Connection<S, B> {
    /// A connection over which nothing has gone.
    pub(crate) fn new(stream: S, bounds: Bounds) -> Self {
        Self {
            stream,
            bounds,
            input: Bytes::new(),
            sending: Sending::nothing(),
            sent: Some(Ok(())),
            receiving: Receiving::Body(Decoder::Done),
            asked_for_head: false,
            keeps_alive: true,
            has_begun: false,
        }
    }

    /// The stream, to look at.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream, and what was read behind the head of the last answer.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.input)
    }

    /// Whether a byte of the answer to the last request has come; not before the first request.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the request is still being sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.sent.is_none()
    }

    /// Whether it may carry another request, as soon as this one is sent. Whatever came behind an answer belongs to nobody.
    pub(crate) fn may_go_on(&self) -> bool {
        let is_read = matches!(&self.receiving, Receiving::Body(decoder) if decoder.is_done());
        is_read && self.keeps_alive && self.input.is_empty() && !matches!(self.sent, Some(Err(_)))
    }

    /// Whether the answer's body was read to its end.
    pub(crate) fn is_end_stream(&self) -> bool {
        matches!(&self.receiving, Receiving::Body(decoder) if decoder.is_done())
    }

    /// What is known of the length of the rest of the answer's body.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.receiving {
            Receiving::Body(decoder) => decoder.size_hint(),
            Receiving::Head => SizeHint::default(),
        }
    }
}

impl<S, B> Connection<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Begins to send a request; the connection must carry no other.
    pub(crate) fn begin(&mut self, request: &RequestHead, body: B) {
        self.sending = Sending::of(request, body);
        self.sent = None;
        self.receiving = Receiving::Head;
        self.asked_for_head = request.method == http::Method::HEAD;
        self.has_begun = false;
    }

    /// Sends on; ready when there is nothing more to send, or no more can be sent.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sent.is_none() {
            let sent = ready!(self.sending.poll(&mut self.stream, cx));
            // Otherwise all of it has gone already.
            if sent.is_err() {
                self.sending = Sending::nothing();
            }
            self.sent = Some(sent);
        }
        Poll::Ready(())
    }

    /// Sends on, and waits for the head of the answer. An upstream may answer before it has the whole request, and then close.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Error>> {
        let _sends_on = self.poll_send(cx);
        if let Some(Err(Error::Source(_))) = &self.sent
            && let Some(Err(error)) = self.sent.replace(Err(Error::Closed))
        {
            return Poll::Ready(Err(error));
        }
        loop {
            if let Some(head) = ready!(self.poll_head(cx))? {
                self.receiving = Receiving::Body(head.body);
                self.keeps_alive = head.keeps_alive;
                return Poll::Ready(Ok(head.response));
            }
        }
    }

    /// Reads once, and looks whether the head is complete.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<parse::Head>, Error>> {
        let before = self.input.len();
        if !ready!(self.poll_read(cx))? {
            return Poll::Ready(Err(Error::Closed));
        }
        self.has_begun = true;
        // A head ends with a line, so that one that comes byte by byte is not read again for each of them.
        let is_worth_it = before == 0 || self.input.iter().skip(before).any(|byte| *byte == b'\n');
        if is_worth_it || self.input.len() > self.bounds.head_bytes {
            Poll::Ready(parse::head(&mut self.input, self.asked_for_head, self.bounds))
        } else {
            Poll::Ready(Ok(None))
        }
    }

    /// The next part of the answer's body.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            let Receiving::Body(decoder) = &mut self.receiving else { return Poll::Ready(None) };
            match decoder.decode(&mut self.input) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if decoder.is_done() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(self.poll_read(cx)) {
                Ok(true) => {}
                Ok(false) => {
                    self.keeps_alive = false;
                    let Receiving::Body(decoder) = &mut self.receiving else { return Poll::Ready(None) };
                    return Poll::Ready(if decoder.close() { None } else { Some(Err(Error::Closed)) });
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Reads what has come behind what is there; whether anything did before the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        Poll::Ready(Ok(ready!(input::poll_read(&mut self.stream, &mut self.input, cx))?))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::{super::pieces, *};

    const BOUNDS: Bounds = Bounds { head_bytes: 8_192, fields: 100 };

    /// A connection with a request under way, and the upstream's end of it.
    fn asking(body: &str) -> (Connection<DuplexStream, String>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut connection = Connection::new(ours, BOUNDS);
        connection.begin(&RequestHead::post("/", &[]), body.to_owned());
        (connection, theirs)
    }

    /// The status and the body of the answer.
    async fn answer(connection: &mut Connection<DuplexStream, String>) -> Result<(u16, Vec<u8>), String> {
        let head = poll_fn(|cx| connection.poll_answer(cx)).await.map_err(|error| error.to_string())?;
        let mut body = Vec::new();
        while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
            let data = frame.map_err(|error| error.to_string())?.into_data();
            body.extend_from_slice(&data.unwrap_or_default());
        }
        Ok((head.status.as_u16(), body))
    }

    /// What comes of an answer that comes in these pieces, and whether the connection may go on.
    async fn answered(pieces: &[&[u8]]) -> (Result<(u16, Vec<u8>), String>, bool) {
        let (mut connection, mut theirs) = asking("");
        let send = async move {
            for piece in pieces {
                theirs.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            theirs
        };
        let (answer, _open) = tokio::join!(
            async {
                let answer = answer(&mut connection).await;
                (answer, connection.may_go_on())
            },
            send
        );
        answer
    }

    #[tokio::test]
    async fn a_connection_whose_answer_was_read_to_its_end_may_go_on() {
        let (mut connection, mut theirs) = asking("hello");
        theirs.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        assert_eq!(answer(&mut connection).await, Ok((200, b"ok".to_vec())));
        assert!(connection.may_go_on() && connection.has_begun());
        assert_eq!(connection.size_hint().exact(), Some(0));
    }

    #[tokio::test]
    async fn bytes_behind_an_answer_poison_the_connection() {
        for answer in ["Content-Length: 2\r\n\r\nokEVIL", "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nEVIL"]
        {
            let whole = format!("HTTP/1.1 200 OK\r\n{answer}");
            assert_eq!(answered(&[whole.as_bytes()]).await, (Ok((200, b"ok".to_vec())), false));
        }
    }

    #[tokio::test]
    async fn a_connection_that_its_upstream_closes_is_not_used_again() {
        let closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(answered(&[closing]).await, (Ok((200, b"ok".to_vec())), false));
        let (mut connection, mut theirs) = asking("");
        theirs.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").await.unwrap();
        drop(theirs);
        assert_eq!(answer(&mut connection).await, Ok((200, b"ok".to_vec())));
        assert!(!connection.may_go_on());
    }

    #[tokio::test]
    async fn an_answer_before_the_end_of_the_request_leaves_it_to_be_sent() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut connection = Connection::new(ours, BOUNDS);
        let body = "x".repeat(1_000);
        connection.begin(&RequestHead::post("/", &[]), body);
        theirs.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        assert_eq!(answer(&mut connection).await, Ok((413, Vec::new())));
        assert!(connection.is_sending());
        let mut request = Vec::new();
        let (mut connection, ()) = tokio::join!(
            async {
                poll_fn(|cx| connection.poll_send(cx)).await;
                connection
            },
            async {
                while !request.ends_with(&[b'x'; 1_000]) {
                    theirs.read_buf(&mut request).await.unwrap();
                }
            }
        );
        assert!(!connection.is_sending() && connection.may_go_on());
        assert_eq!(connection.stream().write(b"").await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_answer_of_an_upstream_that_reads_no_more_counts() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut connection = Connection::new(ours, BOUNDS);
        connection.begin(&RequestHead::post("/", &[]), "x".repeat(1_000));
        theirs.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        drop(theirs);
        assert_eq!(answer(&mut connection).await, Ok((413, Vec::new())));
        assert!(!connection.may_go_on());
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_garbage() {
        let (answer, _) = answered(&[b"HTTP/1.1 200 OK\r\nX-A: ", &[b'a'; 9_000]]).await;
        assert!(answer.unwrap_err().contains("too long"));
    }

    #[tokio::test]
    async fn a_connection_that_closes_in_the_middle_is_an_error() {
        for part in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"] {
            let (mut connection, mut theirs) = asking("");
            theirs.write_all(part.as_bytes()).await.unwrap();
            drop(theirs);
            assert!(answer(&mut connection).await.unwrap_err().contains("closed"), "{part:?}");
            assert_eq!(connection.has_begun(), !part.is_empty());
        }
    }

    proptest! {
        #[test]
        fn every_split_of_an_answer_gives_the_same(
            cuts in prop::collection::vec(1usize..30, 0..30),
            text in prop::sample::select(vec![
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
                "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX\r\n0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
                "HTTP/1.1 2000 OK\r\n\r\n",
                "hello world\r\n\r\n",
            ]),
        ) {
            let pieces = pieces(text, &cuts);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let split = runtime.block_on(answered(&pieces));
            prop_assert_eq!(split, runtime.block_on(answered(&[text.as_bytes()])));
        }
    }
}
