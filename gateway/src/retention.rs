//! `[ledger] keep_days`: once an hour, receipts older than that forget who asked.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::app::App;
use crate::ledger::{Forget, now_ms, prune};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(3600);
const DAY_MS: u64 = 86_400_000;

/// For how long receipts are kept whole.
#[derive(Debug)]
pub struct Retention {
    days: Option<u64>,
    looked: Option<Instant>,
    pruning: JoinSet<()>,
}

impl Retention {
    /// So many days; `None` = for ever.
    #[must_use]
    pub fn new(days: Option<u64>) -> Retention {
        Retention { days, looked: None, pruning: JoinSet::new() }
    }

    /// Prunes beside what else goes on, if it is time and the last pruning has ended.
    pub fn tick(&mut self, app: &App) {
        let Some(days) = self.days else { return };
        while self.pruning.try_join_next().is_some() {}
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) || !self.pruning.is_empty() {
            return;
        }
        self.looked = Some(Instant::now());
        let (path, now) = (app.ledger.location().clone(), now_ms());
        let old = Forget::Before(now.saturating_sub(days * DAY_MS));
        self.pruning.spawn_blocking(move || match prune(&path, &old, now) {
            Ok(0) => {}
            Ok(receipts) => tracing::info!(receipts, "old receipts forgot who asked"),
            Err(error) => tracing::warn!(%error, "old receipts could not be pruned"),
        });
    }
}
