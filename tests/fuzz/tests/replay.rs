//! Every committed input, and every input of the product's own tests that fits, run through its target.

use glooshot_fuzz::{TARGETS, replay};

#[test]
fn what_must_hold_holds_for_every_committed_input() {
    for (target, run) in TARGETS {
        let corpus = replay::corpus(target).unwrap();
        assert!(corpus.len() >= 5, "{target} has {} inputs", corpus.len());
        for (path, bytes) in corpus {
            println!("{}", path.display());
            run(&bytes);
        }
    }
}
