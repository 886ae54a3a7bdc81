//! Every committed input, and every input of the product's own tests that fits, run through its target.

use glooshot_fuzz::{TARGETS, replay};

/// What is known of a target's inputs must still hold.
fn replay(target: &str) {
    let (_, run) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let committed = replay::committed(target).unwrap();
    assert!(committed.len() >= 20, "only {} inputs", committed.len());
    for (path, bytes) in committed.into_iter().chain(replay::borrowed(target).unwrap()) {
        println!("{}", path.display());
        run(&bytes);
    }
}

#[test]
fn no_head_reaches_an_upstream_unless_it_was_admitted() {
    replay("head");
}

#[test]
fn a_chunked_body_is_read_as_the_grammar_says_or_not_at_all() {
    replay("chunks");
}

#[test]
fn no_stream_becomes_more_than_the_request_that_was_admitted() {
    replay("h2");
}

#[test]
fn an_accepted_plan_is_written_and_read_as_the_same_plan() {
    replay("plan");
}

#[test]
fn a_manifest_is_printed_and_read_as_the_same_object_or_is_told_where_it_is_wrong() {
    replay("manifest");
}

#[test]
fn no_verdict_leaves_a_fault_on() {
    replay("verdict");
}
