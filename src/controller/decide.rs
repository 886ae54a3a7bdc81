//! What is done about one Experiment as it is; pure.
//!
//! | the object | no run here | a run goes on | a run has ended |
//! |---|---|---|---|
//! | is being deleted | put back, let go | stop it | put back, let go |
//! | has a result | put back what is left, let go; or wait while its targets are to stay routed | stop it | the same |
//! | is under way | take it up | tell | write the result |
//! | waits | start it, or say why not | tell | write the result |

use glooshot_api::status::ResultState;

/// An Experiment as it is, and what is known of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Situation {
    /// We lead. Nothing is done otherwise.
    pub(crate) leading: bool,
    /// Its deletion was asked for.
    pub(crate) deleting: bool,
    /// Our finalizer is on it.
    pub(crate) held: bool,
    /// What its status says.
    pub(crate) state: ResultState,
    /// Its status says that its targets are routed, or its faults on: somebody began to run it.
    pub(crate) under_way: bool,
    /// It has ended, and its targets are to stay routed for some time yet.
    pub(crate) kept: bool,
    /// The run in this process.
    pub(crate) run: RunState,
    /// What keeps a new run from starting.
    pub(crate) obstacle: Option<Obstacle>,
}

/// The run of an Experiment in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// There is none.
    None,
    /// It goes on.
    Going,
    /// It has ended; its outcome may not have been written yet.
    Ended,
}

/// What keeps a new run from starting, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    /// The switch of the operator.
    Halted,
    /// Nobody has seen the switch of the operator yet.
    SwitchUnread,
    /// The object is invalid, or names what does not exist.
    NotAccepted,
    /// Runs that another process began have to be taken up first.
    TakingUp,
    /// Another experiment has one of its targets.
    TargetBusy,
    /// There are as many runs as there may be.
    TooMany,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing: it is somebody else's, or nothing is left to do.
    Nothing,
    /// The finalizer is written. Nothing else is touched before it is.
    Hold,
    /// A run starts.
    Start,
    /// A run that another process began goes on.
    TakeUp,
    /// The status says why nothing starts.
    Refuse(Obstacle),
    /// The run is asked to end.
    Stop(Reason),
    /// The status says how the run is.
    Tell,
    /// Result and Report are written.
    Conclude,
    /// Nothing is put back yet.
    Keep,
    /// What is left in the world is put back, then the finalizer goes.
    LetGo,
}

/// Why a run is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The Experiment is being deleted.
    Deleted,
    /// The operator's switch.
    Halted,
    /// Its status has a result already: somebody else ended it.
    HasResult,
}

/// What is done about an Experiment.
pub(crate) const fn decide(it: Situation) -> Decision {
    if !it.leading {
        return Decision::Nothing;
    }
    let ours = it.held || !matches!(it.run, RunState::None);
    match (it.deleting, it.run) {
        (true, RunState::Going) => return Decision::Stop(Reason::Deleted),
        (true, RunState::None | RunState::Ended) => return if ours { Decision::LetGo } else { Decision::Nothing },
        (false, _) => {}
    }
    match (it.run, it.state.is_final()) {
        (RunState::Going, true) => Decision::Stop(Reason::HasResult),
        (RunState::Going, false) => match it.obstacle {
            Some(Obstacle::Halted) => Decision::Stop(Reason::Halted),
            _ => Decision::Tell,
        },
        (RunState::Ended, false) => Decision::Conclude,
        (RunState::None | RunState::Ended, true) => match (ours, it.kept, it.obstacle) {
            (false, ..) => Decision::Nothing,
            (true, true, Some(Obstacle::Halted)) | (true, false, _) => Decision::LetGo,
            (true, true, _) => Decision::Keep,
        },
        (RunState::None, false) => begin(it),
    }
}

