//! What `tollgate.toml` and the command line say, checked: only a configuration that can be run exists as a value.
//!
//! `read` turns the file into a [`Config`] or into every problem in it at once, each with file, line and column;
//! `embedded` is the configuration used where there is no file. Policies are read apart ([`policies`]), for they
//! are reloaded while the gateway runs; of this file only the settings of engines are, at SIGHUP.

mod adapters;
mod calibration;
mod command;
mod embedded;
mod engine;
mod model;
pub mod policies;
mod price;
mod read;
mod secret;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate_policies::Diagnostics;
use tollgate_router::CalibrationError;

pub use calibration::{calibrate, keeps_promises, recalibrate, router};
pub use command::{CommandEngine, EnvValue, Managed, SharedMemory};
pub use embedded::demo_models;
pub use engine::{EmbeddedEngine, Engine, EngineKind, OpenAiEngine};
pub use model::{ModelEntry, catalog};
pub use policies::{Policies, PolicyFiles};
pub use secret::{SecretRef, SecretValue};

use crate::content::ContentLog;
use crate::keys::Auth;
use crate::ledger::{LedgerError, Location};

/// A name looked for when no `--config` is given.
pub const DEFAULT_FILE: &str = "tollgate.toml";

/// Everything that is fixed while the gateway runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The HTTP side.
    pub server: Server,
    /// Where the ledger, what pacing knows and the engines' sockets are kept.
    pub data_dir: PathBuf,
    /// `[ledger] url`.
    pub ledger_url: String,
    /// Days after which receipts forget who asked; `None` = never.
    pub keep_days: Option<u64>,
    /// Whether prompts and answers are kept.
    pub content: ContentLog,
    /// The classifier.
    pub router: Router,
    /// Engines, in the order of the file.
    pub engines: Vec<Engine>,
    /// `[engines]`: what all engines with a process share.
    pub shared: SharedMemory,
    /// Models, in the order of the file.
    pub models: Vec<ModelEntry>,
    /// Policy files.
    pub policies: PolicyFiles,
    /// Where the webhook's address is that budget warnings are posted to.
    pub webhook: Option<SecretRef>,
    /// What it was loaded with, to load it again.
    pub overrides: Overrides,
}

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address and port of the HTTP side.
    pub listen: SocketAddr,
    /// When a key must be presented; `None` = by address.
    pub auth: Option<Auth>,
    /// Largest request body.
    pub max_body_bytes: usize,
    /// Requests served at once; more are told to come back.
    pub max_in_flight: usize,
    /// Output tokens reserved and asked for where a request names no maximum.
    pub default_max_tokens: u64,
    /// For a connection to an engine to be made.
    pub connect_timeout: Duration,
    /// From sending a request to the answer's headers.
    pub first_byte_timeout: Duration,
    /// Between two pieces of an answer.
    pub idle_timeout: Duration,
    /// For requests in flight to end after SIGTERM.
    pub drain_timeout: Duration,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            auth: None,
            max_body_bytes: 8 * 1024 * 1024,
            max_in_flight: 1024,
            default_max_tokens: 1024,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Server {
    /// The rule for keys: as configured, else "once keys exist" on loopback and "required" elsewhere.
    #[must_use]
    pub fn effective_auth(&self) -> Auth {
        let loopback = match self.listen.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        self.auth.unwrap_or(if loopback { Auth::OnceKeysExist } else { Auth::Required })
    }
}

/// `[router]`.
#[derive(Debug, Clone)]
pub struct Router {
    /// ONNX Runtime's shared library; `None` = the one in the cache.
    pub onnxruntime: Option<PathBuf>,
    /// Requests scored at the same time.
    pub sessions: usize,
    /// Tasks whose scores are remembered; 0 = none.
    pub remember: usize,
    /// What `tollgate calibrate` wrote, if the router is fitted to one's own outcomes; looked at while running.
    pub calibration: Option<PathBuf>,
}

impl Default for Router {
    fn default() -> Router {
        Router {
            onnxruntime: None,
            sessions: std::thread::available_parallelism().map_or(2, usize::from).min(8),
            remember: 4096,
            calibration: None,
        }
    }
}

