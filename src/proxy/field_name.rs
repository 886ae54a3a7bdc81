//! What a field may be called (RFC 9110 §5.1). Over HTTP/2 a quotation mark gets through the library, and no parser of HTTP/1
//! reads the line that would become of it.

use super::fields::Fields;

/// Whether every name is a token.
pub(crate) fn are_tokens(fields: &Fields) -> bool {
    fields.each_name().all(|(known, name)| known.is_some() || name.iter().copied().all(is_token))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
