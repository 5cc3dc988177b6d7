//! What can go wrong between a text and its score.
//!
//! Every variant is the operator's to fix (a missing library, a graph of the wrong shape); nothing a
//! caller sends can cause one.

use std::path::PathBuf;

/// Why the classifier could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// ONNX Runtime's shared library is not where it was looked for.
    #[error(
        "ONNX Runtime is not at {path}; run `tollgate models pull onnxruntime`, or set TOLLGATE_ONNXRUNTIME"
    )]
    LibraryMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The shared library is there but cannot be used.
    #[error("ONNX Runtime at {path} cannot be loaded: {reason}")]
    LibraryUnusable {
        /// The file that was tried.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The graph's file cannot be read.
    #[error("the router graph {path} cannot be read")]
    GraphUnreadable {
        /// The file that was tried.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The graph was read, but is not one of ours or was made for other features.
    #[error("the router graph {name} does not fit this build: {reason}; make it anew with `make train`")]
    GraphMismatch {
        /// The graph's file, or "built in".
        name: String,
        /// The first thing that does not fit.
        reason: String,
    },
    /// ONNX Runtime refused a call.
    #[error("ONNX Runtime failed")]
    Runtime(#[from] ort::Error),
}
