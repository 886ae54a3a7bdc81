//! Serves a client's connection of HTTP/1: its requests are read, handled and answered, one after the other.

use std::{future::poll_fn, pin::pin, rc::Rc};

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    super::head::{RequestHead, ResponseHead},
    answer::Manner,
    asked::{Asked, Refused, Terms},
    error::Error,
    inbound::{Inbound, Incoming},
    parse::Bounds,
    sending::Sending,
};

/// Answers requests.
pub(crate) trait Service {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin;

    /// The answer to a request, whose head it may use up.
    async fn answer(&self, head: &mut RequestHead, body: Incoming) -> (ResponseHead, Self::Body);

    /// The answer to what is no request; the connection ends with it.
    fn refuse(&self, refused: Refused) -> (ResponseHead, Self::Body);
}

/// How a connection ended. With the stream, shut down on our side, where the client may still be sending what nobody reads.
#[derive(Debug)]
pub(crate) enum Served<S, B> {
    /// It is closed.
    Closed(Option<S>),
    /// What came of a body was not HTTP.
    Malformed(Option<S>),
    /// It speaks another protocol now: the stream, what has come of that already, and the body of the answer that agreed to it.
    Switched(S, Bytes, B),
}

/// Serves a connection until it ends.
pub(crate) async fn serve<S, H>(stream: S, bounds: Bounds, service: &H) -> Served<S, H::Body>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Service,
{
    let inbound = Rc::new(Inbound::new(stream));
    let may_send_more = loop {
        let Asked { mut head, terms, .. } = match poll_fn(|cx| inbound.poll_asked(cx, bounds)).await {
            Ok(Some(asked)) => asked,
            Ok(None) => break false,
            Err(refused) => {
                let refusal = pin!(send(&inbound, service.refuse(refused), Terms::UNKNOWN));
                let _end = inbound.unless_gone(refusal).await;
                break true;
            }
        };
        let answer = {
            let answering = pin!(service.answer(&mut head, Incoming::of(&inbound)));
            inbound.unless_gone(answering).await
        };
        // An answer may be long.
        drop(head);
        let Some(answer) = answer else { break false };
        if answer.0.status == StatusCode::SWITCHING_PROTOCOLS {
            return switch(inbound, answer, terms).await;
        }
        let sent = {
            let sending = pin!(send(&inbound, answer, terms));
            inbound.unless_gone(sending).await
        };
        match sent {
            Some(Ok(manner)) if manner.keeps_alive && poll_fn(|cx| inbound.poll_read_up(cx)).await => {}
            Some(Ok(_)) => break inbound.is_in_a_body(),
            // A part of an answer is never made a whole one.
            Some(Err(_)) | None => return ended(inbound, false),
        }
    };
    // Nobody waits for a client that takes nothing any more; the sweep ends that.
    let _closed = (&*inbound).shutdown().await;
    ended(inbound, may_send_more)
}

/// How a connection ended that did not switch.
fn ended<S, B>(inbound: Rc<Inbound<S>>, may_send_more: bool) -> Served<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let is_malformed = inbound.is_malformed();
    let stream = Rc::into_inner(inbound).filter(|_| may_send_more).map(|inbound| inbound.into_parts().0);
    if is_malformed { Served::Malformed(stream) } else { Served::Closed(stream) }
}

/// Sends an answer.
async fn send<S, B>(inbound: &Inbound<S>, (head, body): (ResponseHead, B), terms: Terms) -> Result<Manner, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let manner = Manner::of(&head, &body, terms);
    let mut sending = Sending::of_answer(&head, terms, manner, body);
    drop(head);
    poll_fn(|cx| inbound.poll_begin_answer(cx)).await?;
    let mut stream = inbound;
    poll_fn(|cx| sending.poll(&mut stream, cx)).await?;
    Ok(manner)
}

