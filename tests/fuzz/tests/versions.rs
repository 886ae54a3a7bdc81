//! What is fuzzed is what is shipped.

use std::{collections::BTreeSet, fs, path::Path};

/// What stands between a client's bytes and an upstream's.
const PARSERS: [&str; 7] = ["bytes", "h2", "http", "http-body", "httparse", "hyper", "serde-saphyr"];

/// The lines `name version` of a lock file.
fn versions(lock: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(lock)).unwrap();
    let package = |text: &str| {
        let mut lines = text.trim_start().lines();
        let mut value = |key: &str| Some(lines.next()?.strip_prefix(key)?.trim_matches([' ', '=', '"']).to_owned());
        let (name, version) = (value("name")?, value("version")?);
        PARSERS.contains(&name.as_str()).then(|| format!("{name} {version}"))
    };
    text.split("[[package]]").filter_map(package).collect()
}

#[test]
fn the_parsers_under_test_are_those_of_the_product() {
    let tested = versions("Cargo.lock");
    assert_eq!(tested.len(), PARSERS.len(), "{tested:?}");
    let shipped = versions("../../Cargo.lock");
    assert!(tested.is_subset(&shipped), "{tested:?} are not all of {shipped:?}");
}
