//! The harness itself, tested against a plain TCP forwarder: a judge that cannot fail would prove nothing.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use crate::harness::{
    Client, Ending, Step, Upstream, answer,
    corpus::{Case, Expect, parse, segments},
    forwarder::Forwarder,
    get,
    judge::{Middle, judge, try_judge},
    load,
    metrics::Metrics,
    post, sockets,
    upstream::{BlackHole, RefusingPort},
    wire::{self, Framing, Parsed},
};

impl Middle for Forwarder {
    fn address(&self) -> SocketAddr {
        Self::address(self)
    }

    fn rejected(&self) -> Option<f64> {
        None
    }

    fn is_the_proxy(&self) -> bool {
        false
    }
}

fn judged(expect: Expect, bytes: &[u8]) -> Result<(), String> {
    let upstream = Upstream::naming_the_target();
    let forwarder = Forwarder::to(upstream.address());
    try_judge(&forwarder, &upstream, &Case::new("a case", expect, bytes))
}

#[test]
fn a_good_request_is_judged_good() {
    let upstream = Upstream::naming_the_target();
    let forwarder = Forwarder::to(upstream.address());
    let mut case = Case::new("a case", Expect::One, post("/a", "hello"));
    case.framing = Some(Framing::Length(5));
    case.body = Some(b"hello".to_vec());
    case.has.push(("host".to_owned(), "ratings".to_owned()));
    case.lacks.push("x-secret".to_owned());
    judge(&forwarder, &upstream, &case);
}

#[test]
fn a_wrong_detail_of_a_good_request_is_found() {
    let upstream = Upstream::naming_the_target();
    let forwarder = Forwarder::to(upstream.address());
    let good = Case::new("a case", Expect::One, post("/a", "hello"));
    let spoil: [fn(&mut Case); 6] = [
        |case| case.framing = Some(Framing::Chunked),
        |case| case.body = Some(b"hullo".to_vec()),
        |case| case.target = Some("/b".to_owned()),
        |case| case.has.push(("host".to_owned(), "reviews".to_owned())),
        |case| case.lacks.push("HOST".to_owned()),
        |case| case.never.push("RATINGS".to_owned()),
    ];
    for spoil in spoil {
        let mut case = good.clone();
        spoil(&mut case);
        assert!(try_judge(&forwarder, &upstream, &case).is_err(), "{case:?}");
    }
}

#[test]
fn requests_in_one_segment_are_counted() {
    let three = [get("/a"), post("/b", "xyz"), get("/c")].concat();
    assert_eq!(judged(Expect::Requests(3), &three), Ok(()));
    assert!(judged(Expect::Requests(2), &three).is_err());
}

#[test]
fn a_request_that_gets_through_is_not_judged_refused() {
    let two = [get("/a"), get("/b")].concat();
    std::thread::scope(|scope| {
        for (expect, bytes) in [
            (Expect::Reject(vec![400]), get("/a")),
            (Expect::Reject(vec![200]), get("/a")),
            (Expect::AnswerThenReject(vec![200]), two),
            (Expect::Abort, get("/a")),
        ] {
            scope.spawn(move || assert!(judged(expect.clone(), &bytes).is_err(), "{expect:?}"));
        }
    });
}

#[test]
fn two_framings_that_are_forwarded_are_found() {
    let upstream = Upstream::raw(|mut stream, recorder| {
        while recorder.read(stream) {
            stream.write_all(&answer("/a")).unwrap();
        }
    });
    let forwarder = Forwarder::to(upstream.address());
    let both =
        b"POST /a HTTP/1.1\r\nHost: ratings\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX";
    let mut case = Case::new("a case", Expect::One, both);
    case.closes = true;
    assert!(try_judge(&forwarder, &upstream, &case).is_err());
}

