//! Files given to the command line: strict reading of YAML and JSON, and printing as kubectl prints.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::{
    crds,
    experiment::Experiment,
    mesh::Mesh,
    report::Report,
    routing_rule::RoutingRule,
    strict, validate,
    violation::{Violation, Violations},
    yaml,
};

/// The longest file that is read.
pub const MAX_BYTES: usize = 1 << 20;
/// Documents in one file at the most.
pub const MAX_DOCUMENTS: usize = 100;
/// The deepest nesting of maps and lists.
const MAX_DEPTH: usize = 48;
/// What `apiVersion` must be.
pub const API_VERSION: &str = "glooshot.solo.io/v1";
/// The kinds that a file may hold.
pub const KINDS: [&str; 4] = ["Experiment", "Report", "RoutingRule", "Mesh"];

/// One object of ours.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// An experiment.
    Experiment(Box<Experiment>),
    /// A report.
    Report(Box<Report>),
    /// A routing rule.
    RoutingRule(Box<RoutingRule>),
    /// A mesh.
    Mesh(Box<Mesh>),
}

impl Resource {
    /// Its kind, as in a file.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Experiment(_) => "Experiment",
            Self::Report(_) => "Report",
            Self::RoutingRule(_) => "RoutingRule",
            Self::Mesh(_) => "Mesh",
        }
    }

    /// Its namespace and name, as in `bookinfo/abort-ratings`.
    pub fn name(&self) -> String {
        let metadata = match self {
            Self::Experiment(it) => &it.metadata,
            Self::Report(it) => &it.metadata,
            Self::RoutingRule(it) => &it.metadata,
            Self::Mesh(it) => &it.metadata,
        };
        let name = metadata.name.as_deref().unwrap_or_default();
        metadata.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
    }
}

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What could be read of it, without the parts that `problems` are about; absent when too little was left.
    pub resource: Option<Resource>,
    /// Everything that its schema does not allow. Rules that need more than the schema are in [`crate::validate`].
    pub problems: Vec<Violation>,
}

impl Document {
    /// Everything that is wrong with the object: with its form, and with what it says.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = self.problems.clone();
        let rules = self.resource.as_ref().and_then(|resource| validate::check_resource(resource).err());
        for violation in rules.into_iter().flatten() {
            // A field that had the wrong form has been taken out: that it is missing now is no news.
            let told = self
                .problems
                .iter()
                .any(|problem| problem.is_within(&violation.path) || violation.is_within(&problem.path));
            if !told {
                found.push(violation);
            }
        }
        found
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is too long.
    #[error("the file has {0} bytes; at most {MAX_BYTES} are read")]
    TooLong(usize),
    /// It is neither YAML nor JSON, or deeper than is reasonable.
    #[error("not readable as YAML or JSON: {0}")]
    Syntax(String),
    /// There is nothing in it.
    #[error("the file is empty; an Experiment begins with apiVersion: {API_VERSION} and kind: Experiment")]
    Empty,
    /// It holds something else than what was asked for.
    #[error("the file holds {found}, but {wanted} is needed")]
    NotWanted {
        /// What it holds.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Its objects are not what their schemas allow.
    #[error(transparent)]
    Invalid(#[from] Violations),
}

/// Reads every document of a file, keeping what is wrong with each beside it.
///
/// # Errors
/// When the file as a whole cannot be read.
pub fn documents(text: &str) -> Result<Vec<Document>, ManifestError> {
    let values = values(text)?;
    if values.is_empty() {
        return Err(ManifestError::Empty);
    }
    Ok(values.into_iter().map(document).collect())
}

/// Reads every object of a file; anything that its schema does not allow is an error.
///
/// # Errors
/// When the file cannot be read, or any object in it is not what its schema allows: then all that is wrong.
pub fn read(text: &str) -> Result<Vec<Resource>, ManifestError> {
    let documents = documents(text)?;
    let several = documents.len() > 1;
    let mut resources = Vec::new();
    let mut problems = Vec::new();
    for (i, document) in documents.into_iter().enumerate() {
        resources.extend(document.resource);
        problems.extend(document.problems.into_iter().map(|problem| match several {
            true => Violation::new(format!("document {}: {}", i + 1, problem.path), problem.message),
            false => problem,
        }));
    }
    Violations::check(problems)?;
    Ok(resources)
}

/// Reads a file that holds one Experiment and nothing else.
///
/// # Errors
/// As [`read`], and when it holds something else.
pub fn read_experiment(text: &str) -> Result<Experiment, ManifestError> {
    let mut resources = read(text)?;
    match (resources.pop(), resources.len()) {
        (Some(Resource::Experiment(experiment)), 0) => Ok(*experiment),
        (Some(other), 0) => {
            Err(ManifestError::NotWanted { found: format!("a {}", other.kind()), wanted: "an Experiment" })
        }
        (_, more) => Err(ManifestError::NotWanted { found: format!("{} objects", more + 1), wanted: "one Experiment" }),
    }
}

/// An object as `kubectl get -o yaml` prints it: keys in alphabetical order, lists not indented.
///
/// # Errors
/// When the value has no form in JSON, as a map whose keys are not texts.
pub fn to_yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    Ok(yaml::document(&serde_json::to_value(value)?))
}

/// The documents of a file as plain values.
pub(crate) fn values(text: &str) -> Result<Vec<Value>, ManifestError> {
    if text.len() > MAX_BYTES {
        return Err(ManifestError::TooLong(text.len()));
    }
    // An author's file needs few aliases, and none that multiply: an alias of aliases is a bomb.
    let budget = serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
        max_documents: MAX_DOCUMENTS,
        max_events: 200_000,
        max_nodes: 100_000,
        max_aliases: 1_000,
        max_anchors: 1_000,
        max_recorded_anchor_bytes: MAX_BYTES,
        max_recorded_anchor_events: 100_000,
        max_merge_keys: 100,
        max_total_scalar_bytes: 4 * MAX_BYTES,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        strict_booleans: true,
        with_snippet: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| ManifestError::Syntax(error.to_string()))
}

