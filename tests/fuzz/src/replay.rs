//! Inputs from files: the committed corpora, what the product's own tests have that fits, and the one that crashed a target.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Target, harness::corpus};

/// What a target does when it was not built for fuzzing: it runs each file that is named on the command line.
///
/// # Errors
/// When a file cannot be read.
pub fn arguments(run: Target) -> io::Result<()> {
    for file in std::env::args_os().skip(1) {
        run(&fs::read(&file)?);
        println!("{} holds", Path::new(&file).display());
    }
    Ok(())
}

/// The committed inputs of a target.
///
/// # Errors
/// When the folder cannot be read.
pub fn committed(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    files(&here().join("corpus").join(target))?
        .into_iter()
        .map(|path| fs::read(&path).map(|bytes| (path, bytes)))
        .collect()
}

/// Inputs of a target that the product's tests and examples have.
///
/// # Errors
/// When they cannot be read.
pub fn borrowed(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    match target {
        "head" => raw_requests(),
        "chunks" => Ok(raw_requests()?.into_iter().filter_map(|(path, bytes)| Some((path, chunks(&bytes)?))).collect()),
        "manifest" => {
            let examples = files(&here().join("../../manifests/examples"))?;
            let tutorial = files(&here().join("../../manifests/examples/tutorial"))?;
            examples.into_iter().chain(tutorial).map(|path| fs::read(&path).map(|bytes| (path, bytes))).collect()
        }
        _ => Ok(Vec::new()),
    }
}

/// The raw requests of the black-box tests.
fn raw_requests() -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut cases = Vec::new();
    for group in fs::read_dir(here().join("../corpus"))? {
        for path in files(&group?.path())? {
            let text = fs::read_to_string(&path)?;
            let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            let case = corpus::parse(name, &text).map_err(io::Error::other)?;
            cases.push((path, case.bytes()));
        }
    }
    cases.sort();
    Ok(cases)
}

/// What stands behind the head of a request with chunks.
fn chunks(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let (head, body) = bytes.split_at(end);
    head.to_ascii_lowercase().windows(7).any(|window| window == b"chunked").then(|| body.to_vec())
}

/// The files in a folder, sorted.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
