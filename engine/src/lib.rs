//! Local inference engines: llama.cpp workers, their supervisor and their model files.
//!
//! An engine is a child process (`tollgate engine`) that speaks the OpenAI HTTP dialect over a Unix socket, so a
//! crash in C++ code costs one worker and never the gateway. [`supervisor`] starts and restarts that process,
//! `worker` is what runs inside it, [`models`] finds and makes the weights. Only this crate knows llama.cpp; without
//! the `llama` feature the supervisor and the model files remain.

pub mod error;
#[cfg(feature = "llama")]
mod llama;
pub mod models;
pub mod stats;
pub mod supervisor;

pub use error::EngineError;
pub use stats::Stats;