/// Sends the answer that agrees to a switch of protocols, and gives the connection away.
async fn switch<S, B>(inbound: Rc<Inbound<S>>, (head, body): (ResponseHead, B), terms: Terms) -> Served<S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if send(&inbound, (head, String::new()), terms).await.is_err() {
        return Served::Closed(None);
    }
    match Rc::try_unwrap(inbound) {
        Ok(inbound) => {
            let (stream, come) = inbound.into_parts();
            Served::Switched(stream, come, body)
        }
        // Somebody still reads the body of the request that asked for it.
        Err(_) => Served::Closed(None),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt as _;

    use super::{super::pieces, *};

    const BOUNDS: Bounds = Bounds { head_bytes: 8_192, fields: 100 };

    /// Answers with the target and what came of the body; `/early` before it has read anything, and `/switch` with a switch of protocols.
    struct Echo;

    impl Service for Echo {
        type Body = String;

        async fn answer(&self, head: &mut RequestHead, body: Incoming) -> (ResponseHead, String) {
            let target = head.uri.to_string();
            let (status, text) = match target.as_str() {
                "/early" => (413, String::new()),
                "/switch" => (101, "agreed".to_owned()),
                _ => match body.collect().await {
                    Ok(body) => (200, format!("{target} {}", String::from_utf8_lossy(&body.to_bytes()))),
                    Err(_) => (400, "body".to_owned()),
                },
            };
            (ResponseHead::of_today(status, &[]), text)
        }

        fn refuse(&self, refused: Refused) -> (ResponseHead, String) {
            (ResponseHead::of_today(400, &[]), format!("{refused:?}"))
        }
    }

    /// What a client gets that sends these pieces and closes its side, each when the one before was read; and how it ended.
    async fn answers(pieces: &[&[u8]]) -> (String, &'static str) {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let served = async { serve(server, BOUNDS, &Echo).await };
        let asked = async {
            for piece in pieces {
                // Who is refused closes, and what comes then goes nowhere.
                let _taken = client.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _told = client.shutdown().await;
            let mut got = String::new();
            client.read_to_string(&mut got).await.unwrap();
            got
        };
        let (served, got) = tokio::join!(
            biased;
            async {
                match served.await {
                    Served::Closed(_) => "closed",
                    Served::Malformed(_) => "malformed",
                    Served::Switched(mut stream, come, body) => {
                        assert_eq!(body, "agreed");
                        stream.write_all(&come).await.unwrap();
                        let (mut rest, mut back) = tokio::io::split(stream);
                        tokio::io::copy(&mut rest, &mut back).await.unwrap();
                        "switched"
                    }
                }
            },
            asked
        );
        (got.replace("date: today\r\n", ""), served)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn requests_are_answered_one_after_the_other_in_their_order() {
        let sent = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nokGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\nConnection: close\r\n\r\nGET /d HTTP/1.1\r\n\r\n";
        let (got, ended) = answers(&[sent]).await;
        let last = ok("/c ").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        assert_eq!((got, ended), ([ok("/a ok"), ok("/b "), last].concat(), "closed"));
    }

    #[tokio::test]
    async fn who_waits_to_be_told_is_told_once_and_only_when_the_body_is_wanted() {
        let head = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
        let (got, _) = answers(&[head, b"in", b"deed"]).await;
        assert!(got.starts_with(&format!("HTTP/1.1 100 Continue\r\n\r\n{}", ok("/a inde"))), "{got}");
        let (got, _) = answers(&[&[&head[..], b"indeed"].concat()]).await;
        assert!(got.starts_with(&ok("/a inde")), "who has sent it is not told: {got}");
        let early = b"POST /early HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
        assert!(answers(&[early]).await.0.starts_with("HTTP/1.1 413 "));
    }

    #[tokio::test]
    async fn a_body_that_nobody_wants_is_skipped_as_far_as_it_is_there() {
        let early = "POST /early HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
        let next = "GET /b HTTP/1.1\r\n\r\n";
        let (got, _) = answers(&[format!("{early}body{next}").as_bytes()]).await;
        assert!(got.ends_with(&ok("/b ")), "{got}");
        let (got, _) = answers(&[format!("{early}bo").as_bytes(), next.as_bytes()]).await;
        assert!(got.ends_with("content-length: 0\r\n\r\n"), "the rest of a body is never a request: {got}");
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused_behind_the_answers_to_those_before_it() {
        let (got, ended) = answers(&[b"GET /a HTTP/1.1\r\n\r\nGET  /b HTTP/1.1\r\n\r\n"]).await;
        let refused = "HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\nconnection: close\r\n\r\nMalformed";
        assert_eq!((got, ended), (ok("/a ") + refused, "closed"));
    }

    #[tokio::test]
    async fn a_body_that_is_not_of_the_grammar_fails_and_ends_the_connection() {
        let head = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n";
        let (got, ended) = answers(&[head]).await;
        assert!(got.starts_with("HTTP/1.1 400 ") && got.ends_with("\r\n\r\nbody"), "{got}");
        assert_eq!(ended, "malformed");
    }

    #[tokio::test]
    async fn behind_a_switch_of_protocols_every_byte_is_given_away() {
        let (got, ended) = answers(&[b"GET /switch HTTP/1.1\r\n\r\nEARLY"]).await;
        assert_eq!((got.as_str(), ended), ("HTTP/1.1 101 Switching Protocols\r\n\r\nEARLY", "switched"));
    }

    /// Answers nothing, and notes whether it was given up.
    struct Never(std::cell::Cell<bool>);

    impl Service for Never {
        type Body = String;

        async fn answer(&self, _: &mut RequestHead, _: Incoming) -> (ResponseHead, String) {
            struct GivenUp<'n>(&'n Never);
            impl Drop for GivenUp<'_> {
                fn drop(&mut self) {
                    self.0.0.set(true);
                }
            }
            let _given_up = GivenUp(self);
            std::future::pending().await
        }

        fn refuse(&self, _: Refused) -> (ResponseHead, String) {
            (ResponseHead::of_today(400, &[]), String::new())
        }
    }

    #[tokio::test]
    async fn a_request_whose_client_has_gone_is_given_up() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
        let never = Never(std::cell::Cell::new(false));
        drop(client);
        assert!(matches!(serve(server, BOUNDS, &never).await, Served::Closed(None)));
        assert!(never.0.get());
    }

    proptest! {
        #[test]
        fn every_split_of_what_a_client_sends_gives_the_same_answers(
            cuts in prop::collection::vec(1usize..40, 0..40),
            text in prop::sample::select(vec![
                "GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /c HTTP/1.0\r\n\r\n",
                "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
                "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
                "\r\nGET /a HTTP/1.1\nX: 1\n\nGET /b HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                "GET /switch HTTP/1.1\r\n\r\nand what is not HTTP any more",
                "hello world\r\n\r\n",
            ]),
        ) {
            let pieces = pieces(text, &cuts);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let split = runtime.block_on(answers(&pieces));
            prop_assert_eq!(split, runtime.block_on(answers(&[text.as_bytes()])));
        }
    }
}
