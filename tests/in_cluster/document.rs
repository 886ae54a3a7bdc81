//! The chapters of a document, and the commands in them.

use std::{fs, path::Path};

/// One section of a chapter.
#[derive(Debug)]
pub struct Section {
    /// Its heading, without the number.
    pub heading: String,
    /// The commands in it, block by block.
    pub commands: Vec<String>,
}

/// The sections of the chapter with this heading, in order.
pub fn sections(document: &str, chapter: &str) -> Vec<Section> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
    let (_, rest) = text.split_once(&format!("\n# {chapter}\n")).unwrap_or_else(|| panic!("no chapter {chapter}"));
    let chapter = rest.split("\n# ").next().unwrap();
    let section = |text: &str| {
        let heading = text.lines().next().unwrap().trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let blocks = text.split("\n```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap().to_owned());
        Section { heading: heading.trim().to_owned(), commands: blocks.collect() }
    };
    chapter.split("\n## ").skip(1).map(section).collect()
}
