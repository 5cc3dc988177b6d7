//! The real parts that some tests need: small models, made or fetched into the cache by `make test`.

use std::path::PathBuf;

/// The dense model and the mixture of experts made from it.
pub const MODELS: [&str; 2] = ["smollm2-135m", "smollm2-135m-moe"];

/// Where fetched models and libraries lie.
pub fn cache() -> PathBuf {
    let given = std::env::var_os("TOLLGATE_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/tollgate"));
    given.or_else(home).expect("TOLLGATE_CACHE or HOME is set")
}