/// No run, and no result yet.
const fn begin(it: Situation) -> Decision {
    match (it.under_way, it.held, it.obstacle) {
        // Its faults must not be on again before the switch is known, nor may it end because that is not known yet.
        (true, true, Some(Obstacle::SwitchUnread)) => Decision::Nothing,
        // Halted or not, invalid by now or not: a run that was begun is ended by the engine, which knows how.
        (true, true, _) => Decision::TakeUp,
        (_, _, Some(obstacle)) => Decision::Refuse(obstacle),
        (_, false, None) => Decision::Hold,
        (false, true, None) => Decision::Start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITING: Situation = Situation {
        leading: true,
        deleting: false,
        held: true,
        state: ResultState::Pending,
        under_way: false,
        kept: false,
        run: RunState::None,
        obstacle: None,
    };
    const STATES: [ResultState; 5] = [
        ResultState::Pending,
        ResultState::Started,
        ResultState::Failed,
        ResultState::Succeeded,
        ResultState::Inconclusive,
    ];
    const RUNS: [RunState; 3] = [RunState::None, RunState::Going, RunState::Ended];
    const OBSTACLES: [Option<Obstacle>; 7] = [
        None,
        Some(Obstacle::Halted),
        Some(Obstacle::SwitchUnread),
        Some(Obstacle::NotAccepted),
        Some(Obstacle::TakingUp),
        Some(Obstacle::TargetBusy),
        Some(Obstacle::TooMany),
    ];

    /// Everything that there can be.
    fn all() -> impl Iterator<Item = Situation> {
        let flags = (0..32u8).map(|bits| [1, 2, 4, 8, 16].map(|bit| bits & bit > 0));
        flags.flat_map(|[leading, deleting, held, under_way, kept]| {
            STATES.into_iter().flat_map(move |state| {
                RUNS.into_iter().flat_map(move |run| {
                    OBSTACLES.into_iter().map(move |obstacle| Situation {
                        leading,
                        deleting,
                        held,
                        state,
                        under_way,
                        kept,
                        run,
                        obstacle,
                    })
                })
            })
        })
    }

    #[test]
    fn an_experiment_goes_from_its_finalizer_to_its_result() {
        let started = Situation { state: ResultState::Started, under_way: true, ..WAITING };
        let done = Situation { state: ResultState::Failed, under_way: false, ..WAITING };
        let table = [
            (Situation { held: false, ..WAITING }, Decision::Hold),
            (WAITING, Decision::Start),
            (Situation { run: RunState::Going, ..WAITING }, Decision::Tell),
            (Situation { run: RunState::Going, ..started }, Decision::Tell),
            (Situation { run: RunState::Ended, ..started }, Decision::Conclude),
            (Situation { run: RunState::Ended, ..done }, Decision::LetGo),
            (done, Decision::LetGo),
            (Situation { held: false, ..done }, Decision::Nothing),
            (Situation { kept: true, ..done }, Decision::Keep),
            (Situation { kept: true, run: RunState::Ended, ..done }, Decision::Keep),
            (Situation { kept: true, held: false, ..done }, Decision::Nothing),
            (Situation { kept: true, deleting: true, ..done }, Decision::LetGo),
            (Situation { kept: true, obstacle: Some(Obstacle::Halted), ..done }, Decision::LetGo),
        ];
        for (situation, expected) in table {
            assert_eq!(decide(situation), expected, "{situation:?}");
        }
    }

    #[test]
    fn a_deletion_stops_first_and_lets_go_then() {
        for state in STATES {
            let deleting = Situation { deleting: true, state, ..WAITING };
            assert_eq!(decide(Situation { run: RunState::Going, ..deleting }), Decision::Stop(Reason::Deleted));
            assert_eq!(decide(Situation { run: RunState::Ended, ..deleting }), Decision::LetGo);
            assert_eq!(decide(deleting), Decision::LetGo);
            assert_eq!(decide(Situation { held: false, ..deleting }), Decision::Nothing);
        }
    }

    #[test]
    fn whoever_does_not_lead_does_nothing() {
        for situation in all().filter(|it| !it.leading) {
            assert_eq!(decide(situation), Decision::Nothing, "{situation:?}");
        }
    }

    #[test]
    fn nothing_starts_without_the_finalizer_with_a_result_or_against_an_obstacle() {
        for it in all() {
            match decide(it) {
                Decision::Start => {
                    assert!(it.held && !it.deleting && !it.state.is_final() && it.obstacle.is_none(), "{it:?}");
                    assert_eq!(it.run, RunState::None, "{it:?}");
                }
                Decision::TakeUp => {
                    assert!(it.held && it.under_way && !it.deleting && !it.state.is_final(), "{it:?}");
                    assert_eq!(it.run, RunState::None, "{it:?}");
                    assert_ne!(it.obstacle, Some(Obstacle::SwitchUnread), "{it:?}");
                }
                Decision::Hold => assert!(!it.deleting && it.obstacle.is_none(), "{it:?}"),
                Decision::LetGo => assert_ne!(it.run, RunState::Going, "{it:?}"),
                Decision::Keep => assert!(it.kept && it.state.is_final() && !it.deleting, "{it:?}"),
                _ => {}
            }
        }
    }

    #[test]
    fn the_switch_of_the_operator_stops_every_run_and_refuses_every_start() {
        for it in all().filter(|it| it.leading && it.obstacle == Some(Obstacle::Halted)) {
            let decision = decide(it);
            assert!(!matches!(decision, Decision::Start | Decision::Hold | Decision::Tell), "{it:?}");
            if it.run == RunState::Going {
                assert!(matches!(decision, Decision::Stop(_)), "{it:?}");
            }
        }
    }
    #[test]
    fn before_the_switch_of_the_operator_was_seen_nothing_begins_and_nothing_is_ended_for_that() {
        for it in all().filter(|it| it.leading && it.obstacle == Some(Obstacle::SwitchUnread)) {
            let decision = decide(it);
            assert!(!matches!(decision, Decision::Start | Decision::Hold | Decision::TakeUp), "{it:?}");
            assert_ne!(decision, Decision::Stop(Reason::Halted), "{it:?}");
        }
        let begun = Situation { state: ResultState::Started, under_way: true, ..WAITING };
        assert_eq!(decide(Situation { obstacle: Some(Obstacle::SwitchUnread), ..begun }), Decision::Nothing);
        assert_eq!(decide(begun), Decision::TakeUp);
    }
}
