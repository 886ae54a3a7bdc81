//! A run on a Service that a RoutingRule holds: it is a guest there, and changes nothing but what the proxies are told.

use std::time::Duration;

use glooshot_api::names::ServiceName;
use tokio::time::Instant;

use super::{
    Holder, Owner, Redirect, RedirectPath, Step, names,
    path::{LOOK, error},
    shifts::Welcome,
    target::Target,
};
use crate::engine::data_path::PathError;

/// For a rule that holds a Service to be in force.
const RULE_LIMIT: Duration = Duration::from_secs(90);

impl RedirectPath {
    /// For whom a Service is redirected.
    pub(super) fn holder(&self, name: &ServiceName) -> Owner {
        self.run.notes().seats.get(name).map_or(&self.owner, |seat| &seat.holder).clone()
    }

    /// Takes a place at each Service that a rule holds; waits while the rule is on its way there, as after a change of leaders.
    pub(super) async fn take_seats(&self, names: &[ServiceName]) -> Result<(), PathError> {
        if self.rule.is_some() {
            return Ok(());
        }
        let since = Instant::now();
        for name in names {
            // A place that is taken twice would be given up with the first of the two.
            if self.run.notes().seats.contains_key(name) {
                continue;
            }
            loop {
                let why = match self.run.shifts.welcome(name, &self.owner) {
                    Welcome::Guest(seat) => {
                        self.run.notes().seats.insert(name.clone(), seat);
                        break;
                    }
                    Welcome::Wait(why) => why,
                    Welcome::Free => match self.rule_of(name).await? {
                        Some(rule) => format!("{rule} holds Service {name}, and is not in force here yet"),
                        None => break,
                    },
                };
                if since.elapsed() > RULE_LIMIT {
                    return Err(error(format!("after {}s {why}", RULE_LIMIT.as_secs())));
                }
                self.run.reach(Step::Preflight, format!("waits: {why}"));
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// The rule that a Service is redirected for, by its annotation.
    async fn rule_of(&self, name: &ServiceName) -> Result<Option<Owner>, PathError> {
        let service = self.shared.world.service(name).await?;
        let holder = service.as_ref().and_then(Redirect::holder);
        Ok(holder.filter(|holder| holder.kind == Holder::RoutingRule))
    }

    /// The origin that the rule has made.
    pub(super) async fn find_origin(&self, target: &Target) -> Result<(), PathError> {
        let origin = names::origin(&target.name.name);
        let origin = ServiceName { namespace: target.name.namespace.clone(), name: origin };
        let found = self.shared.world.service(&origin).await?;
        target.set_origin(found.as_ref())
    }
}
