//! Everything that is tested in a real cluster, in one: to start it and to install Glooshot takes longer than most scenes.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use super::{
    bed::Bed,
    changes, deaths, flips, isolated, nodes, owners,
    stage::{self, Stage},
    stops, tls,
    tutorial::Tutorial,
    without_controllers,
};

/// What happens, in a sentence, and how.
type Scene = (&'static str, fn(&Stage<'_>));

const TUTORIAL: &str = "the tutorial is played";

/// These leave everybody else in peace, and are played beside the tutorial: one row beside the other.
const QUIET: [&[Scene]; 2] = [
    &[
        ("one proxy of two is killed", deaths::one_proxy),
        ("all proxies of a Service are killed", deaths::all_proxies),
        ("a Service is redirected and put back under load", flips::under_load),
        ("the namespace is deleted", changes::the_namespace_is_deleted),
        ("TLS ends at the proxies of a Service", tls::ends_at_the_proxies),
    ],
    &[
        ("a Service is applied again while it is redirected", owners::applied_again),
        ("the target is deleted", changes::the_target_is_deleted),
        ("a Service stays routed behind the end", flips::kept_routed),
        ("a Service that policies isolate is redirected", isolated::with_mirror),
    ],
];

/// These meet every run in the cluster, or measure what needs the machine: one after the other.
const LOUD: &[Scene] = &[
    ("conditions stop faults", stops::by_conditions),
    ("the leading controller is killed", deaths::the_leader),
    ("everything of ours is killed at once", deaths::everything),
    ("the API server stands still", deaths::the_api_server),
    ("a node is cut off", nodes::is_cut_off),
    ("a node's kube-proxy stands still", nodes::kube_proxy_stands_still),
    ("everything is rolled", changes::everything_is_rolled),
    ("callers from before are made to connect anew", flips::restarted_targets),
    ("people stop experiments", stops::by_people),
    ("there is no controller any more", without_controllers::rescue),
];

/// `GLOOSHOT_SCENE=word,word` plays only those with one of the words in their sentence.
#[test]
fn users_of_a_real_cluster_get_what_they_should_whatever_happens() {
    let wanted = env::var("GLOOSHOT_SCENE").unwrap_or_default();
    let bed = Bed::start();
    let playbill = Playbill { bed: &bed, wanted: &wanted, failed: Mutex::default() };
    let mut tutorial = is_wanted(TUTORIAL, &wanted).then(|| Tutorial::open(&bed));
    match &mut tutorial {
        // How fast its first experiment stops is measured, so nothing goes on beside that.
        Some(tutorial) => tutorial.play_until("With a Prometheus query"),
        None => stage::install(&bed),
    }
    let stage = Stage::set(&bed, "shop");
    thread::scope(|scope| {
        for row in QUIET {
            scope.spawn(|| playbill.play_all(&stage, row));
        }
        if let Some(tutorial) = &mut tutorial {
            playbill.play(TUTORIAL, || tutorial.play_until("When something goes wrong"));
        }
    });
    playbill.play_all(&stage, LOUD);
    if let Some(mut tutorial) = tutorial {
        playbill.play("the tutorial is played to its end", || tutorial.play_to_the_end());
    }
    let failed = playbill.failed.into_inner().unwrap();
    assert!(failed.is_empty(), "these failed, as said above: {failed:#?}");
}

fn is_wanted(sentence: &str, words: &str) -> bool {
    words.split(',').any(|word| sentence.contains(word))
}

/// What is played, and what of it has failed.
struct Playbill<'a> {
    bed: &'a Bed,
    wanted: &'a str,
    failed: Mutex<Vec<&'static str>>,
}

impl Playbill<'_> {
    fn play_all(&self, stage: &Stage<'_>, scenes: &[Scene]) {
        for (sentence, play) in scenes.iter().filter(|(sentence, _)| is_wanted(sentence, self.wanted)) {
            self.play(sentence, || play(stage));
        }
    }

    /// One that fails leaves the others their turn.
    fn play(&self, sentence: &'static str, scene: impl FnOnce()) {
        let began = Instant::now();
        let played = catch_unwind(AssertUnwindSafe(scene));
        eprintln!("{sentence}: {:.0?}{}", began.elapsed(), if played.is_ok() { "" } else { ", FAILED" });
        if played.is_err() {
            eprintln!("{}", self.bed.state());
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(sentence);
        }
    }
}
