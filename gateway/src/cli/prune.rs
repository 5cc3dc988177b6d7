//! `tollgate ledger prune`: forgets who asked and what was decided, and keeps what was spent.

use std::process::ExitCode;

use clap::{ArgGroup, Args};
use tollgate::ledger::{Forget, Pruned, prune};

use super::output;
use super::time::{self, Moment, now_ms};
use super::{CliError, Place};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true)))]
pub(crate) struct PruneArgs {
    /// Receipts older than this: a date, a time, or an age such as 400d.
    #[arg(long, value_name = "WHEN", value_parser = time::past, group = "which")]
    before: Option<Moment>,
    /// Receipts of this agent run.
    #[arg(long, value_name = "RUN", group = "which")]
    run: Option<String>,
    /// Receipts made with this revoked key, by its id or name.
    #[arg(long, value_name = "KEY", group = "which")]
    key: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl PruneArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let before = self.before.map(|at| Forget::Before(at.0));
        let forget = before.or(self.run.map(Forget::Run)).or(self.key.map(Forget::Key));
        let Some(forget) = forget else { return Ok(ExitCode::SUCCESS) };
        let location = self.place.ledger()?;
        let pruned = prune(&location, &forget, now_ms())?;
        let Pruned { receipts, in_use, .. } = pruned;
        output::line(&format!("{receipts} receipts forgot who asked; what they cost stays"))?;
        if in_use > 0 {
            output::line(&format!(
                "{in_use} receipts were left: a gateway spends from the budgets of their run or key; run this again in some seconds"
            ))?;
        }
        let Some(damage) = pruned.damage(&location) else { return Ok(ExitCode::SUCCESS) };
        output::complain(&damage);
        Ok(ExitCode::FAILURE)
    }
}