/// The schema of each kind, in the order of [`KINDS`].
static SCHEMAS: LazyLock<Vec<(String, JSONSchemaProps)>> = LazyLock::new(|| {
    let schema =
        |definition: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
            let version = definition.spec.versions.into_iter().next()?;
            Some((definition.spec.names.kind, version.schema?.open_api_v3_schema?))
        };
    crds::all().into_iter().filter_map(schema).collect()
});

/// Reads one object, as a file or the API server gives it, keeping what is wrong with it beside it.
pub fn document(mut value: Value) -> Document {
    let schema = match header(&value) {
        Ok(schema) => schema,
        Err(problems) => return Document { resource: None, problems },
    };
    let mut problems = strict::prune(&mut value, &schema.1);
    let resource = match schema.0.as_str() {
        "Experiment" => decode(value, &mut problems).map(|it| Resource::Experiment(Box::new(it))),
        "Report" => decode(value, &mut problems).map(|it| Resource::Report(Box::new(it))),
        "RoutingRule" => decode(value, &mut problems).map(|it| Resource::RoutingRule(Box::new(it))),
        _ => decode(value, &mut problems).map(|it| Resource::Mesh(Box::new(it))),
    };
    problems.sort();
    Document { resource, problems }
}

/// The schema that a document names by `apiVersion` and `kind`.
fn header(value: &Value) -> Result<&'static (String, JSONSchemaProps), Vec<Violation>> {
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    let mut problems = Vec::new();
    match field("apiVersion") {
        Some(API_VERSION) => {}
        Some(other) => problems.push(Violation::new("apiVersion", format!("must be {API_VERSION}, but is {other:?}"))),
        None => problems.push(Violation::new("apiVersion", format!("is required, as in apiVersion: {API_VERSION}"))),
    }
    let schema = match field("kind") {
        Some(kind) => {
            let known = SCHEMAS.iter().find(|(name, _)| name == kind);
            if known.is_none() {
                let hint =
                    strict::nearest(kind, KINDS).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                problems.push(Violation::new("kind", format!("{kind:?} is not one of {}{hint}", KINDS.join(", "))));
            }
            known
        }
        None => {
            problems.push(Violation::new(
                "kind",
                format!("is required, as in kind: Experiment; known are {}", KINDS.join(", ")),
            ));
            None
        }
    };
    schema.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Decodes a pruned value. Each field that does not decode is reported and taken out, so that all of them are found.
fn decode<T: DeserializeOwned>(mut value: Value, problems: &mut Vec<Violation>) -> Option<T> {
    /// More mistakes than this in one document are not reported one by one.
    const MAX_ROUNDS: usize = 64;
    for _ in 0..MAX_ROUNDS {
        let error = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
            Ok(object) => return Some(object),
            Err(error) => error,
        };
        let path = error.path().to_string();
        // A field that was taken out is missing now: that has been said.
        if !problems.iter().any(|problem| problem.is_within(&path)) {
            problems.push(Violation::new(path, error.inner().to_string()));
        }
        remove(&mut value, error.path())?;
    }
    None
}

/// Takes a map's field out of a value; `None` when the path does not end in one.
fn remove(value: &mut Value, path: &Path) -> Option<()> {
    let mut segments: Vec<&Segment> = path.iter().collect();
    let Some(Segment::Map { key }) = segments.pop() else { return None };
    let mut here = value;
    for segment in segments {
        here = match segment {
            Segment::Map { key } => here.get_mut(key)?,
            Segment::Seq { index } => here.get_mut(index)?,
            Segment::Enum { .. } | Segment::Unknown => return None,
        };
    }
    here.as_object_mut()?.remove(key).map(|_| ())
}
