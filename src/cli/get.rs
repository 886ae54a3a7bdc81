//! `glooshot get`: shows what a cluster has, as kubectl shows it, and the upstreams, which are in no object.

use std::process::ExitCode;

use anyhow::ensure;
use clap::ValueEnum;
use glooshot_api::{
    experiment::Experiment,
    manifest,
    mesh::Mesh,
    names::{KnownPort, upstream_name},
    report::Report,
    routing_rule::RoutingRule,
};
use kube::{ResourceExt as _, api::ApiResource, core::DynamicObject};
use serde_json::{Value, json};

use super::{cluster_options::ClusterOptions, in_cluster, namespace_option::NamespaceOption};
use crate::{
    cluster::{
        Cluster, ClusterError, upstreams,
        views::{self, Scope, Table},
    },
    output::{print, say},
};

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str = "\
get needs the rights to get and list what it shows; for upstreams, services and pods.";

/// Show experiments, reports, routing rules, meshes or upstreams
///
///   glooshot get upstreams -n bookinfo
///   glooshot get experiments --all-namespaces
///   glooshot get report abort-ratings -n bookinfo -o yaml
///
/// Everything but upstreams is an object, which kubectl shows as well. An upstream is a port of a
/// Service, or of those of its pods that differ in a label from the others, under the name by
/// which experiments and routing rules know it: NAMESPACE-SERVICE-PORT or
/// NAMESPACE-SERVICE-SUBSET-PORT.
///
/// Exit code: 0 shown, 1 the cluster cannot be reached or refuses, 2 usage or no cluster
/// configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// What is shown
    #[arg(value_enum)]
    kind: Kind,

    /// Only the one of this name
    name: Option<String>,

    #[command(flatten)]
    namespace: NamespaceOption,

    /// In every namespace
    #[arg(short = 'A', long, conflicts_with = "object_namespace")]
    all_namespaces: bool,

    /// In which form [default: a table]
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    #[command(flatten)]
    cluster: ClusterOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    #[value(alias = "experiment", alias = "exp")]
    Experiments,
    #[value(alias = "report")]
    Reports,
    #[value(alias = "routingrule", alias = "rr")]
    Routingrules,
    #[value(alias = "mesh")]
    Meshes,
    #[value(alias = "upstream")]
    Upstreams,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Yaml,
    Json,
    Name,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(
        !(args.all_namespaces && args.name.is_some()),
        "a name is looked for in one namespace: leave out --all-namespaces"
    );
    let mut text = String::new();
    let code = in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        let namespace = (!args.all_namespaces).then(|| args.namespace.name(cluster).to_owned());
        let scope = Scope { namespace, name: args.name.clone() };
        text = show(args, cluster, &scope).await?;
        if text.is_empty() {
            let place = scope.namespace.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
            say!("nothing found{place}");
        }
        Ok(())
    })?;
    print(&text)?;
    Ok(code)
}

async fn show(args: &Args, cluster: &Cluster, scope: &Scope) -> Result<String, ClusterError> {
    let kind = match args.kind {
        Kind::Experiments => ApiResource::erase::<Experiment>(&()),
        Kind::Reports => ApiResource::erase::<Report>(&()),
        Kind::Routingrules => ApiResource::erase::<RoutingRule>(&()),
        Kind::Meshes => ApiResource::erase::<Mesh>(&()),
        Kind::Upstreams => {
            let known = upstreams::list(cluster, scope.namespace.as_deref()).await?;
            let mut rows = upstream_rows(&known);
            if let Some(name) = &scope.name {
                rows.retain(|row| row.name == *name);
                if rows.is_empty() {
                    return Err(ClusterError::NotYet(format!(
                        "there is no upstream {name}; `glooshot get upstreams` lists them"
                    )));
                }
            }
            return Ok(upstreams_text(rows, args));
        }
    };
    if args.output.is_none() {
        let table = views::table(cluster, &kind, scope).await?;
        return Ok(if table.rows.is_empty() { String::new() } else { table.to_string() });
    }
    let objects = views::objects(cluster, &kind, scope).await?;
    Ok(objects_text(objects, &kind, args))
}

