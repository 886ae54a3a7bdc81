//! The bearer token, read anew from its file: a projected token is written anew long before it ends.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use super::super::MAX_TOKEN;

/// Why there is no token: the file's fault.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read the token in {path}: {problem}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: io::Error,
    },
    /// It holds no token.
    #[error("{path} holds no bearer token (one line of visible ASCII, at most 16 KiB)")]
    Content {
        /// The file.
        path: PathBuf,
    },
}

/// A file with a token.
#[derive(Debug)]
pub(super) struct TokenFile(PathBuf);

impl TokenFile {
    /// This file.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The token that it holds now.
    pub(super) fn read(&self) -> Result<String, TokenError> {
        let mut text = String::new();
        let limit = MAX_TOKEN as u64 + 2;
        File::open(&self.0)
            .and_then(|file| file.take(limit).read_to_string(&mut text))
            .map_err(|problem| TokenError::Read { path: self.0.clone(), problem })?;
        let token = text.trim_end_matches(['\n', '\r']);
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Content { path: self.0.clone() });
        }
        Ok(token.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_token_is_one_line_and_anything_else_is_none() {
        let token = |content: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content).unwrap();
            TokenFile::new(file.path().to_owned()).read()
        };
        assert_eq!(token(b"abc.def\n").unwrap(), "abc.def");
        for content in [&b""[..], b"\n", b"a b", b"a\nb", b"\xff", &[b'a'; MAX_TOKEN + 1]] {
            assert!(token(content).is_err());
        }
        assert!(TokenFile::new("/nonexistent".into()).read().unwrap_err().to_string().contains("/nonexistent"));
    }
}
