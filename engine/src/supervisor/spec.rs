//! What to run, and how long to wait for it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::adapters::Adapter;
use crate::loading::Loading;

/// An engine to supervise.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSpec {
    /// The engine's name in the configuration; also names its socket.
    pub name: String,
    /// What is started.
    pub program: Program,
    /// Where sockets go; made with owner-only access when missing.
    pub socket_dir: PathBuf,
    /// When it is started for the first time.
    pub start: Start,
    /// Stopped after so long without a request; `None` = never.
    pub idle_unload: Option<Duration>,
    /// From its start until it must answer.
    pub ready_timeout: Duration,
    /// Memory it is taken to need, bytes; 0 = not known.
    pub memory_bytes: u64,
    /// What its files were when this was made: another value is another model under the same name.
    pub stamp: u64,
}

/// When an engine is started for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the gateway.
    #[default]
    Boot,
    /// With the first request for it.
    Demand,
}

/// What is started.
#[derive(Clone, Debug, PartialEq)]
pub enum Program {
    /// A llama.cpp worker: `tollgate engine` on a Unix socket.
    Embedded(Embedded),
    /// Any server of the OpenAI dialect, on a port that it is given.
    Command(CommandLine),
}

/// A llama.cpp worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// The program to start: the `tollgate` binary itself.
    pub exe: PathBuf,
    /// The GGUF file.
    pub model: PathBuf,
    /// Compute threads; `None` lets the worker choose.
    pub threads: Option<usize>,
    /// Tokens of context for each request.
    pub context: u32,
    /// Requests worked on at once.
    pub parallel: u32,
    /// LoRA adapters loaded with it; where there are any, the worker knows the bare model by the engine's name.
    pub adapters: Vec<Adapter>,
    /// How llama.cpp loads it.
    pub loading: Loading,
    /// Most megabytes of warm prefixes that are kept on disk while it does not run; `None` = none are.
    pub slot_save_mb: Option<u32>,
}

/// A command line with `{port}` where the port goes.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The `tollgate` binary, which keeps the command (`keeper`).
    pub exe: PathBuf,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Further environment variables; the values may be secrets.
    pub env: Vec<(String, String)>,
    /// The path that answers 2xx once it is ready.
    pub health: String,
}

impl fmt::Debug for CommandLine {
    /// Without the environment's values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("CommandLine")
            .field("command", &self.command)
            .field("env", &names)
            .finish_non_exhaustive()
    }
}

/// Where a running engine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A port.
    Tcp(SocketAddr),
}

impl EngineSpec {
    /// An address for the process of this number: a socket of its own, or a port that is free now.
    pub(super) fn address(&self, number: u64) -> std::io::Result<Address> {
        match &self.program {
            Program::Embedded(_) => Ok(Address::Unix(self.socket(number))),
            Program::Command(_) => {
                let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                free.local_addr().map(Address::Tcp)
            }
        }
    }

    /// The socket of the process of this number.
    #[must_use]
    pub fn socket(&self, number: u64) -> PathBuf {
        self.socket_dir.join(format!("{}-{number}.sock", super::child::socket_name(&self.name)))
    }

    /// Where a worker's warm prefixes are kept while it does not run.
    pub(super) fn slot_file(&self) -> PathBuf {
        self.socket_dir.join(format!("{}.slots", super::child::socket_name(&self.name)))
    }

    /// The path that says whether it is ready.
    pub(super) fn health(&self) -> &str {
        match &self.program {
            Program::Embedded(_) => "/health",
            Program::Command(command) => &command.health,
        }
    }

    /// A first guess at how long it takes to start, before it was measured.
    pub(super) fn guessed_load(&self) -> Duration {
        /// What a plain disk reads in a second, bytes.
        const DISK: f64 = 500e6;
        match self.program {
            Program::Embedded(_) => Duration::from_secs_f64(1.0 + self.memory_bytes as f64 / DISK),
            Program::Command(_) => Duration::from_secs_f64(10.0 + self.memory_bytes as f64 / DISK),
        }
    }
}
