//! The `tollgate` command: arguments, logs, one command, an exit code. 0 done, 1 failed, 2 wrong usage.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use tollgate::telemetry;

use cli::Cli;

/// A request makes a few hundred small allocations on one thread and frees some on another, which glibc's allocator is
/// slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(&cli.log);
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
