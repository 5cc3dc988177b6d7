//! What a start finds in the ledger: holds a crash left behind, and how far each budget window is spent.
//!
//! An orphaned hold is settled at its full amount: whether the upstream was paid cannot be known any more, and
//! a budget errs on the side of the one who set it.

use rusqlite::{Connection, params};
use tollgate_policies::Usd;

use super::batch::{self, Change, End, signed};
use super::error::LedgerError;
use super::record::{Account, HoldRow};
use super::stretch::{self, Stretch};

/// Orphans settled per transaction.
const STEP: usize = 512;

/// How long after its last spend a window may still be open: the longest calendar window and a day.
const WINDOW_LIFE_MS: u64 = 32 * 24 * 60 * 60 * 1000;

/// What was found at start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovery {
    /// Holds a crash left behind, now settled in full.
    pub orphans: u64,
    /// Their sum.
    pub orphaned: Usd,
    /// Spend of every window that may still be open, for [`tollgate_policies::Budgets::restore`].
    pub settled: Vec<(Account, Usd)>,
}

/// Settles orphans and sums up the open windows.
pub(crate) fn recover(db: &mut Connection, now_ms: u64) -> Result<Recovery, LedgerError> {
    let orphans = holds(db)?;
    let (mut head, mut stretch) = (batch::head(db)?, Stretch::start(db)?);
    let orphaned = orphans.iter().fold(Usd::ZERO, |sum, hold| sum.saturating_add(hold.amount));
    let count = orphans.len() as u64;
    let changes: Vec<Change> = orphans.into_iter().map(|hold| Change::Settle(End::orphan(hold))).collect();
    for step in changes.chunks(STEP) {
        head = batch::apply(db, head, &mut stretch, step)?.head;
    }
    stretch::book(db)?;
    Ok(Recovery { orphans: count, orphaned, settled: open_windows(db, now_ms)? })
}

fn holds(db: &Connection) -> Result<Vec<HoldRow>, LedgerError> {
    let mut query = db.prepare("SELECT body FROM holds ORDER BY request_id")?;
    let bodies = query.query_map([], |row| row.get::<_, String>(0))?;
    bodies.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
}

fn open_windows(db: &Connection, now_ms: u64) -> Result<Vec<(Account, Usd)>, LedgerError> {
    let mut query = db.prepare(
        "SELECT budget, subject, window_start_ms, settled_nanos FROM windows WHERE updated_ms >= ?1 \
         ORDER BY budget, subject, window_start_ms",
    )?;
    let rows = query.query_map(params![signed(now_ms.saturating_sub(WINDOW_LIFE_MS))], |row| {
        let account = Account {
            budget: row.get(0)?,
            subject: row.get(1)?,
            window_start_ms: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
        };
        Ok((account, Usd::from_nanos(row.get(3)?)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