#[test]
fn the_reader_of_messages_takes_nothing_but_exact_messages() {
    let Parsed::Whole(message) = wire::request(
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\nrest",
    ) else {
        panic!("not whole")
    };
    assert_eq!((message.framing, message.text().as_str(), message.chunk_extensions), (Framing::Chunked, "hi", true));
    assert_eq!(message.trailers, [("X-Sum".to_owned(), "7".to_owned())]);
    for partial in [&b"POST /a HT"[..], b"GET / HTTP/1.1\r\n\r", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell"] {
        assert_eq!(wire::request(partial), Parsed::Partial, "{}", wire::readable(partial));
    }
    for broken in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ] {
        assert!(matches!(wire::request(broken), Parsed::Broken(_)), "{}", wire::readable(broken));
    }
    assert_eq!(wire::response(b"HTTP/1.1 200 OK\r\n\r\nhal", "GET", false), Parsed::Partial);
    assert!(matches!(wire::response(b"HTTP/1.1 200 OK\r\n\r\nhal", "GET", true), Parsed::Whole(_)));
    assert!(matches!(wire::response(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", false), Parsed::Whole(_)));
}

#[test]
fn a_corpus_file_is_read_with_its_escapes_and_segments() {
    let case = parse(
        "a",
        "# About\n# why: so\n# expect: reject 400,501\n# has: x-a: 1\n---\nGET\\x20/\\|\\*3{ab\\0}\n\\r\\n\n",
    )
    .unwrap();
    assert_eq!(case.expect, Expect::Reject(vec![400, 501]));
    assert_eq!(case.segments, [b"GET /".to_vec(), b"ab\0ab\0ab\0\r\n".to_vec()]);
    assert_eq!(segments("\\\\\\t\\x7F").unwrap().concat(), b"\\\t\x7f");
    for bad in [
        "# A\n---\nx",
        "# A\n# expect: maybe\n---\nx",
        "# A\n# expect: one\nx",
        "# A\n# expect: one\n---\nx \n",
        "# A\n# expect: one\n---\n\\q",
    ] {
        assert!(parse("a", bad).is_err(), "{bad:?}");
    }
}

#[test]
fn segments_are_read_one_by_one() {
    let lengths = Arc::new(Mutex::new(Vec::new()));
    let noted = lengths.clone();
    let upstream = Upstream::raw(move |stream, recorder| {
        let mut from = 0;
        while recorder.read(stream) {
            let length = recorder.bytes(from).len();
            noted.lock().unwrap().push(length);
            from += length;
        }
    });
    for _ in 0..20 {
        let mut client = Client::connect(upstream.address());
        client.send_segments([&b"a"[..], b"bc", b"d", b"efg"]);
        client.finish_sending();
        client.expect_end();
        assert_eq!(std::mem::take(&mut *lengths.lock().unwrap()), [1, 2, 1, 3]);
    }
    assert_eq!(sockets::connections_of(upstream.address()), 0);
}

#[test]
fn a_script_closes_resets_and_echoes() {
    let ends = [
        (Step::Close, Ending::Closed, &b""[..]),
        (Step::Reset, Ending::Reset, b""),
        (Step::Echo, Ending::Closed, b"after"),
    ];
    for (step, ending, echoed) in ends {
        let upstream = Upstream::scripted(move |_| vec![Step::Send(answer("ok")), step.clone()]);
        let mut client = Client::connect(upstream.address());
        assert_eq!(client.ask(&get("/a")).text(), "ok");
        if !echoed.is_empty() {
            client.send(echoed);
            client.finish_sending();
        }
        assert_eq!(client.read_to_end(), (echoed.to_vec(), ending));
    }
}

#[test]
fn a_refusing_port_refuses_and_a_black_hole_does_not_answer() {
    use std::{io::ErrorKind, net::TcpStream, time::Duration};
    let refusing = RefusingPort::new();
    let error = TcpStream::connect(refusing.address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let hole = BlackHole::new();
    let error = TcpStream::connect_timeout(&hole.address(), Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_load_is_counted_on_both_sides() {
    let upstream = load::CountingUpstream::start();
    let forwarder = Forwarder::to(upstream.address());
    let tally = load::send(forwarder.address(), 4, 1_000, |number| get(&format!("/{number}")));
    assert_eq!((tally.answered(), tally.status(200), tally.marked(), tally.unanswered), (1_000, 1_000, 0, 0));
    assert_eq!(upstream.requests(), 1_000);
}

#[test]
fn a_marker_is_seen_by_the_load() {
    let marked = "HTTP/1.1 500 Internal Server Error\r\nX-Glooshot-Fault: abort; x\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::scripted(move |exchange| {
        vec![Step::Send(if exchange.request.target() == "/7" { marked.into() } else { answer("ok") })]
    });
    let tally = load::send(upstream.address(), 2, 10, |number| get(&format!("/{number}")));
    assert_eq!((tally.status(200), tally.status(500), tally.marked()), (9, 1, 1));
    assert_eq!(tally.by_marker["abort; x"], 1);
    assert!(tally.last_marked.is_some());
}

#[test]
fn figures_are_read_by_name_and_labels() {
    let metrics =
        Metrics::parse("# TYPE a counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"1\",y=\"3\"} 4\nb 5.5\n# EOF\n");
    assert_eq!(metrics.sum("a_total", &[("x", "1")]), 7.0);
    assert_eq!(metrics.sum("a_total", &[("y", "2"), ("x", "1")]), 3.0);
    assert_eq!(metrics.sum("b", &[]), 5.5);
    assert_eq!(metrics.sum("c", &[]), 0.0);
}