fn objects_text(objects: Vec<DynamicObject>, kind: &ApiResource, args: &Args) -> String {
    if args.output == Some(Output::Name) {
        return objects
            .iter()
            .map(|object| format!("{}.{}/{}\n", kind.kind.to_lowercase(), kind.group, object.name_any()))
            .collect();
    }
    let values = objects.into_iter().map(|mut object| {
        object.metadata.managed_fields = None;
        json!(object)
    });
    document(values.collect(), args)
}

/// One upstream.
#[derive(Debug, PartialEq, Eq)]
struct Upstream<'a> {
    name: String,
    known: &'a KnownPort,
    subset: Option<&'a str>,
}

fn upstream_rows(known: &[KnownPort]) -> Vec<Upstream<'_>> {
    let all = known.iter().flat_map(|known| {
        let subsets = known.subsets.iter().map(|subset| Some(subset.as_str()));
        std::iter::once(None).chain(subsets).map(move |subset| Upstream {
            name: upstream_name(&known.port, subset),
            known,
            subset,
        })
    });
    all.collect()
}

fn upstreams_text(rows: Vec<Upstream<'_>>, args: &Args) -> String {
    match args.output {
        None if rows.is_empty() => String::new(),
        None => {
            let cells = |row: Upstream<'_>| {
                let port = &row.known.port;
                vec![
                    row.name,
                    port.service.to_string(),
                    port.port.to_string(),
                    row.subset.unwrap_or_default().to_owned(),
                ]
            };
            let columns = ["NAME", "SERVICE", "PORT", "SUBSET"].map(str::to_owned).to_vec();
            Table { columns, rows: rows.into_iter().map(cells).collect() }.to_string()
        }
        Some(Output::Name) => rows.iter().map(|row| format!("{}\n", row.name)).collect(),
        Some(_) => {
            let values = rows.iter().map(|row| {
                let port = &row.known.port;
                let mut value = json!({"name": row.name, "service": port.service, "port": port.port});
                if let (Some(subset), Some(fields)) = (row.subset, value.as_object_mut()) {
                    fields.insert("subset".to_owned(), json!(subset));
                }
                value
            });
            document(values.collect(), args)
        }
    }
}

/// One object by itself where it was asked for by name, or else a list.
fn document(mut values: Vec<Value>, args: &Args) -> String {
    let value = match (args.name.is_some(), values.pop()) {
        (true, Some(value)) => value,
        (_, last) => {
            values.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "items": values})
        }
    };
    match args.output {
        Some(Output::Json) => format!("{value:#}\n"),
        // A value of JSON always has a form in YAML.
        _ => manifest::to_yaml(&value).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use glooshot_api::names::{ServiceName, ServicePort};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        Cli::try_parse_from(std::iter::once("get").chain(line.split_whitespace())).unwrap().args
    }

    fn reviews() -> Vec<KnownPort> {
        let service = ServiceName { namespace: "bookinfo".into(), name: "reviews".into() };
        vec![KnownPort { port: ServicePort { service, port: 9080 }, subsets: vec!["v3".into(), "v4".into()] }]
    }

    #[test]
    fn a_port_and_each_subset_of_it_is_an_upstream() {
        let known = reviews();
        let shown = upstreams_text(upstream_rows(&known), &args("upstreams"));
        let expected = [
            "NAME                       SERVICE            PORT   SUBSET",
            "bookinfo-reviews-9080      bookinfo/reviews   9080",
            "bookinfo-reviews-v3-9080   bookinfo/reviews   9080   v3",
            "bookinfo-reviews-v4-9080   bookinfo/reviews   9080   v4",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
        let names = upstreams_text(upstream_rows(&known), &args("upstreams -o name"));
        assert_eq!(names.lines().count(), 3);
    }

    #[test]
    fn what_is_asked_for_by_name_is_no_list() {
        let known = reviews();
        let all = upstreams_text(upstream_rows(&known), &args("upstreams -o yaml"));
        assert!(all.contains("kind: List"), "{all}");
        let mut rows = upstream_rows(&known);
        rows.truncate(1);
        let one = upstreams_text(rows, &args("upstream bookinfo-reviews-9080 -o json"));
        assert_eq!(serde_json::from_str::<Value>(&one).unwrap()["port"], 9080);
    }
}
