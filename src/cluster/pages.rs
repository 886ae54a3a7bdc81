//! Lists of any length, read page by page.

use std::{fmt::Debug, future::Future};

use kube::{
    Api,
    api::ListParams,
    core::{ObjectList, PartialObjectMeta},
};
use serde::de::DeserializeOwned;

/// Objects of one page.
pub(crate) const PAGE: u32 = 500;

/// All objects that `params` chooses.
pub(crate) async fn objects<K>(api: &Api<K>, params: ListParams) -> Result<Vec<K>, kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    all(params, |page| {
        let api = api.clone();
        async move { api.list(&page).await }
    })
    .await
}

/// The same without what is not metadata.
pub(crate) async fn metadata<K>(api: &Api<K>, params: ListParams) -> Result<Vec<PartialObjectMeta<K>>, kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    all(params, |page| {
        let api = api.clone();
        async move { api.list_metadata(&page).await }
    })
    .await
}

async fn all<T, F>(mut params: ListParams, read: impl Fn(ListParams) -> F) -> Result<Vec<T>, kube::Error>
where
    T: Clone,
    F: Future<Output = Result<ObjectList<T>, kube::Error>>,
{
    params.limit = Some(PAGE);
    let mut all = Vec::new();
    loop {
        let page = read(params.clone()).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}
