//! `tollgate keep`: stands between the gateway and a server that it started by command; not for people.

use std::process::ExitCode;

use clap::Args;
use tollgate_engine::supervisor::keeper;

use super::CliError;

#[derive(Debug, Args)]
pub(crate) struct Keep {
    /// The keeper that the command ends with (set by the keeper itself).
    #[arg(long, hide = true)]
    parent: Option<u32>,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Keep {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let code = match self.parent {
            Some(parent) => keeper::become_command(parent, &self.command),
            None => keeper::keep(&self.command),
        };
        let told = |source| CliError::Io { what: self.command.join(" "), source };
        code.map(ExitCode::from).map_err(told)
    }
}
