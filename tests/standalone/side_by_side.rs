//! Cases of one test at the same time: most of what they do is waiting.

use std::{panic, thread};

/// Does `case` for each of `cases`, all at the same time; fails as the first one that fails.
pub fn for_each<T: Send>(cases: impl IntoIterator<Item = T>, case: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        let case = &case;
        let running = cases.into_iter().map(|one| scope.spawn(move || case(one))).collect::<Vec<_>>();
        for one in running {
            if let Err(failure) = one.join() {
                panic::resume_unwind(failure);
            }
        }
    });
}
