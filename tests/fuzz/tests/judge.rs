//! The upstream that judges what it gets can fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use glooshot_fuzz::sockets::UpstreamSocket;

/// Whether an upstream accepts these bytes.
fn is_accepted(bytes: &str) -> bool {
    let upstream = UpstreamSocket::default();
    catch_unwind(AssertUnwindSafe(|| upstream.receive(bytes.as_bytes()))).is_ok()
}

#[test]
fn a_sound_request_and_the_beginning_of_one_are_accepted() {
    for bytes in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"]
    {
        assert!(is_accepted(bytes), "{bytes:?}");
    }
}

#[test]
fn what_two_servers_could_read_differently_is_not_accepted() {
    for bytes in [
        "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r0\r\n\r\n",
    ] {
        assert!(!is_accepted(bytes), "{bytes:?}");
    }
}
