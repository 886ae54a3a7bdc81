//! A controller that is killed at any of its writes, and the one after it: the world comes to rest, and in the end is what it was.

use std::{collections::VecDeque, sync::Mutex, thread, time::Duration};

use serde_json::{Value, json};

use super::{
    control_plane::registered,
    gateway::{Gateway, Side},
    isolated::{isolate, mirroring},
    stage::{Controller, state},
    target::{Target, is_let_go},
};
use crate::harness::scale::CRASHES;

/// The time that a run's faults are on.
const DURATION: Duration = Duration::from_secs(2);
/// For anything that a controller does without waiting for anybody.
const SOON: Duration = Duration::from_secs(40);
/// Lives that are lived at one time.
const AT_ONCE: usize = 4;

/// How an Experiment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its time is over; it is deleted when everything has been put back. Its Service is isolated, so that policies are made for it.
    Time,
    /// It is deleted while its faults are on.
    Deletion,
}

/// Where a controller dies.
#[derive(Clone, Debug)]
struct Death {
    end: End,
    write: String,
    side: Side,
}

/// One life of an Experiment.
struct Life {
    target: Target<'static>,
    gateway: Gateway,
    end: End,
    start: Vec<Value>,
}

impl Life {
    fn new(name: &str, end: End) -> Self {
        let target = Target::new(registered(), name);
        if end == End::Time {
            isolate(&target.stage);
        }
        let gateway = Gateway::start(target.stage.kubeconfig(), name);
        let start = target.world();
        Self { target, gateway, end, start }
    }

    /// A controller that leads, and whose requests go through the gateway.
    fn controller(&self) -> Controller {
        let control = self.target.control.to_string();
        let controller = self.target.stage.controller_at(self.gateway.kubeconfig(), "first", &control, &[]);
        controller.awaits_leading();
        controller
    }

    /// From the creation of the Experiment until it is gone, or the controller is; gives the number of writes before its deletion.
    fn live(&self) -> usize {
        match self.end {
            End::Time => self.target.breaks_routed(&format!("{}s", DURATION.as_secs()), &mirroring()),
            End::Deletion => self.target.breaks("1m"),
        }
        let is_due = |it: &Value| match self.end {
            End::Time => is_let_go(it),
            End::Deletion => state(it) == Some("Started"),
        };
        self.target.awaits(SOON, "it may be deleted", |it| (self.gateway.has_killed() || is_due(it?)).then_some(()));
        let writes = self.gateway.writes().len();
        if !self.gateway.has_killed() {
            self.target.deletes();
            self.target.awaits(SOON, "it is gone", |it| (self.gateway.has_killed() || it.is_none()).then_some(()));
        }
        writes
    }

    /// The next controller ends what the dead one has left.
    fn goes_on(&self, side: Side) {
        let left = self.target.experiment();
        let control = self.target.control.to_string();
        let Target { stage, .. } = &self.target;
        stage.frees_lease();
        let next = stage.controller_at(stage.kubeconfig(), "second", &control, &[]);
        let is_deleting = |it: &Value| it["metadata"].get("deletionTimestamp").is_some();
        if let Some(left) = left.filter(|left| !is_deleting(left)) {
            let now = self.target.awaits(SOON, "it goes on or is over", |it| {
                let it = it.unwrap();
                let goes_on = state(it) == Some("Started") && next.metric("glooshot_controller_runs") > 0.0;
                // One half is deleted as soon as it goes on; the other half lives to its end.
                let enough = is_let_go(it) || (goes_on && (side == Side::Before || self.end == End::Deletion));
                enough.then(|| it.clone())
            });
            // It has its remaining time, and not all of it again.
            let started = |it: &Value| it.pointer("/status/result/timeStarted").cloned();
            assert!(started(&left).is_none_or(|before| started(&now) == Some(before)), "{left:#}\n{now:#}");
            self.target.deletes();
        }
        self.target.awaits(SOON, "it is gone", |it| it.is_none().then_some(()));
    }

    /// Everything is as it was, down to who owns which field.
    #[track_caller]
    fn is_undone(&self) {
        let (before, after) = (json!(self.start), json!(self.target.world()));
        assert_eq!(after, before, "{after:#}\nis not\n{before:#}");
    }
}

/// Every write of a whole life that may be the last.
fn writes(end: End) -> Vec<String> {
    let life = Life::new(&format!("writes-{end:?}").to_lowercase(), end);
    let _controller = life.controller();
    let before = life.live();
    life.is_undone();
    let skipped = if end == End::Deletion { before } else { 0 };
    life.gateway.writes().split_off(skipped)
}

/// What a death was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    /// The write never came.
    Missed,
    /// The dead one had changed nothing yet, or had put everything back.
    Harmless,
    /// There was something left to put back.
    Undone,
}

/// What became of a controller that was to die there.
fn dies(number: usize, death: &Death) -> Trial {
    let life = Life::new(&format!("crash-{number}"), death.end);
    let controller = life.controller();
    life.gateway.kills(controller.id(), &death.write, death.side);
    life.live();
    drop(controller);
    let trial = match (life.gateway.has_killed(), life.target.world() == life.start) {
        (false, _) => Trial::Missed,
        (true, true) => Trial::Harmless,
        (true, false) => Trial::Undone,
    };
    if trial != Trial::Missed {
        life.goes_on(death.side);
    }
    life.is_undone();
    trial
}

/// A few of these at equal distances, or all.
fn spread(writes: &[String], count: usize) -> Vec<String> {
    let (all, count) = (writes.len(), count.min(writes.len()));
    (0..count).map(|index| writes[(2 * index + 1) * all / (2 * count)].clone()).collect()
}

#[test]
fn a_controller_killed_at_any_write_leaves_nothing_that_the_next_one_does_not_put_back() {
    let ends = [End::Time, End::Deletion];
    let lives = thread::scope(|scope| ends.map(|end| scope.spawn(move || writes(end))).map(|it| it.join().unwrap()));
    let count = usize::try_from(CRASHES.get()).unwrap();
    let mut deaths = VecDeque::new();
    for (end, writes) in ends.into_iter().zip(lives) {
        eprintln!("{end:?}: {} writes: {writes:#?}", writes.len());
        for write in spread(&writes, count) {
            for side in [Side::Before, Side::After] {
                deaths.push_back((deaths.len(), Death { end, write: write.clone(), side }));
            }
        }
    }
    let (deaths, trials) = (Mutex::new(deaths), Mutex::new(Vec::new()));
    let next = || deaths.lock().unwrap().pop_front();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((number, death)) = next() {
                    eprintln!("{number}: {death:?}");
                    let trial = dies(number, &death);
                    trials.lock().unwrap().push((trial, death));
                }
            });
        }
    });
    let trials = trials.into_inner().unwrap();
    let missed: Vec<&Death> =
        trials.iter().filter(|(trial, _)| *trial == Trial::Missed).map(|(_, death)| death).collect();
    // How often a status is written depends on the time that everything takes.
    assert!(missed.iter().all(|death| death.write.contains("/status#")), "{missed:#?}");
    assert!(missed.len() * 4 <= trials.len(), "{missed:#?}");
    let undone = trials.iter().filter(|(trial, _)| *trial == Trial::Undone).count();
    assert!(undone * 2 >= trials.len(), "most deaths leave something: {trials:#?}");
}
