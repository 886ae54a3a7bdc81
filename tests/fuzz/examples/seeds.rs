//! Writes the inputs that the product's tests and examples have for a target, as seeds: `seeds TARGET FOLDER`.

use std::{env, fs, io, path::Path};

use glooshot_fuzz::replay;

/// A long seed makes every input that is made from it slow.
const MOST_BYTES: usize = 4_096;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, folder] = arguments.as_slice() else { return Err(io::Error::other("seeds TARGET FOLDER")) };
    fs::create_dir_all(folder)?;
    for (path, bytes) in replay::borrowed(target)? {
        let name = path.file_stem().unwrap_or_default();
        if bytes.len() <= MOST_BYTES {
            fs::write(Path::new(folder).join(name), bytes)?;
        }
    }
    Ok(())
}
