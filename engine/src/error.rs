//! What can go wrong in an engine, as told to whoever starts or supervises it.
//!
//! Errors that a request causes are not here: those are answered over HTTP in the OpenAI shape by the worker's server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an engine could not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model path names nothing, or nothing that can be read.
    #[error("cannot read the model {}: {source}; `tollgate models list` shows what is at hand", path.display())]
    ModelUnreadable {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not begin with the GGUF magic.
    #[error("{} is not a GGUF file: it begins with {found:?}, not \"GGUF\"", path.display())]
    NotGguf {
        /// The path asked for.
        path: PathBuf,
        /// The first bytes found, printable.
        found: String,
    },
    /// llama.cpp refused the file: cut short, damaged, or of an architecture it does not know.
    #[error("llama.cpp cannot load {}: {reason}", path.display())]
    ModelRefused {
        /// The path asked for.
        path: PathBuf,
        /// llama.cpp's own last words about it.
        reason: String,
    },
    /// A file is no LoRA adapter, or not one of this model.
    #[error(
        "the adapter {name} ({}) cannot be used: {reason}; it must be a LoRA adapter of this very model, as a GGUF file or as the folder \
         that PEFT saved it in", path.display()
    )]
    AdapterRefused {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The model loaded but no context could be made from it: most often too little memory.
    #[error(
        "no context of {tokens} tokens could be made: {reason}; try fewer --parallel or a smaller --context"
    )]
    ContextRefused {
        /// KV cells asked for in all.
        tokens: u32,
        /// llama.cpp's own last words about it.
        reason: String,
    },
    /// The weights and the KV memory are more than the machine has.
    #[error(
        "it needs about {needed_mb} MB of memory, and this machine has {there_mb} MB; a smaller quantization, --context or \
         --parallel needs less"
    )]
    TooBig {
        /// Megabytes needed.
        needed_mb: u64,
        /// Megabytes there are.
        there_mb: u64,
    },
    /// An option has a value that cannot work.
    #[error("{option} = {value} cannot work: {reason}")]
    Option {
        /// The option's name as written on the command line.
        option: &'static str,
        /// The value given.
        value: String,
        /// What would work.
        reason: &'static str,
    },
    /// The model's own chat template does not parse.
    #[error("the model's chat template is not usable: {0}")]
    Template(String),
    /// The listening address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The worker's scheduler thread died: the process should end and be restarted.
    #[error("the scheduler stopped: {0}")]
    SchedulerStopped(String),
    /// It was told to stop before it was ready.
    #[error("the engine was told to stop")]
    Interrupted,
    /// A thread or a socket could not be set up.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The engine did not become ready in the time given.
    #[error("engine {name} was not ready after {}: {reason}", Seconds(*waited))]
    NotReady {
        /// The engine's name.
        name: String,
        /// How long was waited.
        waited: Duration,
        /// The state it was in.
        reason: String,
    },
}

/// Shows a duration as seconds with one decimal.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}
