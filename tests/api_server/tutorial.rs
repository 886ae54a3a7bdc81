//! The tutorial's files, applied and read back with kubectl: nothing is pruned, added or rewritten.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::{control_plane::registered, kubectl::Kubectl};

fn examples() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("manifests/examples");
    let folders = [root.join("tutorial"), root];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

#[test]
fn every_example_comes_back_as_it_was_written() {
    let kubectl = Kubectl::new(registered().kubeconfig());
    let examples = examples();
    assert!(examples.len() >= 10, "{examples:?}");
    for path in examples {
        let file = path.to_str().unwrap();
        let written: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        // It may be there already, from another example.
        kubectl.run(["create", "namespace", written["metadata"]["namespace"].as_str().unwrap()]);
        kubectl.succeeds(["apply", "--filename", file]);
        let stored: Value =
            serde_json::from_str(&kubectl.succeeds(["get", "--filename", file, "--output=json"])).unwrap();
        assert_eq!(stored["spec"], written["spec"], "{file}");
        let again = kubectl.succeeds(["apply", "--filename", file]);
        assert!(again.trim_end().ends_with(" unchanged"), "{file}: {again}");
    }
}
