//! What is done about one RoutingRule, and which of two rules on one Service comes first. Pure.

use std::collections::BTreeSet;

use glooshot_api::names::ServiceName;

/// How far a rule has come in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is done about it.
    None,
    /// It has failed, and is tried again later.
    Cooling,
    /// This generation of it is being put in force, or is.
    Going(i64),
    /// It cannot be in force, or is no longer.
    Failed,
    /// Its Services are being put back.
    Ending,
    /// They are back.
    Ended,
}

/// The operator's switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Nobody here has seen it yet.
    Unread,
    /// It is off.
    Off,
    /// Everything is halted.
    On,
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    pub(super) halt: Halt,
    /// It is to be deleted.
    pub(super) deleting: bool,
    /// Our finalizer is on it.
    pub(super) held: bool,
    /// The generation of its spec.
    pub(super) generation: i64,
    /// It can be put in force as it is.
    pub(super) valid: bool,
    pub(super) phase: Phase,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Nothing,
    /// The finalizer is written, before anything in the world.
    Hold,
    /// It is put in force.
    Start,
    /// It is in force, or on its way, with an earlier spec.
    Change,
    /// The status says how it is.
    Tell,
    /// The status says why it cannot be put in force.
    Refuse,
    /// Its Services are put back.
    End,
    /// It is forgotten; it may start again.
    Forget,
    /// The finalizer is removed, after everything in the world.
    LetGo,
}

/// What is done about a rule.
pub(super) fn decide(it: &Situation) -> Decision {
    match it.phase {
        Phase::Ended if it.deleting => Decision::LetGo,
        Phase::Ended if it.halt == Halt::On => Decision::Refuse,
        Phase::Ended => Decision::Forget,
        Phase::Ending => Decision::Nothing,
        Phase::Failed => Decision::End,
        Phase::Going(_) if it.deleting || it.halt == Halt::On => Decision::End,
        Phase::None | Phase::Cooling if it.deleting && it.held => Decision::End,
        Phase::None | Phase::Cooling if it.deleting => Decision::Nothing,
        // A process before us may have put it in force; whether it is to stay so is not known before the switch is.
        Phase::None if it.held && it.halt == Halt::Unread => Decision::Nothing,
        Phase::None if it.held && it.halt == Halt::On => Decision::End,
        Phase::None | Phase::Cooling if it.halt != Halt::Off => Decision::Refuse,
        // Subsets whose pods restart are not known for a moment: what is in force stays so.
        Phase::Going(generation) if generation == it.generation => Decision::Tell,
        Phase::Going(_) if it.halt == Halt::Unread => Decision::Nothing,
        Phase::Going(_) if it.valid => Decision::Change,
        Phase::Going(_) => Decision::End,
        Phase::Cooling => Decision::Nothing,
        Phase::None if !it.valid => Decision::Refuse,
        Phase::None if !it.held => Decision::Hold,
        Phase::None => Decision::Start,
    }
}

/// A rule among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claimant {
    /// When it was created; of two at one moment the lower uid is first.
    pub(super) age: (Option<String>, String),
    pub(super) name: String,
    pub(super) services: BTreeSet<ServiceName>,
}

