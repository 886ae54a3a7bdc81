//! What the command says of itself.

use super::program::glooshot;

#[test]
fn help_names_the_commands_and_the_shortest_way_to_try_it() {
    for arguments in [&["--help"][..], &["help"], &["-h"]] {
        let ended = glooshot(arguments.iter().copied());
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
        for word in ["Usage: glooshot <COMMAND>", "run ", "proxy ", "bookinfo ", "glooshot demo"] {
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
    let names = commands.lines().filter_map(|line| line.split_whitespace().next()).collect::<Vec<_>>();
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
