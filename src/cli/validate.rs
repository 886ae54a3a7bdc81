//! `glooshot validate`: checks files without a cluster.

use std::{io, path::PathBuf, process::ExitCode};

use super::{USAGE, files};
use crate::{
    api::manifest::{self, Document},
    output::print,
};

/// Check files with Experiments, RoutingRules, Reports and Meshes, without a cluster
///
///   glooshot validate -f experiment.yaml
///   glooshot validate -f one.yaml -f two.yaml
///   kubectl get exp -n bookinfo abort-ratings -o yaml | glooshot validate -f -
///
/// Everything that is wrong is printed, one line each: FILE: FIELD: what is wrong, and an example of the right form.
/// Whether the named services exist is only known where they run: that is what `glooshot run` checks.
///
/// Exit code: 0 if every file is valid, 2 if not.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// A file, YAML or JSON, of one or several documents; - is the standard input. May be given several times
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut problems = 0;
    for file in &args.files {
        let name = files::name(file);
        match files::read(file).and_then(|text| Ok(manifest::documents(&text)?)) {
            Ok(documents) => problems += report(&name, &documents)?,
            Err(error) => {
                problems += 1;
                print(&format!("{name}: {error:#}\n"))?;
            }
        }
    }
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(USAGE) })
}

/// Prints what is wrong with each document of a file, and counts it.
fn report(file: &str, documents: &[Document]) -> io::Result<usize> {
    let mut problems = 0;
    for (i, document) in documents.iter().enumerate() {
        let place = if documents.len() > 1 { format!("{file}: document {}", i + 1) } else { file.to_owned() };
        let violations = document.violations();
        for violation in &violations {
            print(&format!("{place}: {violation}\n"))?;
        }
        if let Some(resource) = document.resource.as_ref().filter(|_| violations.is_empty()) {
            print(&format!("{place}: {} {} is valid\n", resource.kind(), resource.name()))?;
        }
        problems += violations.len();
    }
    Ok(problems)
}
