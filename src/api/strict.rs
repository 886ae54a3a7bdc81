//! Walks a value and the schema of its kind side by side: unknown fields, wrong types, missing fields, bounds.
//!
//! serde ignores unknown fields and stops at the first error; people mistype several fields at once.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};

use crate::violation::Violation;

/// Takes out of `value` everything that `schema` does not allow, and says what and where it was.
pub(crate) fn prune(value: &mut Value, schema: &JSONSchemaProps) -> Vec<Violation> {
    let mut walk = Walk { found: Vec::new() };
    if let Value::Object(fields) = value {
        walk.rename_to_metadata(fields, schema);
        // These have no schema in a CRD: they are the same for every kind.
        let envelope = ["apiVersion", "kind", "metadata"].map(|field| fields.remove_entry(field));
        walk.object(fields, schema, None, "");
        for (field, value) in envelope.into_iter().flatten() {
            if field == "metadata" {
                walk.metadata(&value);
            }
            fields.insert(field, value);
        }
        if !fields.contains_key("metadata") {
            walk.report("metadata", format!("is required{}", example_of("metadata")));
        }
    }
    walk.found
}

/// The names nearest to `name` first, if any is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain =
        |text: &str| text.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect::<String>();
    let wanted = plain(name);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .min()
        .filter(|(distance, _)| *distance <= (wanted.chars().count() / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// What has been found so far.
struct Walk {
    found: Vec<Violation>,
}

impl Walk {
    fn report(&mut self, path: &str, message: impl Into<String>) {
        self.found.push(Violation::new(path, message));
    }

    /// Checks one value. False when it has to be taken out, because it would not decode.
    fn value(
        &mut self,
        value: &mut Value,
        schema: &JSONSchemaProps,
        parent: Option<&JSONSchemaProps>,
        path: &str,
    ) -> bool {
        if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
            return true;
        }
        let kind = schema.type_.as_deref().unwrap_or_default();
        if !has_type(value, kind) {
            self.report(path, wrong_type(value, kind, path));
            return false;
        }
        match value {
            Value::Object(fields) => {
                self.object(fields, schema, parent, path);
                true
            }
            Value::Array(items) => self.list(items, schema, path),
            Value::String(text) => self.text(text, schema, path),
            Value::Number(_) => self.number(value, schema, path),
            Value::Null | Value::Bool(_) => true,
        }
    }

    fn object(
        &mut self,
        fields: &mut Map<String, Value>,
        schema: &JSONSchemaProps,
        parent: Option<&JSONSchemaProps>,
        path: &str,
    ) {
        let Some(properties) = &schema.properties else {
            if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                fields.retain(|key, value| self.value(value, values, None, &join(path, key)));
            }
            return;
        };
        self.rename(fields, properties, path);
        fields.retain(|key, value| {
            let here = join(path, key);
            match properties.get(key) {
                // A null says nothing, as everywhere in Kubernetes.
                Some(_) if value.is_null() => false,
                Some(property) => self.value(value, property, Some(schema), &here),
                None => {
                    self.report(&here, unknown_field(key, schema, parent, path));
                    false
                }
            }
        });
        for required in schema.required.iter().flatten() {
            let here = join(path, required);
            let reported = self.found.iter().any(|violation| violation.path == here);
            if !fields.contains_key(required) && !reported {
                self.report(&here, format!("is required{}", example_of(&here)));
            }
        }
    }

    /// Reports fields with a near name and reads them as if they had it, so that what they say is checked as well.
    fn rename(&mut self, fields: &mut Map<String, Value>, properties: &BTreeMap<String, JSONSchemaProps>, path: &str) {
        let unknown: Vec<String> = fields.keys().filter(|key| !properties.contains_key(*key)).cloned().collect();
        for key in unknown {
            let free = properties.keys().map(String::as_str).filter(|name| !fields.contains_key(*name));
            let Some(near) = nearest(&key, free).map(str::to_owned) else { continue };
            self.report(&join(path, &key), format!("unknown field; did you mean {near:?}?"));
            if let Some(value) = fields.remove(&key) {
                fields.insert(near, value);
            }
        }
    }

    /// Reads a field with a name near to `metadata` as if it had it, as [`Self::rename`] does for what has a schema.
    fn rename_to_metadata(&mut self, fields: &mut Map<String, Value>, schema: &JSONSchemaProps) {
        const KNOWN: [&str; 3] = ["apiVersion", "kind", "metadata"];
        let in_schema = |key: &str| schema.properties.as_ref().is_some_and(|known| known.contains_key(key));
        let is_near =
            |key: &&String| !KNOWN.contains(&key.as_str()) && !in_schema(key) && nearest(key, ["metadata"]).is_some();
        if fields.contains_key("metadata") {
            return;
        }
        let Some(key) = fields.keys().find(is_near).cloned() else { return };
        self.report(&key, "unknown field; did you mean \"metadata\"?");
        if let Some(value) = fields.remove(&key) {
            fields.insert("metadata".to_owned(), value);
        }
    }

    fn list(&mut self, items: &mut [Value], schema: &JSONSchemaProps, path: &str) -> bool {
        if let Some(limit) = schema.max_items
            && i64::try_from(items.len()).unwrap_or(i64::MAX) > limit
        {
            self.report(path, format!("has {} entries; at most {limit} are accepted", items.len()));
        }
        let mut sound = true;
        if let Some(JSONSchemaPropsOrArray::Schema(of_items)) = &schema.items {
            for (i, item) in items.iter_mut().enumerate() {
                sound &= self.value(item, of_items, Some(schema), &format!("{path}[{i}]"));
            }
        }
        sound
    }

    fn text(&mut self, text: &str, schema: &JSONSchemaProps, path: &str) -> bool {
        if let Some(limit) = schema.max_length
            && i64::try_from(text.chars().count()).unwrap_or(i64::MAX) > limit
        {
            self.report(path, format!("is longer than {limit} characters"));
        }
        let Some(allowed) = &schema.enum_ else { return true };
        let allowed: Vec<&str> = allowed.iter().filter_map(|json| json.0.as_str()).collect();
        if allowed.contains(&text) {
            return true;
        }
        let hint =
            nearest(text, allowed.iter().copied()).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        self.report(path, format!("{text:?} is not one of {}{hint}", quoted(&allowed)));
        false
    }

    fn number(&mut self, value: &Value, schema: &JSONSchemaProps, path: &str) -> bool {
        let number = value.as_f64().unwrap_or(f64::NAN);
        let low = schema.minimum.filter(|low| number < *low).map(|low| format!("{value} is below {low}"));
        let high = schema.maximum.filter(|high| number > *high).map(|high| format!("{value} is above {high}"));
        let Some(message) = low.or(high) else { return true };
        self.report(path, message + &example_of(path));
        false
    }

    /// `metadata` is Kubernetes' own and has no schema in a CRD.
    fn metadata(&mut self, metadata: &Value) {
        const KNOWN: [&str; 14] = [
            "annotations",
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generateName",
            "generation",
            "labels",
            "managedFields",
            "name",
            "namespace",
            "ownerReferences",
            "resourceVersion",
            "uid",
        ];
        let Value::Object(fields) = metadata else {
            return self.report("metadata", format!("must be a map{}", example_of("metadata")));
        };
        for (key, value) in fields {
            let path = join("metadata", key);
            match (key.as_str(), value) {
                ("labels" | "annotations", Value::Object(pairs)) => {
                    for (name, _) in pairs.iter().filter(|(_, text)| !text.is_string()) {
                        self.report(&join(&path, name), "must be a text: write it in quotes, as in \"1\"");
                    }
                }
                ("name" | "namespace" | "generateName", value) if !value.is_string() && !value.is_null() => {
                    self.report(&path, wrong_type(value, "string", &path));
                }
                ("selfLink", _) => {}
                (key, _) if !KNOWN.contains(&key) => {
                    let hint = nearest(key, KNOWN).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
                    self.report(&path, format!("unknown field{hint}"));
                }
                _ => {}
            }
        }
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// Whether a value has a schema's type. An integer may be written as `5.0`.
fn has_type(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => true,
    }
}

/// The message for a value of the wrong type.
fn wrong_type(value: &Value, kind: &str, path: &str) -> String {
    let expected = match kind {
        "object" => "a map",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    };
    let found = match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.chars().count() <= 40 => format!("the text {text:?}"),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    };
    let hint = match (kind, value) {
        ("integer" | "number", Value::String(text)) if text.parse::<f64>().is_ok() => {
            format!("; write it without quotes: {text}")
        }
        _ => example_of(path),
    };
    format!("must be {expected}, but is {found}{hint}")
}

