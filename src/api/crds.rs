//! The CustomResourceDefinitions, generated from the types of this crate.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{experiment::Experiment, manifest, mesh::Mesh, report::Report, routing_rule::RoutingRule};

/// Every definition, in the order in which they are printed and installed.
pub fn all() -> Vec<CustomResourceDefinition> {
    [Experiment::crd(), Report::crd(), RoutingRule::crd(), Mesh::crd()].into_iter().map(plain).collect()
}

/// Every definition as one YAML stream, one document for each.
///
/// # Errors
/// Never in practice: only if a definition were not JSON.
pub fn to_yaml() -> Result<String, serde_json::Error> {
    let documents: Result<Vec<String>, _> = all().iter().map(manifest::to_yaml).collect();
    Ok(documents?.join("---\n"))
}

/// The name of the file that holds a definition: `experiments.yaml` for `experiments.glooshot.solo.io`.
pub fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}.yaml", definition.spec.names.plural)
}

/// Takes out of the generated schemas what the API server would do better without.
fn plain(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|validation| validation.open_api_v3_schema.as_mut()) {
            plain_schema(schema);
        }
    }
    definition
}

fn plain_schema(schema: &mut JSONSchemaProps) {
    // Without `nullable` the API server drops nulls before any rule runs, so `has(self.abort)` means what it says.
    schema.nullable = None;
    // Without `default` an object is stored as its author wrote it, and a GitOps tool sees no difference.
    schema.default = None;
    // The API server knows the formats of signed integers only, and warns about all others.
    schema.format = match schema.format.as_deref() {
        Some("uint8" | "uint16") => Some("int32".to_owned()),
        Some("uint32" | "uint64" | "uint") => Some("int64".to_owned()),
        _ => schema.format.take(),
    };
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        plain_schema(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => plain_schema(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(plain_schema),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        plain_schema(values);
        // The only maps are of strings to strings, and every string has a bound.
        if values.type_.as_deref() == Some("string") && values.max_length.is_none() {
            values.max_length = Some(4096);
        }
    }
}
