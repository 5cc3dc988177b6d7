//! Local inference engines: llama.cpp workers, their supervisor and their model files.
//!
//! An engine is a child process (`tollgate engine`) that speaks the OpenAI HTTP dialect over a Unix socket, so a
//! crash in C++ code costs one worker and never the gateway. [`supervisor`] starts and restarts that process,
//! `worker` is what runs inside it, [`models`] finds and makes the weights. Only this crate knows llama.cpp; without
//! the `llama` feature the supervisor and the model files remain.

pub mod adapters;
pub mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod loading;
pub mod models;
pub mod request_body;
pub mod slot_save;
pub mod stats;
pub mod supervisor;
#[cfg(feature = "llama")]
pub mod tune;
#[cfg(feature = "llama")]
pub mod worker;

#[cfg(feature = "llama")]
mod grammar;
#[cfg(feature = "llama")]
mod llama;
#[cfg(feature = "llama")]
mod logprobs;
#[cfg(feature = "llama")]
mod peft;
#[cfg(feature = "llama")]
mod sample;
#[cfg(feature = "llama")]
mod scheduler;
#[cfg(feature = "llama")]
mod server;
#[cfg(feature = "llama")]
mod template;
#[cfg(feature = "llama")]
mod text;
#[cfg(feature = "llama")]
mod tools;

pub use error::EngineError;
pub use stats::Stats;
