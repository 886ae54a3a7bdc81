//! The `Report` resource: what every failure condition was observed to be while the experiment ran.

use std::{borrow::Cow, fmt};

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::names::ResourceRef;

/// The observations of one experiment. The Report has the Experiment's name and namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "glooshot.solo.io",
    version = "v1",
    kind = "Report",
    namespaced,
    derive = "PartialEq",
    shortname = "report",
    category = "chaos",
    doc = "What every failure condition of an experiment was observed to be while it ran.",
    printcolumn(name = "Experiment", type_ = "string", json_path = ".spec.experiment.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ReportSpec {
    /// The experiment that this is about.
    pub experiment: ResourceRef,
    /// One history for each failure condition, in the order of the spec.
    #[schemars(length(max = 16))]
    #[serde(default)]
    pub failure_condition_history: Vec<ConditionHistory>,
}

/// What one failure condition was observed to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionHistory {
    /// The condition's name, given or generated.
    #[schemars(length(max = 253))]
    pub failure_condition_name: String,
    /// The samples, oldest first.
    #[schemars(length(max = 4096))]
    #[serde(default)]
    pub failure_condition_snapshots: Vec<Snapshot>,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// When it was taken: RFC 3339, UTC, nanoseconds.
    #[schemars(length(max = 64))]
    pub timestamp: String,
    /// The value: a number, or the string `NaN` where there was no data.
    pub value: SampleValue,
}

/// A number, or one of the strings `NaN`, `Infinity`, `-Infinity` where JSON has no number.
#[derive(Clone, Copy, Debug)]
pub struct SampleValue(pub f64);

impl PartialEq for SampleValue {
    /// Two samples without data are equal, so that reports can be compared.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.0.is_nan() && other.0.is_nan()
    }
}

impl JsonSchema for SampleValue {
    fn schema_name() -> Cow<'static, str> {
        "SampleValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A structural schema has no type for "number or string".
        json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
    }
}

impl Serialize for SampleValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for SampleValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = SampleValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<SampleValue, E> {
                Ok(SampleValue(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<SampleValue, E> {
                Ok(SampleValue(value as f64))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<SampleValue, E> {
                Ok(SampleValue(value as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SampleValue, E> {
                match text {
                    // The spellings with a dot are YAML's, as the reader of files hands them on.
                    "NaN" | ".nan" => Ok(SampleValue(f64::NAN)),
                    "Infinity" | ".inf" => Ok(SampleValue(f64::INFINITY)),
                    "-Infinity" | "-.inf" => Ok(SampleValue(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
