//! Where reports go, and in which form.

use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Args;
use glooshot_loadgen::assertion::Verdict;
use glooshot_loadgen::report::{Form, render};
use glooshot_loadgen::{Assertion, Summary};

use crate::args::assertion;

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Form of the report: text, json, csv (a row for each second) or html (with plots); on standard output, or
    /// in a file. May be given several times: -o json=result.json -o html=report.html
    #[arg(short = 'o', long = "output", value_name = "FORM[=FILE]")]
    outputs: Vec<OutputArg>,

    /// File for the report whose --output names none
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,

    /// What the result must be like, such as 'p99<50ms,errors<1%'; see --help for all names
    #[arg(long = "assert", value_name = "ASSERTIONS", value_delimiter = ',', value_parser = assertion)]
    assertions: Vec<Assertion>,
}

/// One report.
#[derive(Clone, Debug)]
struct OutputArg {
    form: Form,
    file: Option<PathBuf>,
}

impl FromStr for OutputArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (form, file) = match text.split_once('=') {
            Some((form, file)) => (form, Some(PathBuf::from(file))),
            None => (text, None),
        };
        let form = match form {
            "text" => Form::Text,
            "json" => Form::Json,
            "csv" => Form::Csv,
            "html" => Form::Html,
            _ => bail!("there are text, json, csv and html; write it like json or html=report.html"),
        };
        Ok(Self { form, file })
    }
}

impl OutputArgs {
    /// Checks before the run what would be known only after it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let unnamed = self.outputs.iter().filter(|output| output.file.is_none()).count();
        if unnamed > 1 {
            bail!(
                "only one report can go to standard output or --output-file; give the others files: -o json=result.json"
            );
        }
        Ok(())
    }

    /// What becomes of the assertions.
    pub(crate) fn judge(&self, summary: &Summary) -> Vec<Verdict> {
        self.assertions.iter().map(|assertion| assertion.judge(summary)).collect()
    }

    /// Writes all reports. If none of them goes to standard output, the text does.
    pub(crate) fn write(&self, summary: &Summary, verdicts: &[Verdict]) -> anyhow::Result<()> {
        let mut printed = false;
        let unnamed = OutputArg { form: Form::Text, file: self.output_file.clone() };
        let missing = self.output_file.is_some() && self.outputs.iter().all(|output| output.file.is_some());
        for output in self.outputs.iter().chain(missing.then_some(&unnamed)) {
            let report = render(output.form, summary, verdicts)?;
            match output.file.as_ref().or(self.output_file.as_ref()) {
                Some(file) => {
                    std::fs::write(file, report).with_context(|| format!("cannot write {}", file.display()))?;
                }
                None => {
                    print(&report);
                    printed = true;
                }
            }
        }
        if !printed {
            print(&render(Form::Text, summary, verdicts)?);
        }
        Ok(())
    }
}

fn print(report: &str) {
    // A reader that has gone away is not a failure of the run.
    let _ = std::io::stdout().write_all(report.as_bytes());
}
