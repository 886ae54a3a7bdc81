//! What the command says of itself.

use std::{fs, path::Path};

use super::{
    program::glooshot,
    refusal::{file, good},
};

#[test]
fn help_names_the_commands_and_the_shortest_way_to_try_it() {
    for arguments in [&["--help"][..], &["help"], &["-h"]] {
        let ended = glooshot(arguments.iter().copied());
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
        for word in [
            "Usage: glooshot <COMMAND>",
            "run ",
            "proxy ",
            "bookinfo ",
            "validate ",
            "register ",
            "crds ",
            "glooshot demo",
        ] {
            assert!(ended.output.contains(word), "{word:?} is not in: {}", ended.output);
        }
    }
}

#[test]
fn without_a_command_the_help_is_shown_as_an_error() {
    let ended = glooshot([]);
    assert_eq!((ended.code, ended.output.as_str()), (Some(2), ""));
    assert!(ended.errors.contains("Usage: glooshot <COMMAND>"), "{}", ended.errors);
}

#[test]
fn every_command_that_is_listed_has_help_of_its_own() {
    let listed = glooshot(["--help"]).output;
    let commands = listed.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    // Further lines of a description stand deeper.
    let lines = commands.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let names = lines.filter_map(|line| line.split_whitespace().next()).collect::<Vec<_>>();
    assert!(names.len() > 3, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let ended = glooshot([name, "--help"]);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.errors);
        assert!(ended.output.contains(&format!("Usage: glooshot {name}")), "{name}: {}", ended.output);
    }
}

#[test]
fn the_help_of_run_shows_a_whole_command_and_all_exit_codes() {
    let help = glooshot(["run", "--help"]).output;
    for word in [
        "glooshot run -f experiment.yaml",
        "--route 'bookinfo/ratings:9080=127.0.0.1:19080->127.0.0.1:9080'",
        "0 Succeeded",
        "1 Failed",
        "3 Inconclusive",
        "130",
    ] {
        assert!(help.contains(word), "{word:?} is not in: {help}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let ended = glooshot(["--version"]);
    assert_eq!((ended.code, ended.output.trim()), (Some(0), concat!("glooshot ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_example_of_the_repository_is_valid() {
    let mut files = 0;
    for folder in ["manifests/examples", "manifests/examples/tutorial"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let ended = glooshot(["validate", "-f", path.to_str().unwrap()]);
                assert_eq!(ended.code, Some(0), "{}: {}{}", path.display(), ended.output, ended.errors);
                files += 1;
            }
        }
    }
    assert!(files >= 10, "{files} examples");
}

#[test]
fn validate_and_run_refuse_the_same_field() {
    for (old, new, path) in [
        ("percentage: 50", "percentage: 101", "spec.spec.faults[0].fault.percentage"),
        ("httpStatus", "httpStaus", "spec.spec.faults[0].fault.abort.httpStaus"),
        ("600s", "600", "spec.spec.duration"),
    ] {
        let file = file(&good().yaml().replace(old, new));
        let path_of_file = file.path().to_str().unwrap();
        let validate = glooshot(["validate", "-f", path_of_file]);
        let run = glooshot(["run", "-f", path_of_file, "--route", "bookinfo/ratings:9080=127.0.0.1:0->127.0.0.1:9"]);
        assert_eq!((validate.code, run.code), (Some(2), Some(2)), "{new}");
        assert!(validate.output.contains(path) && run.errors.contains(path), "{}{}", validate.output, run.errors);
    }
}
