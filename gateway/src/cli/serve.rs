//! `tollgate serve`: runs the gateway until it is told to stop.

use std::process::ExitCode;

use clap::Args;
use tollgate::config::{Config, Overrides};
use tollgate::serve;

use super::{CliError, ListenArgs, Place, PolicyArgs, output};

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    policies: PolicyArgs,
    #[command(flatten)]
    listen: ListenArgs,
    /// Say where it listens as a line of JSON.
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let overrides = Overrides {
            policies: self.policies.policies,
            listen: self.listen.listen,
            ..self.place.overrides()
        };
        let config = Config::load(&overrides)?;
        let json = self.json;
        serve::run(&config, |address| {
            let url = format!("http://{address}");
            let told = if json {
                output::json(&serde_json::json!({ "listening": url }))
            } else {
                output::line(&format!("tollgate listening on {url}"))
            };
            if let Err(error) = told {
                output::complain(&format!("error: {error}"));
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
