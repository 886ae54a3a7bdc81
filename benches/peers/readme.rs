//! Writes the README's tables anew.

use std::fs;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str = "<!-- bench -->\n";
const END: &str = "<!-- /bench -->";

/// Puts the tables between their markers.
pub fn write(tables: &str) {
    let readme = fs::read_to_string(FILE).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("a marker before the tables");
    let (_, after) = rest.split_once(END).expect("a marker behind the tables");
    fs::write(FILE, format!("{before}{BEGIN}{tables}{END}{after}")).unwrap();
}
