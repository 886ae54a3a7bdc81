//! `glooshot apply routingrule trafficshifting`: writes a RoutingRule from flags, which are those of `supergloo`.

use std::process::ExitCode;

use clap::Subcommand;
use glooshot_api::{
    manifest,
    names::ResourceRef,
    routing_rule::{
        DestinationSelector, RoutingRule, RoutingRuleBody, RoutingRuleSpec, TrafficShifting, UpstreamDestination,
        UpstreamSelector, WeightedDestination, WeightedDestinations,
    },
    violation::{Violation, Violations},
};
use kube::core::DynamicObject;

use super::{cluster_options::ClusterOptions, in_cluster, namespace_option::NamespaceOption};
use crate::{
    cluster::objects,
    controller::PROXY_MESH,
    output::{print, say},
};

/// What the cluster's own words do not say about a missing right.
const RIGHTS: &str = "\
apply routingrule needs the rights to get, create and patch routingrules.glooshot.solo.io in the namespace.";
/// As the API server has it for each weight.
const MAX_WEIGHT: u32 = 1_000_000;

/// Write a routing rule
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a routing rule
    #[command(visible_alias = "rr")]
    Routingrule {
        #[command(subcommand)]
        what: Rule,
    },
}

#[derive(Debug, Subcommand)]
enum Rule {
    Trafficshifting(Box<ShiftArgs>),
}

