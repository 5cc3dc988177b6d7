//! Fetches models without the gateway: `cargo run -p tollgate-engine --no-default-features --example models -- NAME…`.
//!
//! Without names it lists what is known.

use std::io::Write;

use tollgate_engine::models::{self, progress};

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
        let path = models::pull(&name, progress::stderr().as_ref())?;
        writeln!(out, "{name}: {}", path.display())?;
    }
    Ok(())
}
