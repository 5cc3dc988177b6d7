//! `tollgate render-template`: the process in which an engine has its chat template rendered; not for people.

use std::process::ExitCode;

use clap::Args;

use super::CliError;

#[derive(Debug, Args)]
pub(crate) struct RenderTemplate {}

impl RenderTemplate {
    #[cfg(not(feature = "embedded"))]
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        Err(CliError::NotBuilt { what: "local engines" })
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let told = |source| CliError::Io { what: "a chat template".to_owned(), source };
        tollgate_engine::worker::render_template().map(|()| ExitCode::SUCCESS).map_err(told)
    }
}
