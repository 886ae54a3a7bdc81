//! A19: where the network cuts a request into segments makes no difference.

use crate::harness::{Client, Glooshot, Message, Upstream, wire::readable};

/// Fifty valid requests: every kind of framing, of line end, of header, each at least once.
fn requests() -> Vec<String> {
    let mut requests = Vec::new();
    let mut add = |method: &str, target: &str, headers: &[&str], body: &str| {
        let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
        requests.push(format!("{method} {target} HTTP/1.1\r\nHost: r\r\n{headers}\r\n{body}"));
    };
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PROPFIND", "M-SEARCH", "get"] {
        add(method, "/a", &[], "");
    }
    for target in ["/", "/a?b=c&d=%20", "//a/../b", "/%2F%00", "/a;b=c", "/~a+b!*'()"] {
        add("GET", target, &[], "");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        add(method, "/l", &["Content-Length: 5"], "hello");
        add(method, "/c", &["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n");
    }
    for length in ["content-length:3", "CONTENT-LENGTH: \t3\t ", "Content-Length: 003"] {
        add("POST", "/l", &[length], "abc");
    }
    for chunks in [
        "0\r\n\r\n",
        "1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
        "1;x=y\r\na\r\n0;z\r\n\r\n",
        "00a\r\n0123456789\r\n000\r\n\r\n",
        "A\r\n0123456789\r\n0\r\n\r\n",
        "4\r\n\r\n\r\n\r\n0\r\n\r\n",
        "5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        "1\r\na\r\n0\r\nX-T: 1\r\n\r\n",
    ] {
        add("POST", "/c", &["transfer-encoding: Chunked", "Trailer: X-T"], chunks);
    }
    for header in [
        "X-Empty:",
        "X-Blanks: \t a  b \t ",
        "x-odd!#$%&'*+-.^_`|~: 1",
        "X-A: \"q\\\"uoted\"",
        "Cookie: a=1; b=2",
        "X-Secret: 1\r\nConnection: x-secret",
        "Connection: keep-alive",
        "X-A: 1\r\nX-A: 2\r\nx-a: 3",
        "Accept: */*\r\nAccept-Encoding: gzip\r\nUser-Agent: t/1",
    ] {
        add("GET", "/h", &[header], "");
    }
    requests.push("GET /lf HTTP/1.1\nHost: r\n\n".to_owned());
    requests.push("POST /lf HTTP/1.1\nHost: r\r\nContent-Length: 2\n\r\nab".to_owned());
    requests.push("\r\nGET /empty-line-before HTTP/1.1\r\nHost: r\r\n\r\n".to_owned());
    requests.push("GET http://other/absolute HTTP/1.1\r\nHost: r\r\n\r\n".to_owned());
    requests.push("OPTIONS * HTTP/1.1\r\nHost: r\r\n\r\n".to_owned());
    requests.push("GET /old HTTP/1.0\r\nHost: r\r\nConnection: keep-alive\r\n\r\n".to_owned());
    requests.push("POST /old HTTP/1.0\r\nHost: r\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab".to_owned());
    requests
}

/// What came of a request: the answer and what the upstream got, without what may differ from one time to the next.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    answer: Message,
    forwarded: Vec<Message>,
}

fn outcome(client: &mut Client, upstream: &Upstream, request: &str, cuts: &[usize]) -> Outcome {
    let mark = upstream.mark();
    let starts = [0].iter().chain(cuts);
    let ends = cuts.iter().copied().chain([request.len()]);
    client.send_segments(starts.zip(ends).map(|(start, end)| &request.as_bytes()[*start..end]));
    let method = request.trim_start().split(' ').next().unwrap();
    let mut answer = client.read_answer_to(method);
    answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
    let account = crate::harness::upstream::account(&upstream.since(&mark));
    assert_eq!(account.rests, Vec::<String>::new(), "{}", readable(request.as_bytes()));
    let mut forwarded = account.requests;
    // Chunks may be cut differently: that is not part of the message.
    forwarded.iter_mut().for_each(|message| message.length = 0);
    Outcome { answer, forwarded }
}

/// Sends each request in one segment and then cut at each of the lists of places that `cuts` gives for its length.
fn all_cuts_are_alike(cuts: impl Fn(usize) -> Vec<Vec<usize>>) {
    let requests = requests();
    assert!(requests.len() >= 50, "only {}", requests.len());
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    let mut wrong = Vec::new();
    for request in requests {
        // The first one makes the upstream connection, so that all the others meet the same state.
        let mut client = proxy.client();
        let whole = outcome(&mut client, &upstream, &request, &[]);
        assert_eq!(whole.answer.status(), 200, "{} got {:?}", readable(request.as_bytes()), whole.answer);
        assert_eq!(whole.forwarded.len(), 1, "{} became {:?}", readable(request.as_bytes()), whole.forwarded);
        for cuts in cuts(request.len()) {
            let cut = outcome(&mut client, &upstream, &request, &cuts);
            if cut != whole {
                wrong.push(format!("{} cut at {cuts:?}: {cut:?} instead of {whole:?}", readable(request.as_bytes())));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} requests:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a19_a_request_in_segments_of_one_byte_is_the_same_request() {
    all_cuts_are_alike(|length| vec![(1..length).collect()]);
}

#[test]
fn a19_a_request_in_two_segments_is_the_same_request_wherever_it_is_cut() {
    all_cuts_are_alike(|length| (1..length).map(|cut| vec![cut]).collect());
}

#[test]
fn a19_the_first_bytes_of_a_connection_may_come_one_by_one() {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    for request in requests().iter().step_by(5) {
        let mut client = proxy.client();
        let every_byte = (1..request.len()).collect::<Vec<_>>();
        let outcome = outcome(&mut client, &upstream, request, &every_byte);
        assert_eq!((outcome.answer.status(), outcome.forwarded.len()), (200, 1), "{}", readable(request.as_bytes()));
    }
}
