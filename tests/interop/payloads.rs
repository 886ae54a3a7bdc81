//! Requests about whose end, or about whose being one, real servers and intermediaries have disagreed.
//!
//! In the escapes of the corpus. None of them carries what is meant to be seen beyond the first request where a server reads it
//! rightly: whatever else arrives upstream was smuggled, and its target is `/smuggled`.
//!
//! All begin with text. What begins with another byte is another protocol to the proxy, whatever stands behind it (the unit
//! tests of `sniff`): it goes to the server in a tunnel of its own, where there is nobody else's request to disagree about.

use crate::harness::corpus::segments;

/// One payload: what is odd about it, and its bytes in escapes.
pub const PAYLOADS: &[(&str, &str)] = &[
    // The number of a chunk.
    (
        "a chunk size in Python's notation",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0_2e\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "a chunk size in C's notation",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2e\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "a negative chunk size",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-0x0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a chunk size behind blanks",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n          0\r\n\r\n",
    ),
    (
        "a chunk size with a tail of letters",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1these-bytes\r\nZ\r\n0\r\n\r\n",
    ),
    (
        "chunk sizes of letters alone",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\nZZ\r\nZZZ\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a chunk size of 2^64 and one",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\nZ\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a chunk size with many zeros before it",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n000000000000001\r\nZ\r\n0\r\n\r\n",
    ),
    (
        "an empty chunk size",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a word in the place of a chunk",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nINVALID!!!\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    // The lines of a chunk.
    (
        "a CR for the blank before an extension",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\r;a\r\n02\r\n41\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 43\r\n\r\n0\r\n\r\n",
    ),
    (
        "a CR inside an extension",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n41;a=b\r\rX\*64{X}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "an LF inside an extension",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n4c\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n",
    ),
    (
        "a quoted line end in an extension",
        r#"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a="\r\n"\r\nhi\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"#,
    ),
    (
        "an LF behind the data of a chunk",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "two other bytes behind the data of a chunk",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a line end too many before the last chunk",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a request in a chunk and a line end too many",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2b\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n \r\n\r\n\r\n0\r\n\r\n",
    ),
    (
        "a last chunk that ends in CR and a letter",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\rXGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("a byte behind the last chunk", r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\0"),
    // Trailers.
    (
        "a request line as a trailer",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX:GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a length as a trailer",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n2\r\nhi\r\n0\r\nContent-Length: 30\r\n\r\n",
    ),
    (
        "a trailer line without a colon",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("a folded trailer", r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n"),
    // Which coding there is.
    (
        "a comma before the coding",
        r"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    ("an unknown coding", r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: blegh\r\n\r\n1\r\nZ\r\n0\r\n\r\n"),
    (
        "two lines of chunked",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nZ\r\n0\r\n\r\n",
    ),
    (
        "a no-break space around the coding",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \xa0chunked\xa0\r\n\r\n0\r\n\r\n",
    ),
    (
        "a next-line control around the coding",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x85chunked\x85\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "bytes above 7F around host and coding",
        r"POST / HTTP/1.1\r\nHost: \xffa\xff\r\nTransfer-Encoding: \xffchunked\xff\r\n\r\n1\r\nZ\r\n0\r\n\r\n",
    ),
    (
        "a coding in HTTP/1.0 that asks to keep alive",
        r"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a coding whose name goes on in the next line",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-\r\nEncoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding that Connection names",
        r"POST / HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a length that Connection names",
        r"POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nX: 12\r\n\r\n",
    ),
    // The two together.
    (
        "a length before chunks",
        r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a length beyond the chunks",
        r"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 44\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nX: y12345\r\n\r\n",
    ),
    (
        "a length that ends inside the chunks",
        r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n27\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n\r\n0\r\n\r\n",
    ),
    // The number of bytes.
    ("a length in Python's notation", r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1_0\r\n\r\n0123456789"),
    ("a length in octal", r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\n0123456789"),
    ("a length in C's notation", r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x10\r\n\r\nZ"),
    ("a length with a tail of letters", r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1Z\r\n\r\nZ"),
    (
        "an empty length",
        r"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "an empty length before a length",
        r"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a negative length",
        r"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -48\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a greater length before a smaller one",
        r"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 0\r\n\r\nZ",
    ),
    (
        "a smaller length before a greater one",
        r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a length of zero before requests in one segment",
        r"POST / HTTP/1.1\r\nContent-Length: 0\r\nConnection:keep-alive\r\nHost: a\r\n\r\nPOST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n\|GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a GET with a body",
        r"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a DELETE with chunks",
        r"DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n23\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n",
    ),
    (
        "an OPTIONS with a body",
        r"OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    // Names of headers.
    (
        "a blank behind the name of the length",
        r"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 37\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("a tab before the name of the length", r"GET / HTTP/1.1\r\n\tContent-Length: 1\r\nHost: a\r\n\r\nX"),
    (
        "a next-line control behind the name of the length",
        r"GET / HTTP/1.1\r\nHost: a\r\nContent-Length\x85: 10\r\n\r\n0123456789",
    ),
    (
        "an underscore in the name of the length",
        r"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 37\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\nX: 12\r\n\r\n",
    ),
    ("a length without a colon", r"GET / HTTP/1.1\r\nHost: a\r\nContent-Length 10\r\n\r\n0123456789"),
    ("an empty name and no value", r"GET / HTTP/1.1\r\n:\r\nHost: a\r\nContent-Length: 1\r\n\r\nZ"),
    ("an empty name", r"GET / HTTP/1.1\r\n: ignored\r\nHost: a\r\n\r\n"),
    ("a name of control characters", r"GET / HTTP/1.1\r\nHost: a\r\n\x01\x02\x1f(),/;<=>?@[/]{}: b\r\n\r\n"),
    ("a name that begins with a byte above 7F", r"GET / HTTP/1.1\r\nHost: a\r\n\xefoo: bar\r\n\r\n"),
    ("a name that is broken by an LF", r"GET / HTTP/1.1\r\nHost: a\r\nTe\nst: test\r\n\r\n"),
    // Values of headers.
    ("a NUL and a CR in a value", r"GET / HTTP/1.1\r\nHost: a\r\nHeader: v\0\ralue\r\n\r\n"),
    (
        "a CR that hides a header",
        r"GET / HTTP/1.1\r\nHost: a\r\nVisible: :/\rContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("a NUL that ends the host", r"GET / HTTP/1.1\r\nHost: a\0.example\r\n\r\n"),
    ("a NUL behind a name", r"GET / HTTP/1.1\r\na:b\r\nc\0\r\nHost: a\r\n\r\n"),
    (
        "line feeds in the place of a value",
        r"GET / HTTP/1.1\r\nHost: a\r\nUseless:\n\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("bytes above 7F around a value", r"GET / HTTP/1.1\r\nHost: a\r\nUser: \x85admin\xa0\r\n\r\n"),
    // Line ends of the head.
    ("LF for every line end", r"GET / HTTP/1.1\nHost: a\n\n"),
    (
        "a head that ends in CR and a letter",
        r"GET / HTTP/1.1\r\nHost: a\r\n\rZGET /smuggled: HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "an LF that ends a folded coding",
        r"POST / HTTP/1.1\r\nHost: a\r\nX: y\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    ("an LF for the version's blank", r"GET /\nHTTP/1.1\r\nHost: a\r\n\r\n"),
    // The request line.
    ("a version that begins well", r"GET / HTTP/1.32\r\nHost: a\r\n\r\n"),
    ("a version to come", r"GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
    ("a version of huge numbers", r"GET / HTTP/4294967295.255\r\nHost: a\r\n\r\n"),
    ("a version with two CR inside", r"GET / HTTP/\r\r1.1\r\nHost: a\r\n\r\n"),
    ("a method that begins well", r#"G=":<>(e),[T];?" / HTTP/1.1\r\nHost: a\r\n\r\n"#),
    ("a target of one mark", r"GET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two blanks in the request line", r"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "a request line in the target",
        r"GET /smuggled%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0a HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    // Requests behind requests.
    (
        "a bad request behind a good one that closes",
        r"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nInvalid\r\n\r\n",
    ),
    (
        "a good request behind one that closes",
        r"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a request behind an upgrade",
        r"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a request behind an upgrade to HTTP/2",
        r"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a body that waits to be asked for and never is",
        r"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "an expectation of two kinds",
        r"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a HEAD with a body",
        r"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a body that never ends",
        r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
];

/// The bytes of a payload, in the segments in which they are sent.
pub fn bytes(escaped: &str) -> Vec<Vec<u8>> {
    segments(escaped).unwrap_or_else(|what| panic!("{what}: {escaped}"))
}
