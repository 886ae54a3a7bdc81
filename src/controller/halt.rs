//! The operator's switch: the ConfigMap `glooshot-halt`, looked at twice a second. Halted, every run stops and none starts.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::decide::Obstacle;
use crate::proxy::Moment;

/// The ConfigMap's name.
pub const NAME: &str = "glooshot-halt";
/// The key that says `true` while everything is halted.
pub const HALTED: &str = "halted";
/// The key with the reason, for people.
pub const REASON: &str = "reason";
/// Between two looks: a run hears of it within a second.
const LOOK: Duration = Duration::from_millis(500);
/// For one look.
const ANSWER: Duration = Duration::from_secs(2);
/// The longest reason that is repeated.
const MAX_REASON: usize = 256;

/// How the switch is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Switch {
    /// Why everything is halted, if it is.
    pub(crate) halted: Option<String>,
    /// When that was so; never, before the first look.
    pub(crate) seen: Moment,
}

impl Switch {
    /// What keeps a run from starting, with a message: it is halted, or nobody has looked yet.
    pub(crate) fn obstacle(&self) -> Option<(Obstacle, String)> {
        match &self.halted {
            Some(reason) => Some((Obstacle::Halted, reason.clone())),
            None if !self.is_known() => {
                Some((Obstacle::SwitchUnread, "the halt switch could not be read yet".to_owned()))
            }
            None => None,
        }
    }

    /// Whether somebody has looked.
    pub(crate) fn is_known(&self) -> bool {
        self.seen != Moment::default()
    }
}

/// Looks at the switch for ever.
pub(crate) async fn watch(client: Client, namespace: String, switch: watch::Sender<Switch>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = Moment::now();
        match timeout(ANSWER, api.get_opt(NAME)).await {
            Ok(Ok(map)) => {
                let halted = map.and_then(|map| halted(&map.data.unwrap_or_default()));
                switch.send_replace(Switch { halted, seen: asked });
            }
            // What was seen grows old, and nothing is renewed by it.
            Ok(Err(error)) => tracing::warn!(%error, "the halt switch cannot be read"),
            Err(_) => tracing::warn!("the API server did not answer about the halt switch in time"),
        }
    }
}

/// The reason, where the data say that everything is halted. Whatever is not clearly off is on.
fn halted(data: &BTreeMap<String, String>) -> Option<String> {
    let on = data.get(HALTED).is_some_and(|value| !matches!(value.trim(), "false" | "" | "no" | "0" | "off"));
    on.then(|| match data.get(REASON).map(|reason| reason.trim()).filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("halted: {}", reason.chars().take(MAX_REASON).collect::<String>()),
        None => "halted by the operator".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_clearly_off_is_on() {
        for (value, expected) in [
            ("true", true),
            ("TRUE", true),
            ("yes", true),
            ("?", true),
            ("false", false),
            (" false\n", false),
            ("", false),
        ] {
            let data = BTreeMap::from([(HALTED.to_owned(), value.to_owned())]);
            assert_eq!(halted(&data).is_some(), expected, "{value:?}");
        }
        assert_eq!(halted(&BTreeMap::new()), None);
    }

    #[test]
    fn the_reason_is_told_and_nothing_starts_before_the_first_look() {
        let data = [(HALTED, "true"), (REASON, "incident 7")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(halted(&data).as_deref(), Some("halted: incident 7"));
        assert_eq!(Switch::default().obstacle().map(|(obstacle, _)| obstacle), Some(Obstacle::SwitchUnread));
        assert_eq!(Switch { halted: None, seen: Moment::now() }.obstacle(), None);
    }
}
