//! What is checked of every refusal: exit code 2, the words that help, nothing opened, nothing left behind.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpStream},
};

use tempfile::NamedTempFile;

use super::{
    program::{Ended, free_address, glooshot},
    trial::Trial,
};

/// A file with `text`.
pub fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".yaml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A trial that could be run.
pub fn good() -> Trial {
    Trial::endless().abort("50")
}

/// Nothing is said twice in one message.
#[track_caller]
pub fn says_once(errors: &str, words: &str) {
    assert_eq!(errors.matches(words).count(), 1, "{words:?} in: {errors}");
}

/// `glooshot run` of `yaml` is refused with all of `words`, before it listens anywhere.
#[track_caller]
pub fn is_refused(what: &str, yaml: &str, words: &[&str]) {
    is_refused_with(what, yaml, &[], words);
}

/// The same with further arguments.
#[track_caller]
pub fn is_refused_with(what: &str, yaml: &str, more: &[&str], words: &[&str]) {
    let file = file(yaml);
    let path = file.path().to_str().unwrap();
    let listen = free_address(Ipv4Addr::LOCALHOST.into());
    let route = format!("bookinfo/ratings:9080={listen}->127.0.0.1:9");
    let arguments = ["run", "-f", path, "--route", &route].into_iter().chain(more.iter().copied());
    explains(what, &glooshot(arguments), words);
    assert!(TcpStream::connect(listen).is_err(), "{what}: something listens on {listen} afterwards");
}

/// `ended` is a refusal with all of `words`.
#[track_caller]
pub fn explains(what: &str, ended: &Ended, words: &[&str]) {
    let Ended { code, output, errors } = ended;
    assert_eq!(*code, Some(2), "{what}: {output}{errors}");
    for word in words {
        assert!(errors.contains(word), "{what}: {word:?} is not said in: {errors}");
    }
    assert!(output.is_empty(), "{what}: a result is printed: {output}");
    for never in ["panicked", "RUST_BACKTRACE", "listening", "faults on"] {
        assert!(!errors.contains(never), "{what}: {never:?} in: {errors}");
    }
    let longest = errors.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(longest < 2_000, "{what}: a line of {longest} characters helps nobody");
}
