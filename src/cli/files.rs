//! Files named on the command line: read whole, bounded, `-` for standard input.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context as _, bail};

/// Bytes of a file at the most: the API server accepts no larger object either.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file, or standard input for `-`.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        return bounded(io::stdin().lock()).context("standard input");
    }
    let open = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    if open.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        bail!("{} is a directory; name a file", file.display());
    }
    bounded(open).with_context(|| file.display().to_string())
}

fn bounded(reader: impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("longer than 1 MiB");
    }
    String::from_utf8(bytes).context("not UTF-8 text")
}
