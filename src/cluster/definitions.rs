//! CustomResourceDefinitions in a cluster: written by server-side apply, and waited for until they are served.

use std::{fmt, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition,
};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Cluster, ClusterError};

/// Who owns the fields that are written here.
const FIELD_MANAGER: &str = "glooshot";
/// Between two looks at a definition that is not served yet. Reading it again needs no right beyond `get`.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What writing a definition has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was not there before.
    Created,
    /// It was there, but different.
    Updated,
    /// It was there already.
    Unchanged,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Writes a definition as it is in this version of Glooshot.
///
/// # Errors
/// When the cluster cannot be reached, or refuses it.
pub(crate) async fn apply(cluster: &Cluster, definition: &CustomResourceDefinition) -> Result<Change, ClusterError> {
    let api = Api::<CustomResourceDefinition>::all(cluster.client());
    let name = definition.name_any();
    let explain = |error| cluster.explain(error);
    let before = api.get_opt(&name).await.map_err(explain)?;
    // By force: the definitions are ours, whoever installed them (`glooshot crds | kubectl apply -f -` is one way).
    let how = PatchParams::apply(FIELD_MANAGER).force();
    let after = api.patch(&name, &how, &Patch::Apply(definition)).await.map_err(explain)?;
    // The API server counts a definition's generations by changes of its spec; its own notes in the status are none.
    Ok(match before {
        None => Change::Created,
        Some(before) if before.metadata.generation == after.metadata.generation => Change::Unchanged,
        Some(_) => Change::Updated,
    })
}

/// Whether the cluster knows a definition.
///
/// # Errors
/// When the cluster cannot be reached, or refuses to say.
pub(crate) async fn is_there(cluster: &Cluster, definition: &CustomResourceDefinition) -> Result<bool, ClusterError> {
    let api = Api::<CustomResourceDefinition>::all(cluster.client());
    let found = api.get_metadata_opt(&definition.name_any()).await.map_err(|error| cluster.explain(error))?;
    Ok(found.is_some())
}

/// Waits until the cluster serves a definition, until `deadline`.
///
/// # Errors
/// When the cluster cannot be reached, or does not serve it in time.
pub(crate) async fn await_established(cluster: &Cluster, name: &str, wait: Duration) -> Result<(), ClusterError> {
    let api = Api::<CustomResourceDefinition>::all(cluster.client());
    let deadline = Instant::now() + wait;
    let mut why = "the cluster has not said anything about it yet".to_owned();
    let served = async {
        loop {
            let conditions =
                api.get(name).await.map_err(|error| cluster.explain(error))?.status.and_then(|it| it.conditions);
            let conditions = conditions.unwrap_or_default();
            if conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
                return Ok(());
            }
            if !conditions.is_empty() {
                why = obstacles(&conditions);
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    match timeout_at(deadline, served).await {
        Ok(served) => served,
        Err(_) => Err(ClusterError::NotEstablished { name: name.to_owned(), waited: wait, why }),
    }
}

/// What the conditions say that are not as they should be, in the words of the API server.
fn obstacles(conditions: &[CustomResourceDefinitionCondition]) -> String {
    let obstacle = |condition: &CustomResourceDefinitionCondition| {
        let expected =
            if condition.type_ == "Established" || condition.type_ == "NamesAccepted" { "True" } else { "False" };
        (condition.status != expected).then(|| {
            let message = condition.message.as_deref().or(condition.reason.as_deref()).unwrap_or("no reason given");
            format!("{} is {} ({message})", condition.type_, condition.status)
        })
    };
    conditions.iter().filter_map(obstacle).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obstacles_are_told_in_the_words_of_the_api_server() {
        let condition = |type_: &str, status: &str, message: &str| CustomResourceDefinitionCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            message: Some(message.to_owned()),
            ..CustomResourceDefinitionCondition::default()
        };
        let told = obstacles(&[
            condition("NamesAccepted", "False", "\"rr\" is already in use"),
            condition("Established", "False", "not all names are accepted"),
            condition("NonStructuralSchema", "False", ""),
        ]);
        assert_eq!(
            told,
            "NamesAccepted is False (\"rr\" is already in use), Established is False (not all names are accepted)"
        );
    }
}
