//! What is to be measured: names of cases, and options.

use crate::{
    case::{CASES, Case},
    subject::Subject,
};

/// What was asked for.
#[derive(Debug)]
pub struct Arguments {
    pub cases: Vec<&'static Case>,
    /// As many as the case asks for unless a number is given.
    rounds: Option<usize>,
    /// All of a case unless some are named.
    pub only: Option<Vec<Subject>>,
}

pub const HELP: &str = "\
peers: our proxy beside others, in turn, pinned to a core. Arguments: the names of cases; all without one.
  --rounds N          rounds of each case, one measurement of each subject in each of them
                      [10, and more where the bar of a case needs them]
  --only A,B          only these subjects: direct, ours, haproxy, nginx, envoy, toxiproxy, rules1, rules100, rules1000,
                      onlyrules1000, haproxy1000, relay, relay1000, least, tokio
  GLOOSHOT_WRITE=1    write benches/results/peers.json, and the README's tables from it; cases that are not measured keep
                      their figures there";

impl Arguments {
    /// From the command line without the program's name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self { cases: Vec::new(), rounds: None, only: None };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                // What cargo says to every bench.
                "--bench" => {}
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                    parsed.rounds = Some(rounds.ok_or("--rounds needs a number above 0")?);
                }
                "--only" => parsed.only = Some(value()?.split(',').map(str::parse).collect::<Result<_, _>>()?),
                name => {
                    let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
                    let case = Case::find(name);
                    parsed.cases.push(case.ok_or_else(|| format!("{name:?} is none of {}", known.join(", ")))?);
                }
            }
        }
        if parsed.cases.is_empty() {
            parsed.cases = CASES.iter().collect();
        }
        Ok(parsed)
    }

    /// How many rounds of a case.
    pub fn rounds(&self, case: &Case) -> usize {
        self.rounds.unwrap_or(case.rounds)
    }

    /// The subjects of a case that were asked for.
    pub fn subjects(&self, case: &Case) -> Vec<Subject> {
        let wanted = |subject: &Subject| self.only.as_ref().is_none_or(|only| only.contains(subject));
        case.subjects.iter().copied().filter(wanted).collect()
    }
}