/// The message for a field that the schema does not have: where it belongs, or which name is near.
fn unknown_field(name: &str, schema: &JSONSchemaProps, parent: Option<&JSONSchemaProps>, path: &str) -> String {
    let properties = schema.properties.iter().flatten();
    if let Some((child, _)) =
        properties.clone().find(|(_, property)| property.properties.iter().flatten().any(|(key, _)| key == name))
    {
        return format!("unknown field; {name:?} belongs one level deeper, under {}", join(path, child));
    }
    match name {
        "result" => return "unknown field; the result of an experiment is in status.result".to_owned(),
        "prometheusTrigger" => return "unknown field; write trigger: {prometheus: {...}}".to_owned(),
        _ => {}
    }
    if parent.and_then(|parent| parent.properties.as_ref()).is_some_and(|siblings| siblings.contains_key(name)) {
        return format!(
            "unknown field; {name:?} belongs one level up, beside {:?}",
            path.rsplit('.').next().unwrap_or(path)
        );
    }
    let known: Vec<&str> = properties.map(|(key, _)| key.as_str()).collect();
    format!("unknown field; known here are {}", quoted(&known))
}

/// `, as in ...` for fields whose right form is not obvious.
fn example_of(path: &str) -> String {
    let field = path.rsplit('.').next().unwrap_or(path);
    let field = field.split('[').next().unwrap_or(field);
    let example = match field {
        "duration" if path.ends_with(".delay.duration") => "duration: \"2s\"",
        "duration" => "duration: \"600s\"",
        "interval" => "interval: \"5s\"",
        "settle" => "settle: \"5s\"",
        "jitter" => "jitter: \"100ms\"",
        "keepRouted" => "keepRouted: \"0s\"",
        "percentage" => "percentage: 25",
        "httpStatus" => "httpStatus: 500",
        "grpcStatus" => "grpcStatus: 14",
        "thresholdValue" => "thresholdValue: 0.01",
        "comparisonOperator" => "comparisonOperator: \">\"",
        "customQuery" => "customQuery: scalar(sum(rate(http_errors_total[1m])))",
        "metric" => "metric: ErrorRate",
        "minRequests" => "minRequests: 10",
        "maxInjected" => "maxInjected: 100",
        "minInjected" => "minInjected: 1",
        "maxConcurrentDelays" => "maxConcurrentDelays: 100",
        "destinationServices" | "originServices" | "upstreams" => {
            "[{name: bookinfo-ratings-9080, namespace: glooshot}]"
        }
        "service" | "upstream" | "experiment" | "targetMesh" => "{name: ratings, namespace: bookinfo}",
        "name" => "name: ratings",
        "namespace" => "namespace: bookinfo",
        "metadata" => "metadata: {name: my-experiment, namespace: bookinfo}",
        "port" => "port: 9080",
        "weight" => "weight: 1",
        "abort" => "abort: {httpStatus: 500}",
        "delay" => "delay: {duration: \"2s\"}",
        "connection" => "connection: {reset: true}",
        "reset" => "reset: true",
        "fault" => "fault: {abort: {httpStatus: 500}, percentage: 50}",
        "path" => "path: {prefix: /api/}",
        "methods" => "methods: [GET, POST]",
        "headers" => "headers: [{name: x-user, exact: jason}]",
        "trigger" => "trigger: {prometheus: {customQuery: ..., thresholdValue: 0.01, comparisonOperator: \">\"}}",
        "spec" => "spec: {spec: {duration: \"600s\", faults: [...]}}",
        _ => return String::new(),
    };
    format!(", as in {example}")
}
