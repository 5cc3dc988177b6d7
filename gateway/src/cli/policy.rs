//! `tollgate policy`: checks policy files, prints the schema that editors complete by, replays traffic.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use tollgate::config::Config;
use tollgate_policies::{Diagnostics, Known, check, json_schema};

use super::output;
use super::replay::{DiffArgs, ReplayArgs};
use super::{CliError, Place};

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Check policy files: every problem with file, line and column; exit 1 if there is any.
    Check(Check),
    /// Print the JSON Schema of policy files.
    Schema,
    /// Replay the ledger's traffic through a policy: what the bill, the quality and the refusals would have been.
    Replay(ReplayArgs),
    /// Compare two policies on the ledger's traffic.
    Diff(DiffArgs),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Policy files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// With --config, model names and regions are checked against that configuration too.
    #[command(flatten)]
    place: Place,
}

/// What was found in a file.
#[derive(Serialize)]
struct Found {
    file: String,
    ok: bool,
    name: Option<String>,
    sha: Option<String>,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    line: usize,
    column: usize,
    message: String,
    help: Option<String>,
}

impl Policy {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Policy::Check(command) => command.run(),
            Policy::Schema => {
                output::line(&json_schema())?;
                Ok(ExitCode::SUCCESS)
            }
            Policy::Replay(command) => command.run(),
            Policy::Diff(command) => command.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<ExitCode, CliError> {
        // Without a configuration the catalogue is not known, and names cannot be judged.
        let catalogue = match &self.place.config {
            Some(_) => Some(Config::load(&self.place.clone().overrides())?.models),
            None => None,
        };
        let models = catalogue.iter().flatten();
        let names: Vec<&str> = models.clone().map(|model| model.name.as_str()).collect();
        let regions: Vec<&str> = models.flat_map(|model| &model.regions).map(String::as_str).collect();
        let known = Known { models: &names, regions: &regions };
        let mut all = Vec::new();
        for path in &self.files {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|source| CliError::Io { what: unreadable(path), source })?;
            let checked = check(&file, &text, catalogue.is_some().then_some(&known));
            if !self.json {
                match &checked {
                    Ok(policy) => output::line(&format!("{file}: ok, policy {:?}", policy.name))?,
                    Err(problems) => output::line(&format!("{problems}\n"))?,
                }
            }
            all.push(found(file, checked));
        }
        if self.json {
            output::json(&all)?;
        }
        Ok(if all.iter().all(|found| found.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn unreadable(path: &Path) -> String {
    let place = path.display();
    if path.is_dir() {
        return format!("{place} is a folder, name its files: tollgate policy check {place}/*.toml");
    }
    format!("{place} cannot be read")
}

fn found(file: String, checked: Result<tollgate_policies::Policy, Diagnostics>) -> Found {
    match checked {
        Ok(policy) => {
            Found { file, ok: true, name: Some(policy.name), sha: Some(policy.sha), problems: Vec::new() }
        }
        Err(Diagnostics(problems)) => {
            let problems = problems.into_iter().map(|found| Problem {
                line: found.line,
                column: found.column,
                message: found.message,
                help: found.help,
            });
            Found { file, ok: false, name: None, sha: None, problems: problems.collect() }
        }
    }
}
