//! The annotation of a redirected Service: all that is needed to put it back, by whoever finds it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde::{Deserialize, Serialize};

use super::Owner;

/// Bytes of an annotation that is looked at at the most: ours have a few hundred.
const MAX_BYTES: usize = 16 << 10;
/// Labels of a selector at the most, and writers of it.
const MAX_ENTRIES: usize = 64;
/// Bytes of any text in it at the most.
const MAX_TEXT: usize = 317;

/// What a Service was before it was redirected, and for whom it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Its selector.
    pub selector: BTreeMap<String, String>,
    /// Its uid: an annotation that was copied to another Service says nothing about that one.
    pub service_uid: String,
    /// Whose experiment it is.
    pub experiment: Owner,
    /// When that is over at the latest; for people, nothing is decided by it.
    pub deadline: Timestamp,
    /// Who had written the selector, as the API server remembers it.
    #[serde(default)]
    pub writers: Vec<Writer>,
}

/// One who had written the selector: an entry of `managedFields`, without its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Writer {
    /// The name.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The version of the API that was written in.
    pub api_version: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// Why an annotation is not taken for one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not of the form that we write.
    #[error("its annotation is not one that glooshot writes: {0}")]
    Form(String),
    /// Something in it cannot be a label.
    #[error("its annotation has {0:?}, which can be no label")]
    Label(String),
}

impl Record {
    /// Reads an annotation.
    ///
    /// # Errors
    /// When it is longer, or in any way different, than we would have written it.
    pub fn parse(annotation: &str) -> Result<Self, RecordError> {
        if annotation.len() > MAX_BYTES {
            return Err(RecordError::Form(format!("it has more than {MAX_BYTES} bytes")));
        }
        let record: Self = serde_json::from_str(annotation).map_err(|error| RecordError::Form(error.to_string()))?;
        if record.selector.is_empty() || record.selector.len().max(record.writers.len()) > MAX_ENTRIES {
            return Err(RecordError::Form("its selector is empty, or it has too many entries".to_owned()));
        }
        let bad = record.selector.iter().find(|(key, value)| !is_label_key(key) || !is_label_value(value));
        if let Some((key, value)) = bad {
            return Err(RecordError::Label(format!("{key}={value}")));
        }
        let Owner { namespace, name, uid, kind: _ } = &record.experiment;
        let texts = [namespace, name, uid, &record.service_uid];
        if let Some(bad) = texts.into_iter().find(|text| !is_name(text)) {
            return Err(RecordError::Label(bad.clone()));
        }
        Ok(record)
    }

    /// Writes it.
    ///
    /// # Errors
    /// Never for a record of this type; the error is the library's.
    pub fn to_annotation(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl Writer {
    /// The writer that an entry is about.
    pub(super) fn of(entry: &ManagedFieldsEntry) -> Self {
        Self {
            manager: entry.manager.clone().unwrap_or_default(),
            operation: entry.operation.clone().unwrap_or_default(),
            api_version: entry.api_version.clone().unwrap_or_default(),
            time: entry.time.clone(),
        }
    }

    /// Whether an entry is about this writer.
    pub(super) fn is_of(&self, entry: &ManagedFieldsEntry) -> bool {
        let other = Self::of(entry);
        (&self.manager, &self.operation, &self.api_version) == (&other.manager, &other.operation, &other.api_version)
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
}

/// `[prefix/]name`, as Kubernetes has it for keys of labels.
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(|prefix| prefix.len() <= 253 && is_name(prefix))
}

/// Letters, digits, `-`, `_` and `.` in the middle, at most 63; or nothing.
fn is_label_value(value: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    value.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written() -> serde_json::Value {
        json!({
            "selector": {"app": "ratings", "example.com/tier": ""},
            "serviceUid": "0a1b-1",
            "experiment": {"namespace": "bookinfo", "name": "abort-ratings", "uid": "e-1"},
            "deadline": "2026-01-01T00:00:00Z",
            "writers": [{"manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z"}],
        })
    }

    #[test]
    fn what_is_written_is_read_again() {
        let record = Record::parse(&written().to_string()).unwrap();
        assert_eq!(record.selector["app"], "ratings");
        assert_eq!(Record::parse(&record.to_annotation().unwrap()), Ok(record));
    }

    #[test]
    fn whatever_we_would_not_write_is_refused() {
        let cases = [
            ("/selector", json!({}), "empty"),
            ("/selector", json!({"app": "a b"}), "no label"),
            ("/selector", json!({"app": "'; rm"}), "no label"),
            ("/selector", json!({"a/b/c": "x"}), "no label"),
            ("/selector", json!({"app": "x".repeat(64)}), "no label"),
            ("/experiment/name", json!("a'b"), "no label"),
            ("/experiment", json!({"namespace": "n", "name": "m", "uid": "u", "more": 1}), "unknown field"),
            ("/deadline", json!("soon"), "not one that glooshot writes"),
            ("/serviceUid", json!("x".repeat(20_000)), "more than"),
        ];
        for (at, value, says) in cases {
            let mut text = written();
            *text.pointer_mut(at).unwrap() = value;
            let error = Record::parse(&text.to_string()).unwrap_err().to_string();
            assert!(error.contains(says), "{at}: {error}");
        }
    }
}
