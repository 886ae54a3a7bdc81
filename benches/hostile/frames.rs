//! The bytes of HTTP/2 frames (RFC 9113 §4.1) and of header fields (RFC 7541), as far as an attacker needs them.

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// The types of frames (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

// Their flags.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The length of a frame's header.
pub const HEADER: usize = 9;

/// The index of the newest entry of the dynamic table, as a whole field (RFC 7541 §6.1).
pub const NEWEST_ENTRY: u8 = 0x80 | 62;

/// Appends a frame.
pub fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    bytes.extend(length);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

/// What a connection begins with: the preface and empty SETTINGS.
pub fn opening() -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    bytes
}

/// The stream of the request number `index` of a connection.
pub fn stream(index: u32) -> u32 {
    2 * index + 1
}

/// The fields of a request of `/`, without effect on the dynamic table.
pub fn request(method: Method) -> Vec<u8> {
    // `:scheme: http` and `:path: /` are in the static table (RFC 7541 appendix A), `:authority` is named there.
    let mut fields = vec![method as u8, 0x86, 0x84, 0x01];
    text(&mut fields, "ratings");
    fields
}

/// A method in the static table.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    Get = 0x82,
    Post = 0x83,
}

/// Appends a field that is added to the dynamic table.
pub fn indexed_field(fields: &mut Vec<u8>, name: &str, value: &str) {
    fields.push(0x40);
    text(fields, name);
    text(fields, value);
}

/// Appends a field that is not.
pub fn plain_field(fields: &mut Vec<u8>, name: &str, value: &str) {
    fields.push(0);
    text(fields, name);
    text(fields, value);
}

/// Appends a change of the dynamic table's size (RFC 7541 §6.3).
pub fn table_size(fields: &mut Vec<u8>, size: usize) {
    integer(fields, 0x20, 5, size);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    integer(bytes, 0, 7, text.len());
    bytes.extend(text.bytes());
}

/// RFC 7541 §5.1.
fn integer(bytes: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let most = (1 << prefix) - 1;
    if value < most {
        bytes.push(pattern | u8::try_from(value).unwrap());
        return;
    }
    bytes.push(pattern | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}
