//! A cache of what is watched, kept true by the API server's own words.

use std::{fmt::Debug, hash::Hash};

use futures::Stream;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;

use super::{WATCH, pages::PAGE};

/// Watches every object of a kind, for as long as a watch of ours lasts.
pub(crate) fn everything() -> watcher::Config {
    watcher::Config::default().timeout(u32::try_from(WATCH.as_secs()).unwrap_or(u32::MAX))
}

/// A cache of what `config` chooses, and the words that change it: to be read for ever. `trim` takes away what nobody here asks for.
pub(crate) fn cache<K>(
    api: Api<K>,
    kind: K::DynamicType,
    config: watcher::Config,
    trim: impl Fn(&mut K) + Send + 'static,
) -> (Store<K>, impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + Hash + Send + Sync,
{
    let writer = reflector::store::Writer::new(kind);
    let store = writer.as_reader();
    let words = watcher(api, config.page_size(PAGE)).default_backoff().modify(move |object| {
        // Half of an object is who has written it.
        object.meta_mut().managed_fields = None;
        trim(object);
    });
    (store, reflector::reflector(writer, words))
}
