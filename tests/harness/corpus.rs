//! The corpus: raw requests in files that can be reviewed, each with the outcome that is expected of the proxy.
//!
//! A file is a block of `# ` lines, a line `---`, and the bytes. In the bytes, line ends of the file mean nothing; what is
//! sent stands in escapes: `\r` `\n` `\t` `\0` `\\` `\xNN`, `\*N{...}` for N repetitions, `\|` where a new segment begins.
//! The first `# ` line says what the case is; the others are `key: value`:
//!
//! | key | meaning |
//! |---|---|
//! | `why` | the choice where a case allows two outcomes, with the section of the RFC; may be repeated |
//! | `expect` | see [`Expect`] |
//! | `framing` | of the upstream's request: `none`, `length N`, `chunked` |
//! | `body` | of the upstream's request, with escapes |
//! | `target` | of the upstream's request, with escapes |
//! | `has` | `name: value` (with escapes) that the upstream's request carries exactly once; may be repeated |
//! | `lacks` | a header name that the upstream's request does not carry; may be repeated |
//! | `never` | bytes that never reach the upstream, in any case of letters; may be repeated |
//! | `closes` | `yes`: the connection ends after the answer, and nothing behind the request is looked at |

use std::{fs, path::PathBuf};

use super::wire::{Framing, latin1};

/// What must happen to the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// `reject 400,505`: an answer with one of the statuses, the connection closed, no byte upstream, no second answer.
    Reject(Vec<u16>),
    /// `one`: exactly one request upstream, with framing made by the proxy, and its answer.
    One,
    /// `requests N`: so many requests upstream, and their answers in order.
    Requests(usize),
    /// `answer-then-reject 400`: the first request is answered from upstream, the second refused as by `reject`.
    AnswerThenReject(Vec<u16>),
    /// `abort`: the connection is closed without a 2xx, and the upstream's request, if it began, is never completed.
    Abort,
    /// `reject-or-one 400`: either is permitted, as the file says.
    RejectOrOne(Vec<u16>),
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the case is, for messages.
    pub name: String,
    /// The required outcome.
    pub expect: Expect,
    /// The bytes, in the segments in which they are sent.
    pub segments: Vec<Vec<u8>>,
    /// The framing of the upstream's request.
    pub framing: Option<Framing>,
    /// The body of the upstream's request.
    pub body: Option<Vec<u8>>,
    /// The target of the upstream's request.
    pub target: Option<String>,
    /// Headers that the upstream's request carries exactly once.
    pub has: Vec<(String, String)>,
    /// Headers that the upstream's request does not carry.
    pub lacks: Vec<String>,
    /// Bytes that never reach the upstream.
    pub never: Vec<String>,
    /// The connection ends after the answer.
    pub closes: bool,
}

impl Case {
    /// A case that sends `bytes` in one segment.
    pub fn new(name: &str, expect: Expect, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            expect,
            segments: vec![bytes.into()],
            framing: None,
            body: None,
            target: None,
            has: Vec::new(),
            lacks: Vec::new(),
            never: Vec::new(),
            closes: false,
        }
    }

    /// All bytes of the case.
    pub fn bytes(&self) -> Vec<u8> {
        self.segments.concat()
    }

    /// The method of the first request.
    pub fn method(&self) -> String {
        latin1(self.bytes().split(|byte| *byte == b' ').next().unwrap_or(b""))
    }
}

/// The names of the cases of `group`, sorted.
pub fn names(group: &str) -> Vec<String> {
    let mut names = fs::read_dir(folder().join(group))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".http").unwrap_or_else(|| panic!("{name} is no .http file")).to_owned())
        .collect::<Vec<_>>();
    names.sort();
    names
}

/// The names of all groups, sorted.
pub fn groups() -> Vec<String> {
    let mut groups = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect::<Vec<_>>();
    groups.sort();
    groups
}

