//! What is kept for a time only: receipts that forget who asked (`[ledger] keep_days`), prompts and answers (`[content] days`). Looked at once
//! an hour.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::app::App;
use crate::content::ContentLog;
use crate::ledger::{Forget, Location, forget_contents, now_ms, prune};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(3600);
const DAY_MS: u64 = 86_400_000;

/// For how long things are kept.
#[derive(Debug)]
pub struct Retention {
    receipt_days: Option<u64>,
    content: ContentLog,
    looked: Option<Instant>,
    pruning: JoinSet<()>,
}

impl Retention {
    /// Receipts are kept whole for so many days, `None` = for ever; prompts and answers as `content` says.
    #[must_use]
    pub fn new(receipt_days: Option<u64>, content: ContentLog) -> Retention {
        Retention { receipt_days, content, looked: None, pruning: JoinSet::new() }
    }

    /// Forgets what is old beside what else goes on, if it is time and the last forgetting has ended.
    pub fn tick(&mut self, app: &App) {
        while self.pruning.try_join_next().is_some() {}
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) || !self.pruning.is_empty() {
            return;
        }
        self.looked = Some(Instant::now());
        let location = app.ledger.location().clone();
        let (receipt_days, content_days) = (self.receipt_days, self.content.days);
        self.pruning.spawn_blocking(move || {
            if let Some(days) = receipt_days {
                forget_receipts(&location, days);
            }
            // Also where nothing is kept any more: what was kept before grows old too.
            let before = now_ms().saturating_sub(content_days * DAY_MS);
            match forget_contents(&location, before) {
                Ok(0) => {}
                Ok(conversations) => tracing::info!(conversations, "old prompts and answers were deleted"),
                Err(error) => tracing::warn!(%error, "old prompts and answers could not be deleted"),
            }
        });
    }
}

fn forget_receipts(location: &Location, days: u64) {
    let now = now_ms();
    let pruned = match prune(location, &Forget::Before(now.saturating_sub(days * DAY_MS)), now) {
        Ok(pruned) => pruned,
        Err(error) => return tracing::warn!(%error, "old receipts could not be pruned"),
    };
    if pruned.receipts > 0 {
        tracing::info!(receipts = pruned.receipts, "old receipts forgot who asked");
    }
    if let Some(damage) = pruned.damage(location) {
        tracing::warn!(%damage, "some receipts could not be pruned");
    }
}
