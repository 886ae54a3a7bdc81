//! `glooshot crds`: prints the CustomResourceDefinitions.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use crate::{
    api::{crds, manifest},
    output::print,
};

/// Print the CustomResourceDefinitions: experiments, reports, routingrules and meshes of glooshot.solo.io
///
///   glooshot crds | kubectl apply -f -
///   glooshot crds --output-dir manifests/crds
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Write one file for each definition into this directory, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(directory) = &args.output_dir else {
        print(&crds::to_yaml()?).context("cannot write")?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
    for definition in crds::all() {
        let path = directory.join(crds::file_name(&definition));
        fs::write(&path, manifest::to_yaml(&definition)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
