//! HTTP/1 messages read from bytes, more strictly than the RFC asks: whatever the proxy writes must pass this.
//!
//! Text is kept as Latin-1, one character per byte, so that nothing is lost.

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The request line or status line.
    pub start_line: String,
    /// The header lines in order, names in the case in which they came.
    pub headers: Vec<(String, String)>,
    /// How the end of the body was told.
    pub framing: Framing,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The trailer lines of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether any chunk had an extension.
    pub chunk_extensions: bool,
    /// How many bytes the message took.
    pub length: usize,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// What a prefix of a connection's bytes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole message.
    Whole(Box<Message>),
    /// The beginning of one.
    Partial,
    /// No message that a correct proxy could have written.
    Broken(String),
}

impl Message {
    /// All values of the header `name`, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    /// The value of the header `name` if it is there exactly once.
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.all(name).as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether the header `name` is there at all.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The status of an answer; 0 for a request.
    pub fn status(&self) -> u16 {
        let mut words = self.start_line.split(' ');
        match (words.next(), words.next()) {
            (Some(version), Some(code)) if version.starts_with("HTTP/") => code.parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// The target of a request, byte for byte.
    pub fn target(&self) -> &str {
        self.start_line.split(' ').nth(1).unwrap_or("")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        latin1(&self.body)
    }

    /// The sender says that the connection ends with this message.
    pub fn says_close(&self) -> bool {
        self.all("connection")
            .iter()
            .any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close")))
    }
}

/// The values of `name` in `headers`, in order.
pub fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
}

/// Bytes as text, one character per byte.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Bytes as text that can be read in a failure message.
pub fn readable(bytes: &[u8]) -> String {
    const MOST: usize = 2_000;
    let mut text =
        bytes.iter().take(MOST).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect::<String>();
    if bytes.len() > MOST {
        text.push_str(&format!("... ({} bytes)", bytes.len()));
    }
    text
}

/// The request at the beginning of `bytes`.
pub fn request(bytes: &[u8]) -> Parsed {
    message(bytes, |head| {
        match head.start_line.split(' ').collect::<Vec<_>>().as_slice() {
            [method, target, version]
                if !method.is_empty() && !target.is_empty() && matches!(*version, "HTTP/1.1" | "HTTP/1.0") => {}
            _ => return Err(format!("not a request line: {:?}", head.start_line)),
        }
        declared(head, Framing::None)
    })
}

/// The answer at the beginning of `bytes`, to a request by `method`; `ended` when no more bytes can come.
pub fn response(bytes: &[u8], method: &str, ended: bool) -> Parsed {
    let parsed = message(bytes, |head| {
        let status = head.status();
        if !(100..=599).contains(&status) {
            return Err(format!("not a status line: {:?}", head.start_line));
        }
        let declared = declared(head, Framing::UntilClose)?;
        Ok(if method == "HEAD" || status < 200 || status == 204 || status == 304 { Framing::None } else { declared })
    });
    match parsed {
        Parsed::Whole(message) if message.framing == Framing::UntilClose && !ended => Parsed::Partial,
        other => other,
    }
}

fn message(bytes: &[u8], framing: impl FnOnce(&Message) -> Result<Framing, String>) -> Parsed {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return match lonely_line_end(bytes.strip_suffix(b"\r").unwrap_or(bytes)) {
            Some(what) => Parsed::Broken(what),
            None => Parsed::Partial,
        };
    };
    let mut message = match head(&bytes[..end]) {
        Ok(message) => message,
        Err(what) => return Parsed::Broken(what),
    };
    message.framing = match framing(&message) {
        Ok(framing) => framing,
        Err(what) => return Parsed::Broken(what),
    };
    let rest = &bytes[end + 4..];
    let taken = match message.framing {
        Framing::None => Some(0),
        Framing::UntilClose => {
            message.body = rest.to_vec();
            Some(rest.len())
        }
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            rest.get(..length).map(|body| {
                message.body = body.to_vec();
                length
            })
        }
        Framing::Chunked => match chunks(rest, &mut message) {
            Ok(taken) => taken,
            Err(what) => return Parsed::Broken(what),
        },
    };
    match taken {
        Some(taken) => {
            message.length = end + 4 + taken;
            Parsed::Whole(Box::new(message))
        }
        None => Parsed::Partial,
    }
}

fn head(bytes: &[u8]) -> Result<Message, String> {
    if let Some(what) = lonely_line_end(bytes) {
        return Err(what);
    }
    let text = latin1(bytes);
    let mut lines = text.split("\r\n");
    let start_line = lines.next().unwrap_or("").to_owned();
    let headers = lines.map(header_line).collect::<Result<Vec<_>, _>>()?;
    Ok(Message {
        start_line,
        headers,
        framing: Framing::None,
        body: Vec::new(),
        trailers: Vec::new(),
        chunk_extensions: false,
        length: 0,
    })
}

fn header_line(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("a header line without a colon: {line:?}"))?;
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err(format!("not a header name: {name:?}"));
    }
    if let Some(control) = value.chars().find(|c| (*c < ' ' && *c != '\t') || *c == '\x7f') {
        return Err(format!("a control character {control:?} in the value of {name}"));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// A CR or an LF that is not part of a CRLF.
fn lonely_line_end(bytes: &[u8]) -> Option<String> {
    bytes.iter().enumerate().find_map(|(at, byte)| {
        let lonely = match byte {
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || bytes.get(at - 1) != Some(&b'\r'),
            _ => false,
        };
        lonely.then(|| format!("a CR or LF by itself at byte {at}: {}", readable(bytes)))
    })
}

/// The framing that a head declares: exactly one way, spelt exactly.
fn declared(head: &Message, otherwise: Framing) -> Result<Framing, String> {
    match (head.all("transfer-encoding").as_slice(), head.all("content-length").as_slice()) {
        ([], []) => Ok(otherwise),
        (["chunked"], []) => Ok(Framing::Chunked),
        ([], [length]) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|error| format!("Content-Length {length:?}: {error}"))
        }
        (encodings, lengths) => {
            Err(format!("framed by Transfer-Encoding {encodings:?} and Content-Length {lengths:?}"))
        }
    }
}

/// Reads a chunked body into `message`; how many bytes it took, or none when its end has not come.
fn chunks(bytes: &[u8], message: &mut Message) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line_length) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = latin1(&bytes[at..at + line_length]);
        let digits = line.split(';').next().unwrap_or("");
        message.chunk_extensions |= line.contains(';');
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("not a chunk size: {line:?}"));
        }
        let size = usize::from_str_radix(digits, 16).map_err(|error| format!("chunk size {digits:?}: {error}"))?;
        at += line_length + 2;
        if size == 0 {
            return trailers(bytes, at, message);
        }
        let end = size.checked_add(at + 2);
        let Some(data) = end.and_then(|end| bytes.get(at..end)) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk that is longer than its size".to_owned());
        }
        message.body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
}

fn trailers(bytes: &[u8], mut at: usize, message: &mut Message) -> Result<Option<usize>, String> {
    loop {
        let Some(line_length) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + line_length];
        at += line_length + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        message.trailers.push(header_line(&latin1(line))?);
    }
}

/// Where `needle` first stands in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
