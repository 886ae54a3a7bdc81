//! Which build of a program a bench looks at.

use std::{env, path::Path};

/// The directory that `make release` has filled; without it benches look at what cargo alone builds.
const RELEASED: &str = "GLOOSHOT_RELEASED";

/// Whether benches look at what is released.
pub fn is_released() -> bool {
    env::var_os(RELEASED).is_some_and(|directory| !directory.is_empty())
}

/// What is released under the name of the program that cargo has `built`, or that itself.
pub fn released(built: &str) -> String {
    if !is_released() {
        return built.to_owned();
    }
    let directory = env::var(RELEASED).unwrap();
    let program = Path::new(&directory).join(Path::new(built).file_name().unwrap());
    assert!(
        program.is_file(),
        "there is no {}, which {RELEASED} asks for; `make release` builds it",
        program.display()
    );
    program.to_str().unwrap().to_owned()
}
