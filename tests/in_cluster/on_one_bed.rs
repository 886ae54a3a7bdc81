//! The scenes that share one cluster, one after the other: to start one and to install Glooshot takes longer than most of them.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use super::{deaths, flips, stage::Stage, stops, without_controllers};

/// What happens, in a sentence, and how.
type Scene = (&'static str, fn(&Stage));

const SCENES: [Scene; 10] = [
    ("one proxy of two is killed", deaths::one_proxy),
    ("all proxies of a Service are killed", deaths::all_proxies),
    ("the leading controller is killed", deaths::the_leader),
    ("everything of ours is killed at once", deaths::everything),
    ("the API server stands still", deaths::the_api_server),
    ("a Service is redirected and put back under load", flips::under_load),
    ("a Service is applied again while it is redirected", flips::applied_again),
    ("conditions stop faults", stops::by_conditions),
    ("people stop experiments", stops::by_people),
    ("there is no controller any more", without_controllers::rescue),
];

/// `GLOOSHOT_SCENE=word` plays only those with the word in their sentence.
#[test]
fn users_of_a_redirected_service_get_what_they_should_whatever_happens() {
    let wanted = env::var("GLOOSHOT_SCENE").unwrap_or_default();
    let scenes: Vec<Scene> = SCENES.into_iter().filter(|(sentence, _)| sentence.contains(&wanted)).collect();
    let stage = Stage::set();
    let mut failed = Vec::new();
    for (sentence, play) in scenes {
        let began = Instant::now();
        let played = catch_unwind(AssertUnwindSafe(|| play(&stage)));
        eprintln!("{sentence}: {:.0?}{}", began.elapsed(), if played.is_ok() { "" } else { ", FAILED" });
        if played.is_err() {
            eprintln!("{}", stage.bed.state());
            failed.push(sentence);
        }
    }
    assert!(failed.is_empty(), "these failed, as said above: {failed:#?}");
}
