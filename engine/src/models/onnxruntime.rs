//! The ONNX Runtime library that the classifier runs on: found, or fetched from its wheel.

use std::path::PathBuf;

use super::cache::Cache;
use super::registry;
use super::wheels::{self, Wheel};
use super::{ModelError, Progress};

const NAME: &str = "onnxruntime";
const VARIABLE: &str = "TOLLGATE_ONNXRUNTIME";

/// The library: `TOLLGATE_ONNXRUNTIME` if it is set, else the one in the cache.
///
/// # Errors
/// The file is not there; the message says how to get it.
pub fn onnxruntime() -> Result<PathBuf, ModelError> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(ModelError::NoSuchFile { path }) };
    }
    registry::resolve(NAME)
}

/// Fetches the library into the cache unless it is there and right.
///
/// # Errors
/// There is no build for this machine, or the transfer failed.
pub fn pull_onnxruntime(progress: &dyn Progress) -> Result<PathBuf, ModelError> {
    super::pull_into(&Cache::standard(), NAME, progress)
}

/// The pinned wheel for this operating system and processor.
pub(crate) fn wheels_of_this_machine() -> Result<&'static [Wheel], ModelError> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok(wheels::ONNXRUNTIME_X86_64),
        ("linux", "aarch64") => Ok(wheels::ONNXRUNTIME_AARCH64),
        (os, arch) => Err(ModelError::Platform {
            what: "ONNX Runtime 1.31.1",
            platform: format!("{os} on {arch}"),
            variable: VARIABLE,
        }),
    }
}
