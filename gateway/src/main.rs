//! The `tollgate` command: arguments, logs, one command, an exit code. 0 done, 1 failed, 2 wrong usage.

mod cli;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::{env, io};

use clap::Parser;
use tollgate::telemetry;

use cli::Cli;

/// A request makes a few hundred small allocations on one thread and frees some on another, which glibc's allocator is
/// slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// ONNX Runtime (1.29 and later) keeps a number of this machine and tells its maker of each process, before any call could
/// forbid it, unless the environment does. Whoever sets this decides; unset, nothing is told.
const ONNX_RUNTIME_IS_QUIET: &str = "ORT_DISABLE_TELEMETRY";

/// Becomes the same command with [`ONNX_RUNTIME_IS_QUIET`] set: changing one's own environment is not sound. Returns where
/// it is set already, or what went wrong.
fn quieten_onnx_runtime() -> io::Result<()> {
    if env::var_os(ONNX_RUNTIME_IS_QUIET).is_some() {
        return Ok(());
    }
    let mut again = Command::new(env::current_exe()?);
    let mut given = env::args_os();
    if let Some(name) = given.next() {
        again.arg0(name);
    }
    Err(again.args(given).env(ONNX_RUNTIME_IS_QUIET, "1").exec())
}

fn main() -> ExitCode {
    let quiet = quieten_onnx_runtime();
    let cli = Cli::parse();
    telemetry::start(&cli.log);
    if let Err(error) = quiet {
        tracing::warn!(%error, "ONNX Runtime may tell its maker of this process: set {ONNX_RUNTIME_IS_QUIET}=1");
    }
    match cli.command.run().map_err(anyhow::Error::from) {
        Ok(code) => code,
        Err(error) => {
            cli::output::complain(&format!("error: {error}"));
            for cause in error.chain().skip(1).map(ToString::to_string) {
                // Errors that quote their cause have said it already.
                if !error.to_string().contains(&cause) {
                    cli::output::complain(&format!("  because: {cause}"));
                }
            }
            ExitCode::FAILURE
        }
    }
}
