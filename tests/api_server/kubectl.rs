//! The real kubectl, of the same version as the API server.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{control_plane::kubernetes, program::Ended};

/// kubectl with a kubeconfig.
#[derive(Debug)]
pub struct Kubectl(PathBuf);

impl Kubectl {
    /// With this kubeconfig.
    pub fn new(kubeconfig: &Path) -> Self {
        Self(kubeconfig.to_owned())
    }

    /// Runs it to its end.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        self.run_reading("", arguments)
    }

    /// The same, with `input` as its standard input.
    pub fn run_reading<'a>(&self, input: &str, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        // What it remembers of a cluster would be wrong for the next one, which may have the same address.
        let memory = TempDir::new().unwrap();
        let mut child = Command::new(kubernetes().join("kubectl"))
            .arg("--kubeconfig")
            .arg(&self.0)
            .arg("--request-timeout=20s")
            .args(arguments)
            .env("KUBECACHEDIR", memory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Shorter than what a pipe holds, so nobody waits for anybody.
        assert!(input.len() <= 1 << 16, "{} bytes of input", input.len());
        let _may_not_be_read = child.stdin.take().unwrap().write_all(input.as_bytes());
        let ended = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: ended.status.code(), output: text(ended.stdout), errors: text(ended.stderr) }
    }

    /// Runs it; it must succeed. Gives its standard output.
    #[track_caller]
    pub fn succeeds<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let Ended { code, output, errors } = self.run(arguments);
        assert_eq!(code, Some(0), "kubectl: {output}{errors}");
        output
    }
}

/// An object without what may differ before and after something was undone: versions, and when who has written.
pub fn comparable(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("resourceVersion");
    metadata.remove("generation");
    for entry in metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
        entry.as_object_mut().unwrap().remove("time");
    }
    object
}