/// An earlier rule that has a Service of this one: the Service, and the rule's name.
pub(super) fn first<'a>(mine: &'a Claimant, all: &'a [Claimant]) -> Option<(&'a ServiceName, &'a str)> {
    let mut earlier: Vec<&Claimant> = all.iter().filter(|other| other.age < mine.age).collect();
    earlier.sort_by(|a, b| a.age.cmp(&b.age));
    earlier
        .into_iter()
        .find_map(|other| Some((other.services.intersection(&mine.services).next()?, other.name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation() -> Situation {
        Situation { halt: Halt::Off, deleting: false, held: true, generation: 2, valid: true, phase: Phase::None }
    }

    #[test]
    fn the_finalizer_comes_first_and_goes_last() {
        type Case = (&'static str, fn(&mut Situation), Decision);
        let cases: [Case; 29] = [
            ("new", |it| it.held = false, Decision::Hold),
            ("held", |_| {}, Decision::Start),
            ("held by a process before us, and wrong now", |it| it.valid = false, Decision::Refuse),
            ("wrong", |it| (it.valid, it.held) = (false, false), Decision::Refuse),
            ("in force", |it| it.phase = Phase::Going(2), Decision::Tell),
            ("in force, and its pods restart", |it| (it.valid, it.phase) = (false, Phase::Going(2)), Decision::Tell),
            ("edited", |it| it.phase = Phase::Going(1), Decision::Change),
            ("edited, and wrong now", |it| (it.valid, it.phase) = (false, Phase::Going(1)), Decision::End),
            ("deleted in force", |it| (it.deleting, it.phase) = (true, Phase::Going(2)), Decision::End),
            ("deleted, and begun by a process before us", |it| it.deleting = true, Decision::End),
            ("deleted before anything", |it| (it.deleting, it.held) = (true, false), Decision::Nothing),
            ("deleted while it waits", |it| (it.deleting, it.phase) = (true, Phase::Cooling), Decision::End),
            ("failed", |it| it.phase = Phase::Failed, Decision::End),
            ("ending", |it| (it.deleting, it.phase) = (true, Phase::Ending), Decision::Nothing),
            ("ended", |it| (it.deleting, it.phase) = (true, Phase::Ended), Decision::LetGo),
            ("ended, and there still", |it| it.phase = Phase::Ended, Decision::Forget),
            ("halted in force", |it| (it.halt, it.phase) = (Halt::On, Phase::Going(2)), Decision::End),
            ("halted, and begun by a process before us", |it| it.halt = Halt::On, Decision::End),
            ("halted, and ended", |it| (it.halt, it.phase) = (Halt::On, Phase::Ended), Decision::Refuse),
            ("halted before anything", |it| (it.halt, it.held) = (Halt::On, false), Decision::Refuse),
            ("cooling", |it| it.phase = Phase::Cooling, Decision::Nothing),
            ("unread, and begun by a process before us", |it| it.halt = Halt::Unread, Decision::Nothing),
            ("unread, begun, and wrong now", |it| (it.halt, it.valid) = (Halt::Unread, false), Decision::Nothing),
            ("unread before anything", |it| (it.halt, it.held) = (Halt::Unread, false), Decision::Refuse),
            ("unread while it waits", |it| (it.halt, it.phase) = (Halt::Unread, Phase::Cooling), Decision::Refuse),
            ("unread in force", |it| (it.halt, it.phase) = (Halt::Unread, Phase::Going(2)), Decision::Tell),
            ("unread and edited", |it| (it.halt, it.phase) = (Halt::Unread, Phase::Going(1)), Decision::Nothing),
            ("unread and deleted", |it| (it.halt, it.deleting) = (Halt::Unread, true), Decision::End),
            (
                "unread, deleted and ended",
                |it| (it.halt, it.deleting, it.phase) = (Halt::Unread, true, Phase::Ended),
                Decision::LetGo,
            ),
        ];
        for (case, change, expected) in cases {
            let mut situation = situation();
            change(&mut situation);
            assert_eq!(decide(&situation), expected, "{case}");
        }
    }

    #[test]
    fn before_the_switch_of_the_operator_was_seen_nothing_is_put_in_force_and_nothing_is_ended_for_that() {
        let phases = [Phase::None, Phase::Cooling, Phase::Going(1), Phase::Going(2), Phase::Ending, Phase::Ended];
        for phase in phases {
            for [held, valid] in [[false, false], [false, true], [true, false], [true, true]] {
                let unread = Situation { halt: Halt::Unread, held, valid, phase: phase.clone(), ..situation() };
                let decision = decide(&unread);
                let acts = [Decision::Hold, Decision::Start, Decision::Change, Decision::End, Decision::LetGo];
                assert!(!acts.contains(&decision), "{decision:?}: {unread:?}");
            }
        }
    }

    #[test]
    fn of_two_rules_on_one_service_the_earlier_is_first() {
        let claimant = |name: &str, at: &str, services: &[&str]| Claimant {
            age: (Some(at.into()), name.into()),
            name: name.into(),
            services: services
                .iter()
                .map(|it| ServiceName { namespace: "bookinfo".into(), name: (*it).into() })
                .collect(),
        };
        let all = [
            claimant("late", "2026-01-02", &["reviews"]),
            claimant("early", "2026-01-01", &["reviews", "ratings"]),
            claimant("same", "2026-01-01", &["ratings"]),
            claimant("other", "2026-01-03", &["details"]),
        ];
        let names: Vec<Option<&str>> = all.iter().map(|it| first(it, &all).map(|(_, name)| name)).collect();
        assert_eq!(names, [Some("early"), None, Some("early"), None]);
    }
}
