//! Fetches and makes models without the gateway: `cargo run -p tollgate-engine --no-default-features --example models -- NAME…`.
//!
//! Without names it lists what is known.

use std::io::Write;
use std::path::PathBuf;

use tollgate_engine::models::{self, ModelError, progress};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        for model in models::known() {
            let here = if model.present() { "here" } else { "absent" };
            writeln!(out, "{:18} {here:7} {:>13}  {}", model.name, model.bytes, model.what)?;
        }
    }
    for name in names {
        let path = obtain(&name)?;
        writeln!(out, "{name}: {}", path.display())?;
    }
    Ok(())
}

/// Fetches `name`, or makes it if it is one that is made.
fn obtain(name: &str) -> Result<PathBuf, ModelError> {
    let progress = progress::stderr();
    #[cfg(feature = "llama")]
    if models::known().iter().any(|model| model.name == name && model.made_from().is_some()) {
        return models::make_moe(name, &models::MoeOptions::default(), progress.as_ref());
    }
    models::pull(name, progress.as_ref())
}