/// Reads the case `name` of `group`.
pub fn load(group: &str, name: &str) -> Case {
    let path = folder().join(group).join(format!("{name}.http"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(name, &text).unwrap_or_else(|what| panic!("{}: {what}", path.display()))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Reads a case from the text of its file.
pub fn parse(name: &str, text: &str) -> Result<Case, String> {
    let (comment, payload) = text.split_once("\n---\n").ok_or("there is no line `---`")?;
    let mut lines = comment.lines().map(|line| line.strip_prefix("# ").ok_or(format!("not a `# ` line: {line:?}")));
    lines.next().ok_or("there is no comment")??;
    let mut case = Case::new(name, Expect::One, Vec::new());
    let mut expected = false;
    for line in lines {
        let line = line?;
        let (key, value) = line.split_once(": ").ok_or(format!("not `key: value`: {line:?}"))?;
        expected |= key == "expect";
        set(&mut case, key, value)?;
    }
    if !expected {
        return Err("there is no `expect`".to_owned());
    }
    if let Some(line) = payload.lines().find(|line| line.ends_with([' ', '\t'])) {
        return Err(format!("a blank at the end of a line would be lost; write \\x20 in {line:?}"));
    }
    case.segments = segments(&payload.lines().collect::<String>())?;
    Ok(case)
}

fn set(case: &mut Case, key: &str, value: &str) -> Result<(), String> {
    match key {
        "why" => {}
        "expect" => case.expect = expect(value)?,
        "framing" => {
            case.framing = Some(match value.split_once(' ') {
                None if value == "none" => Framing::None,
                None if value == "chunked" => Framing::Chunked,
                Some(("length", length)) => {
                    Framing::Length(length.parse().map_err(|error| format!("{value}: {error}"))?)
                }
                _ => return Err(format!("not a framing: {value:?}")),
            });
        }
        "body" => case.body = Some(segments(value)?.concat()),
        "target" => case.target = Some(latin1(&segments(value)?.concat())),
        "has" => {
            let (name, value) = value.split_once(": ").ok_or(format!("not `name: value`: {value:?}"))?;
            case.has.push((name.to_owned(), latin1(&segments(value)?.concat())));
        }
        "lacks" => case.lacks.push(value.to_owned()),
        "never" => case.never.push(value.to_owned()),
        "closes" if value == "yes" => case.closes = true,
        _ => return Err(format!("unknown key or value: {key}: {value}")),
    }
    Ok(())
}

fn expect(text: &str) -> Result<Expect, String> {
    let status = |text: &str| text.parse::<u16>().map_err(|error| format!("{text:?}: {error}"));
    let statuses = |list: &str| list.split(',').map(status).collect::<Result<Vec<_>, _>>();
    Ok(match text.split_once(' ') {
        None if text == "one" => Expect::One,
        None if text == "abort" => Expect::Abort,
        Some(("reject", list)) => Expect::Reject(statuses(list)?),
        Some(("reject-or-one", list)) => Expect::RejectOrOne(statuses(list)?),
        Some(("answer-then-reject", list)) => Expect::AnswerThenReject(statuses(list)?),
        Some(("requests", count)) => Expect::Requests(count.parse().map_err(|error| format!("{count:?}: {error}"))?),
        _ => return Err(format!("unknown expectation {text:?}")),
    })
}

/// Resolves the escapes.
pub fn segments(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut segments = vec![Vec::new()];
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if !byte.is_ascii() {
            return Err("a byte beyond ASCII must be written as \\xNN".to_owned());
        }
        let current = segments.last_mut().ok_or("no segment")?;
        if *byte != b'\\' {
            current.push(*byte);
            continue;
        }
        let (escape, behind) = rest.split_first().ok_or("a backslash at the end")?;
        rest = behind;
        match escape {
            b'r' => current.push(b'\r'),
            b'n' => current.push(b'\n'),
            b't' => current.push(b'\t'),
            b'0' => current.push(0),
            b'\\' => current.push(b'\\'),
            b'|' => segments.push(Vec::new()),
            b'x' => {
                let digits = rest.get(..2).ok_or("two digits must follow \\x")?;
                current.push(u8::from_str_radix(&latin1(digits), 16).map_err(|error| format!("\\x: {error}"))?);
                rest = &rest[2..];
            }
            b'*' => {
                let open = rest.iter().position(|byte| *byte == b'{').ok_or("\\*N must be followed by {...}")?;
                let close = rest.iter().position(|byte| *byte == b'}').ok_or("the { of \\*N{...} is not closed")?;
                let count = latin1(&rest[..open]).parse::<usize>().map_err(|error| format!("\\*N: {error}"))?;
                let repeated = self::segments(&latin1(&rest[open + 1..close]))?.concat();
                current.extend(repeated.repeat(count));
                rest = &rest[close + 1..];
            }
            other => return Err(format!("unknown escape \\{}", char::from(*other))),
        }
    }
    Ok(segments)
}