/// What the command line (or a `TOLLGATE_*` variable) says; it wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--policy`, any number.
    pub policies: Vec<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}\n    help: {help}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        help: &'static str,
    },
    /// A file is wrong, with every problem in it.
    #[error(transparent)]
    Wrong(#[from] Diagnostics),
    /// The calibration is not one, or belongs to another graph.
    #[error(
        "the calibration {path} cannot be used: {reason}\n    help: fit it anew with `tollgate calibrate --labels FILE --out FILE`, or \
         leave it out to use the router as shipped"
    )]
    Calibration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: CalibrationError,
    },
    /// A policy promises what nothing bounds.
    #[error(
        "policy {policy:?}: [objective] max_loss = {most} cannot be kept: {reason}\n    help: `tollgate calibrate` tells which losses \
         your labels bound; label more prompts, or allow more"
    )]
    Promise {
        /// The policy.
        policy: String,
        /// What it allows.
        most: f64,
        /// Why it cannot be kept.
        reason: &'static str,
    },
    /// A secret is not where it should be.
    #[error("the secret {reference} cannot be read: {reason}")]
    Secret {
        /// `env:NAME` or `file:PATH`.
        reference: String,
        /// Why.
        reason: String,
    },
    /// The embedded default lacks its models.
    #[error(
        "there is no configuration, and the demo models are not in the cache\n    help: either fetch them with\n        \
         {commands}\n    or write a {DEFAULT_FILE} (tollgate.example.toml shows how) and name it with --config"
    )]
    NoModels {
        /// The commands that bring them, one a line.
        commands: String,
    },
    /// `[ledger] url` is of a kind that is not supported.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No directory to keep the ledger in.
    #[error("no data directory: neither --data-dir, [server] data_dir, XDG_DATA_HOME nor HOME is set")]
    NoDataDir,
    /// No policy where some were asked for.
    #[error(
        "{path} holds no policy file (*.toml)\n    help: `tollgate policy check` takes files; see docs/policies.md"
    )]
    NoPolicies {
        /// The directory.
        path: PathBuf,
    },
    /// Two policies of one name.
    #[error(
        "{second}: policy {name:?} is defined in {first} already\n    help: give each [policy] its own name"
    )]
    SameName {
        /// The name.
        name: String,
        /// Where first.
        first: String,
        /// Where again.
        second: String,
    },
    /// The default policy does not exist.
    #[error("[policies] default names {name:?}, but there is only {known}")]
    NoDefault {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
}

impl Config {
    /// The configuration of this start: from `--config`, else `./tollgate.toml`, else the embedded default.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(overrides: &Overrides) -> Result<Config, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let mut config = match &overrides.config {
            Some(path) => read::file(path)?,
            None if default.exists() => read::file(default)?,
            None => embedded::config()?,
        };
        if let Some(listen) = overrides.listen {
            config.server.listen = listen;
        }
        if let Some(data_dir) = &overrides.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        if !overrides.policies.is_empty() {
            config.policies.paths.clone_from(&overrides.policies);
        }
        config.ledger()?;
        config.overrides = overrides.clone();
        Ok(config)
    }

    /// Where the ledger is; a url may be kept as a secret is.
    ///
    /// # Errors
    /// [`ConfigError`] if the url is none, or not where it should be.
    pub fn ledger(&self) -> Result<Location, ConfigError> {
        let url = match SecretRef::parse(&self.ledger_url) {
            Some(reference) => reference.fetch(Path::new("."))?.reveal().to_owned(),
            None => self.ledger_url.clone(),
        };
        Ok(Location::of_url(&url, &self.data_dir)?)
    }

    /// Where the ledger of `overrides` is, for commands that need nothing else of the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] as [`Config::load`], save that absent models do not matter.
    pub fn ledger_of(overrides: &Overrides) -> Result<Location, ConfigError> {
        let named = overrides.config.is_some() || Path::new(DEFAULT_FILE).exists();
        if named {
            return Config::load(overrides)?.ledger();
        }
        let data_dir = overrides.data_dir.clone().map_or_else(default_data_dir, Ok)?;
        Ok(Location::of_url(embedded::LEDGER_URL, &data_dir)?)
    }
}

/// `$XDG_DATA_HOME/tollgate`, else `~/.local/share/tollgate`.
fn default_data_dir() -> Result<PathBuf, ConfigError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("tollgate"))
        .ok_or(ConfigError::NoDataDir)
}