/// Share out the traffic of an upstream by weight
///
///   glooshot apply routingrule trafficshifting --namespace bookinfo --name reviews-vulnerable \
///     --dest-upstreams glooshot.bookinfo-reviews-9080 --target-mesh glooshot.glooshot-proxy \
///     --destination glooshot.bookinfo-reviews-v4-9080:1
///
/// The Service goes through proxies for as long as the rule is there. Where the rule is there
/// already, it becomes what the flags say. `glooshot get upstreams` lists upstreams.
///
/// Exit code: 0 written, 1 the cluster cannot be reached or refuses, 2 usage or no cluster
/// configured, 130 Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct ShiftArgs {
    /// The rule's name
    #[arg(long)]
    name: String,

    #[command(flatten)]
    namespace: NamespaceOption,

    /// An upstream whose traffic is shared out: NAMESPACE.NAME; may be repeated, or given as a list with commas
    #[arg(long = "dest-upstreams", value_name = "UPSTREAM", required = true, value_delimiter = ',', value_parser = reference)]
    upstreams: Vec<ResourceRef>,

    /// What does it: NAMESPACE.NAME of a Mesh [default: the proxies of Glooshot]
    #[arg(long, value_name = "MESH", value_parser = reference)]
    target_mesh: Option<ResourceRef>,

    /// Where the traffic goes, and which share of it: NAMESPACE.NAME:WEIGHT; may be repeated
    #[arg(long = "destination", value_name = "UPSTREAM:WEIGHT", required = true, value_delimiter = ',', value_parser = destination)]
    destinations: Vec<WeightedDestination>,

    /// Print what would be written, and ask no cluster
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    cluster: ClusterOptions,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let What::Routingrule { what: Rule::Trafficshifting(args) } = &args.what;
    let mut rule = rule(args);
    rule.metadata.namespace = args.namespace.said().map(str::to_owned);
    check(&rule)?;
    if args.dry_run {
        print(&manifest::to_yaml(&rule)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut object: DynamicObject = serde_json::from_value(serde_json::to_value(&rule)?)?;
    in_cluster::run(&args.cluster, RIGHTS, async |cluster| {
        object.metadata.namespace = Some(args.namespace.name(cluster).to_owned());
        let change = objects::apply(cluster, &object).await?;
        say!("{} {change}", objects::called(&object));
        Ok(())
    })
}

/// The rule that the flags mean.
fn rule(args: &ShiftArgs) -> RoutingRule {
    let mesh = || ResourceRef { name: PROXY_MESH.to_owned(), namespace: None };
    let destinations = WeightedDestinations { destinations: args.destinations.clone() };
    let spec = RoutingRuleSpec {
        target_mesh: Some(args.target_mesh.clone().unwrap_or_else(mesh)),
        destination_selector: DestinationSelector {
            upstream_selector: UpstreamSelector { upstreams: args.upstreams.clone() },
        },
        spec: RoutingRuleBody { traffic_shifting: TrafficShifting { destinations } },
    };
    RoutingRule::new(&args.name, spec)
}

/// Everything that can be said against a rule without asking a cluster.
fn check(rule: &RoutingRule) -> anyhow::Result<()> {
    let document = manifest::document(serde_json::to_value(rule)?);
    let found: Vec<Violation> = document.violations();
    Ok(Violations::check(found)?)
}

/// `NAMESPACE.NAME`, or a name alone.
fn reference(text: &str) -> Result<ResourceRef, String> {
    let (namespace, name) = text.split_once('.').map_or((None, text), |(namespace, name)| (Some(namespace), name));
    if name.is_empty() || namespace.is_some_and(str::is_empty) {
        return Err("write NAMESPACE.NAME, as in glooshot.bookinfo-reviews-9080".to_owned());
    }
    Ok(ResourceRef { name: name.to_owned(), namespace: namespace.map(str::to_owned) })
}

/// `NAMESPACE.NAME:WEIGHT`.
fn destination(text: &str) -> Result<WeightedDestination, String> {
    let form = || {
        format!(
            "write NAMESPACE.NAME:WEIGHT with a weight up to {MAX_WEIGHT}, as in glooshot.bookinfo-reviews-v4-9080:1"
        )
    };
    let (upstream, weight) = text.rsplit_once(':').ok_or_else(form)?;
    let weight = weight.parse().ok().filter(|weight| *weight <= MAX_WEIGHT).ok_or_else(form)?;
    Ok(WeightedDestination { destination: UpstreamDestination { upstream: reference(upstream)? }, weight })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ShiftArgs,
    }

    fn parsed(line: &str) -> Result<ShiftArgs, clap::Error> {
        Cli::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).map(|cli| cli.args)
    }

    #[test]
    fn the_flags_of_the_tutorial_mean_its_rule() {
        let args = parsed(
            "--namespace bookinfo --name reviews-vulnerable --dest-upstreams glooshot.bookinfo-reviews-9080 \
             --target-mesh glooshot.istio-istio-system --destination glooshot.bookinfo-reviews-v4-9080:1",
        )
        .unwrap();
        let mut rule = rule(&args);
        rule.metadata.namespace = args.namespace.said().map(str::to_owned);
        let text = std::fs::read_to_string("manifests/examples/tutorial/reviews-vulnerable.yaml").unwrap();
        let Some(manifest::Resource::RoutingRule(written)) = manifest::read(&text).unwrap().pop() else {
            panic!("{text}")
        };
        assert_eq!(rule, *written);
        check(&rule).unwrap();
    }

    #[test]
    fn several_upstreams_and_destinations_can_be_named() {
        let args =
            parsed("--name r --dest-upstreams g.a-1,g.b-1 --destination g.a-v1-1:1,g.a-v2-1:3 --destination a-v3-1:0");
        let rule = rule(&args.unwrap());
        assert_eq!(rule.spec.destination_selector.upstream_selector.upstreams.len(), 2);
        let weights = rule.spec.spec.traffic_shifting.destinations.destinations.iter().map(|it| it.weight);
        assert_eq!(weights.collect::<Vec<_>>(), [1, 3, 0]);
    }

    #[test]
    fn what_is_no_share_is_refused_with_an_example() {
        for wrong in ["a", "a:", ":1", "a:-1", "a:1000001", ".a:1", "a.:1"] {
            let error = parsed(&format!("--name r --dest-upstreams a --destination {wrong}")).unwrap_err().to_string();
            assert!(error.contains("NAMESPACE.NAME"), "{wrong}: {error}");
        }
        let unnameable = parsed("--name r --dest-upstreams A_B --destination a:1").unwrap();
        assert!(check(&rule(&unnameable)).is_err());
    }
}
