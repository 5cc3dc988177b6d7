//! The command line: what can be said, and which file does it. One file per command; each reads its arguments,
//! calls the library and prints through [`output`].

mod calibrate;
mod engine;
mod keep;
mod keys;
mod ledger;
mod models;
mod outcomes;
pub(crate) mod output;
mod page;
mod policy;
mod prices;
mod prune;
mod render;
mod replay;
mod route;
mod score;
mod serve;
mod time;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tollgate::config::{ConfigError, Overrides};
use tollgate::keys::KeyError;
use tollgate::labels::LabelsError;
use tollgate::ledger::{LedgerError, Location};
use tollgate::serve::ServeError;
use tollgate::telemetry::LogOptions;
use tollgate_engine::EngineError;
use tollgate_engine::models::ModelError;
use tollgate_router::RouterError;

/// Cost-aware model routing gateway.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// Log format and filter: text, json, a filter such as `debug` or `tollgate=debug,warn`, or both as `json:debug`.
    #[arg(long, env = "TOLLGATE_LOG", default_value = "info", global = true, value_name = "LOG")]
    pub(crate) log: LogOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway.
    Serve(serve::Serve),
    /// Score prompts: JSON lines in, JSON lines out.
    Score(score::Score),
    /// Fit the router to your own outcomes.
    Calibrate(calibrate::Calibrate),
    /// Explain one decision without calling a model.
    Route(route::Route),
    /// Check policy files, print their JSON Schema, replay recorded traffic through them.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Make, list and revoke virtual keys.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Report, verify and export what was spent.
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// Price lists, and what the configured models cost.
    #[command(subcommand)]
    Prices(prices::Prices),
    /// List, fetch, make and inspect model files.
    #[command(subcommand)]
    Models(models::Models),
    /// Run one local engine alone: an OpenAI-compatible server over llama.cpp.
    Engine(engine::Engine),
    /// Run a server for as long as standard input is open (used by the gateway for engines of kind "command").
    #[command(hide = true)]
    Keep(keep::Keep),
    /// Render a chat template: lines of JSON in and out (used by engines, so that a hostile template cannot harm them).
    #[command(hide = true)]
    RenderTemplate(render::RenderTemplate),
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Command::Serve(command) => command.run(),
            Command::Score(command) => command.run(),
            Command::Calibrate(command) => command.run(),
            Command::Route(command) => command.run(),
            Command::Policy(command) => command.run(),
            Command::Keys(command) => command.run(),
            Command::Ledger(command) => command.run(),
            Command::Prices(command) => command.run(),
            Command::Models(command) => command.run(),
            Command::Engine(command) => command.run(),
            Command::Keep(command) => command.run(),
            Command::RenderTemplate(command) => command.run(),
        }
    }
}

/// Which files to work with; the same for every command that needs them.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Configuration; without it ./tollgate.toml if there is one, else the embedded default.
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the ledger, instead of the configured one.
    #[arg(long, env = "TOLLGATE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    fn overrides(self) -> Overrides {
        Overrides { config: self.config, data_dir: self.data_dir, ..Overrides::default() }
    }

    fn ledger(self) -> Result<Location, ConfigError> {
        tollgate::config::Config::ledger_of(&self.overrides())
    }
}

/// Which policies to use.
#[derive(Debug, Clone, Args)]
pub(crate) struct PolicyArgs {
    /// Policy file or folder, instead of the configured ones; may be given several times.
    #[arg(long = "policy", env = "TOLLGATE_POLICY", value_name = "PATH", value_delimiter = ',')]
    policies: Vec<PathBuf>,
}

/// Where to listen.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListenArgs {
    /// Address and port, instead of the configured one; port 0 picks a free one.
    #[arg(long, env = "TOLLGATE_LISTEN", value_name = "ADDR:PORT", value_parser = address)]
    listen: Option<SocketAddr>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "it must be an address and a port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for every interface"
            .to_owned()
    })
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Router(#[from] RouterError),
    #[error(transparent)]
    Labels(#[from] LabelsError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    /// JSON could not be written.
    #[error("the output cannot be encoded")]
    Json(#[from] serde_json::Error),
    /// A request that no decision can be made for.
    #[error("{0}")]
    Request(String),
    /// Built without the engines.
    #[cfg(not(feature = "embedded"))]
    #[error(
        "this tollgate was built without {what}\n    help: build it with the default features (`make build`)"
    )]
    NotBuilt { what: &'static str },
}
