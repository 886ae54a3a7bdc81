//! Files named on the command line: read whole, bounded, `-` for standard input.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context as _, ensure};

use crate::api::manifest::{MAX_BYTES, ManifestError};

/// What a file is called in messages.
pub(crate) fn name(file: &Path) -> String {
    if is_stdin(file) { "(standard input)".to_owned() } else { file.display().to_string() }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Reads a file, or standard input for `-`; no more of it than is ever accepted.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    if is_stdin(file) {
        return bounded(io::stdin().lock());
    }
    let opened = File::open(file).context("cannot be opened")?;
    ensure!(!opened.metadata().context("cannot be read")?.is_dir(), "is a directory; name the files in it");
    bounded(opened)
}

fn bounded(reader: impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).context("cannot be read")?;
    if bytes.len() > MAX_BYTES {
        return Err(ManifestError::TooLong(bytes.len()).into());
    }
    String::from_utf8(bytes).context("is not text in UTF-8")
}
