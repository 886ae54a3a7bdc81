//! Field lists, and what RFC 9113 section 8 says a correct peer may put into them.

use crate::harness::wire::values;

/// Name and value, one character per byte (Latin-1).
pub type Field = (String, String);

/// Owned fields.
pub fn fields(fields: &[(&str, &str)]) -> Vec<Field> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The bytes of a text of one character per byte.
pub fn latin1_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character is one byte")).collect()
}

/// Whose fields they are, and where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The head of a request.
    Request,
    /// The head of an answer, interim or final.
    Response,
    /// Behind the body.
    Trailers,
}

/// Refuses fields that no correct peer sends.
pub fn check(fields: &[Field], section: Section) -> Result<(), String> {
    let regular = fields.iter().position(|(name, _)| !name.starts_with(':')).unwrap_or(fields.len());
    let (pseudo, rest) = fields.split_at(regular);
    check_pseudo(pseudo, section)?;
    for (name, value) in rest {
        check_name(name)?;
        check_value(name, value)?;
        if name == "te" && value != "trailers" {
            return Err(format!("te: {value}"));
        }
    }
    let lengths = values(rest, "content-length");
    if lengths.len() > 1 || lengths.iter().any(|length| length.parse::<u64>().is_err()) {
        return Err(format!("content-length {lengths:?}"));
    }
    Ok(())
}

fn check_pseudo(pseudo: &[Field], section: Section) -> Result<(), String> {
    let mut names = pseudo.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    names.sort_unstable();
    let one = |name: &str| values(pseudo, name).first().copied().unwrap_or("").to_owned();
    let holds = match section {
        Section::Request => {
            let path = one(":path");
            names.retain(|name| *name != ":authority");
            names == [":method", ":path", ":scheme"]
                && values(pseudo, ":authority").len() <= 1
                && matches!(one(":scheme").as_str(), "http" | "https")
                && (path.starts_with('/') || path == "*" && one(":method") == "OPTIONS")
                && path.bytes().all(|byte| byte > b' ' && byte != 0x7f)
        }
        Section::Response => {
            let status = one(":status");
            // 101 has no meaning in HTTP/2 (section 8.6).
            names == [":status"] && status.parse::<u16>().is_ok_and(|code| (100..600).contains(&code) && code != 101)
        }
        Section::Trailers => names.is_empty(),
    };
    for (name, value) in pseudo {
        check_value(name, value)?;
    }
    if holds { Ok(()) } else { Err(format!("the pseudo-header fields of {section:?}: {pseudo:?}")) }
}

/// Section 8.2.1, and the names that belong to a connection (section 8.2.2).
fn check_name(name: &str) -> Result<(), String> {
    let token = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "!#$%&'*+-.^_`|~".contains(c);
    let of_a_connection = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    if name.is_empty() || !name.chars().all(token) || of_a_connection.contains(&name) {
        return Err(format!("the field name {name:?}"));
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), String> {
    let control = value.chars().any(|c| (c < ' ' && c != '\t') || c == '\x7f');
    if control || value != value.trim_matches([' ', '\t']) {
        return Err(format!("the value of {name}: {value:?}"));
    }
    Ok(())
}
