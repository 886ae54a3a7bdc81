//! What is kept in `benches/results/peers.json`: every figure of every round, by case.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::measured::CaseResult;

/// All cases that there are figures of.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub cases: BTreeMap<String, CaseResult>,
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/results/peers.json")
}

impl Results {
    /// What was kept before; nothing where there is no such file.
    pub fn read() -> Self {
        let Ok(text) = fs::read_to_string(file()) else { return Self::default() };
        serde_json::from_str(&text).unwrap()
    }

    /// Keeps them.
    pub fn write(&self) {
        let file = file();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, self.to_json()).unwrap();
    }

    /// JSON with one line for each measurement, so that one can read it and compare two of them.
    fn to_json(&self) -> String {
        let mut text = String::from("{\"cases\": {");
        let mut between = "\n";
        for (name, case) in &self.cases {
            let CaseResult { date, machine, versions, rate, rounds } = case;
            writeln!(text, "{between}  {}: {{", json(name)).unwrap();
            writeln!(text, "    \"date\": {},", json(date)).unwrap();
            writeln!(text, "    \"machine\": {},", json(machine)).unwrap();
            writeln!(text, "    \"versions\": {},", json(versions)).unwrap();
            writeln!(text, "    \"rate\": {},", json(rate)).unwrap();
            let subjects: Vec<String> = rounds
                .iter()
                .map(|(subject, rounds)| {
                    let lines: Vec<String> = rounds.iter().map(|round| format!("        {}", json(round))).collect();
                    format!("      {}: [\n{}\n      ]", json(subject), lines.join(",\n"))
                })
                .collect();
            write!(text, "    \"rounds\": {{\n{}\n    }}\n  }}", subjects.join(",\n")).unwrap();
            between = ",\n";
        }
        text.push_str("\n}}\n");
        text
    }
}

/// One value in one line.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
