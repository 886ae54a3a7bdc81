//! What a cluster has of a kind of ours: as a table that the API server makes, as kubectl asks for it, or as the objects themselves.

use std::fmt;

use http::{Request, header::ACCEPT};
use kube::{
    Api, Resource as _,
    api::{ApiResource, ListParams},
    core::DynamicObject,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Cluster, ClusterError, pages};

const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Where objects are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// One namespace, or all.
    pub(crate) namespace: Option<String>,
    /// One object of it, or all.
    pub(crate) name: Option<String>,
}

/// Rows under their headings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// The headings.
    pub(crate) columns: Vec<String>,
    /// A cell for each heading.
    pub(crate) rows: Vec<Vec<String>>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.columns).chain(&self.rows);
        let width =
            |column: usize| lines().filter_map(|cells: &Vec<String>| Some(cells.get(column)?.chars().count())).max();
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| width(column).unwrap_or(0)).collect();
        for cells in lines() {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", padded.collect::<Vec<_>>().join("   ").trim_end())?;
        }
        Ok(())
    }
}

/// A page of a table, as the API server writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Debug, Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    /// Those above 0 are for those who ask for more.
    #[serde(default)]
    priority: i32,
}

#[derive(Debug, Deserialize)]
struct Row {
    cells: Vec<Value>,
    #[serde(default)]
    object: RowObject,
}

#[derive(Debug, Default, Deserialize)]
struct RowObject {
    #[serde(default)]
    metadata: RowMetadata,
}

#[derive(Debug, Default, Deserialize)]
struct RowMetadata {
    #[serde(default)]
    namespace: String,
}

/// The table of a kind.
///
/// # Errors
/// When the cluster cannot be reached, or refuses, or does not know the kind.
pub(crate) async fn table(cluster: &Cluster, kind: &ApiResource, scope: &Scope) -> Result<Table, ClusterError> {
    let mut table = Table::default();
    let mut next = None;
    loop {
        let page: Page = get(cluster, kind, scope, AS_TABLE, next.as_deref()).await?;
        next = page.metadata.next.clone().filter(|next| !next.is_empty());
        add(&mut table, page, scope.namespace.is_none());
        if next.is_none() {
            return Ok(table);
        }
    }
}

/// The objects of a kind.
///
/// # Errors
/// When the cluster cannot be reached, or refuses, or does not know the kind.
pub(crate) async fn objects(
    cluster: &Cluster,
    kind: &ApiResource,
    scope: &Scope,
) -> Result<Vec<DynamicObject>, ClusterError> {
    let api = match &scope.namespace {
        Some(namespace) => Api::<DynamicObject>::namespaced_with(cluster.client(), namespace, kind),
        None => Api::all_with(cluster.client(), kind),
    };
    let explain = |error| explain(cluster, kind, scope, error);
    if let Some(name) = &scope.name {
        return Ok(vec![api.get(name).await.map_err(explain)?]);
    }
    let mut all = pages::objects(&api, ListParams::default()).await.map_err(explain)?;
    for object in &mut all {
        // Objects of a list do not say what they are.
        object.types = Some(kube::core::TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() });
    }
    Ok(all)
}

async fn get<T: DeserializeOwned>(
    cluster: &Cluster,
    kind: &ApiResource,
    scope: &Scope,
    accept: &str,
    next: Option<&str>,
) -> Result<T, ClusterError> {
    let params =
        ListParams { limit: Some(pages::PAGE), continue_token: next.map(str::to_owned), ..ListParams::default() };
    let requests = kube::core::Request::new(DynamicObject::url_path(kind, scope.namespace.as_deref()));
    let request = match &scope.name {
        Some(name) => requests.get(name, &kube::api::GetParams::default()),
        None => requests.list(&params),
    };
    let mut request: Request<Vec<u8>> =
        request.map_err(|error| explain(cluster, kind, scope, kube::Error::BuildRequest(error)))?;
    if let Ok(accept) = accept.parse() {
        request.headers_mut().insert(ACCEPT, accept);
    }
    cluster.client().request(request).await.map_err(|error| explain(cluster, kind, scope, error))
}

/// A cluster that has never heard of a kind says no more than 404.
fn explain(cluster: &Cluster, kind: &ApiResource, scope: &Scope, error: kube::Error) -> ClusterError {
    match (&error, &scope.name) {
        (kube::Error::Api(status), Some(name)) if status.is_not_found() && status.message.contains(name.as_str()) => {
            let place = scope.namespace.as_deref().unwrap_or_default();
            ClusterError::NotYet(format!("there is no {} {name} in the namespace {place}", kind.kind))
        }
        (kube::Error::Api(status), _) if status.is_not_found() => ClusterError::NotYet(format!(
            "the cluster does not know {} yet; `glooshot register` teaches it",
            kind.plural
        )),
        _ => cluster.explain(error),
    }
}

/// Adds a page to a table; with the namespaces in front, where there may be several.
fn add(table: &mut Table, page: Page, namespaces: bool) {
    let shown: Vec<usize> =
        page.column_definitions.iter().enumerate().filter(|(_, it)| it.priority == 0).map(|(index, _)| index).collect();
    let headings = page.column_definitions.iter().filter(|it| it.priority == 0).map(|it| it.name.to_uppercase());
    table.columns = namespaces.then(|| "NAMESPACE".to_owned()).into_iter().chain(headings).collect();
    for Row { cells, object } in page.rows {
        let cells = shown.iter().map(|index| cell(cells.get(*index)));
        let namespace = namespaces.then_some(object.metadata.namespace);
        table.rows.push(namespace.into_iter().chain(cells).collect());
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page() -> Page {
        serde_json::from_value(json!({
            "kind": "Table", "metadata": {"resourceVersion": "7"},
            "columnDefinitions": [
                {"name": "Name", "type": "string", "priority": 0}, {"name": "State", "type": "string", "priority": 0},
                {"name": "Reason", "type": "string", "priority": 1}, {"name": "Count", "type": "integer", "priority": 0},
            ],
            "rows": [
                {"cells": ["abort-ratings", "Failed", "more", 3], "object": {"metadata": {"namespace": "bookinfo"}}},
                {"cells": ["b", null, "more", 12], "object": {"metadata": {"namespace": "n"}}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_table_is_as_kubectl_prints_it() {
        let mut one = Table::default();
        add(&mut one, page(), false);
        let expected = "NAME            STATE    COUNT\nabort-ratings   Failed   3\nb                        12\n";
        assert_eq!(one.to_string(), expected);
        let mut all = Table::default();
        add(&mut all, page(), true);
        assert!(all.to_string().starts_with("NAMESPACE   NAME "), "{all}");
        assert_eq!(all.rows[1], ["n", "b", "", "12"]);
    }

    #[test]
    fn nothing_in_a_cell_moves_the_cursor() {
        assert_eq!(cell(Some(&json!("a\u{1b}[2Jb\nc"))), "a [2Jb c");
    }
}
