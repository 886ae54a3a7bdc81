//! `glooshot create experiment`: checks a file, and creates the Experiment in it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use glooshot_api::{manifest, validate};

use super::{cluster_options::ClusterOptions, files, in_cluster, namespace_option::NamespaceOption};
use crate::{cluster::experiments, output::say};

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str = "create experiment needs the right to create experiments.glooshot.solo.io in the namespace.";

/// Create an experiment
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Experiment(ExperimentArgs),
}

/// Create an experiment, which begins at once
///
///   glooshot create experiment -f abort-ratings.yaml
///
/// The file is checked first, as `glooshot validate` checks it. Where an experiment has this name
/// already, nothing is changed.
///
/// Exit code: 0 created, 1 the cluster cannot be reached or refuses, 2 usage, an invalid file or
/// no cluster configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, visible_alias = "exp")]
struct ExperimentArgs {
    /// The file with the Experiment, YAML or JSON; - is the standard input
    #[arg(short, long = "file", value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    namespace: NamespaceOption,

    #[command(flatten)]
    cluster: ClusterOptions,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let What::Experiment(args) = &args.what;
    let file = files::name(&args.file);
    let text = files::read(&args.file).with_context(|| file.clone())?;
    let experiment = manifest::read_experiment(&text).with_context(|| file.clone())?;
    validate::check(&experiment).with_context(|| file.clone())?;
    let written = experiment.metadata.namespace.clone();
    if let (Some(written), Some(said)) = (&written, args.namespace.said())
        && written != said
    {
        bail!("{file}: metadata.namespace is {written}, and --namespace is {said}: leave one of them out");
    }
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        let namespace = written.as_deref().unwrap_or_else(|| args.namespace.name(cluster));
        experiments::create(cluster, namespace, &experiment).await?;
        let name = experiment.metadata.name.as_deref().unwrap_or_default();
        say!("experiment {name} created; `kubectl get exp -n {namespace} {name} -w` follows it");
        Ok(())
    })
}
