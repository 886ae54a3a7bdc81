//! Files run through a target: the committed corpora, and the one that crashed it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Target;

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

/// The committed inputs of a target, sorted by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn corpus(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    files.into_iter().map(|path| fs::read(&path).map(|bytes| (path, bytes))).collect()
}
