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
    let mut query = db.prepare("SELECT request_id, body FROM holds ORDER BY request_id")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (request_id, body) = row?;
        serde_json::from_str(&body)
            .map_err(|error| LedgerError::unreadable(format!("the hold of {request_id}"), error))
    })
    .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::record::Receipt;
    use crate::ledger::{Ledger, Location, open};

    /// A ledger with an open stretch of three receipts and a hold, as a crash leaves it.
    fn crashed(path: &std::path::Path) -> Connection {
        let mut db = open::writable(path).unwrap();
        let mut stretch = Stretch::start(&mut db).unwrap();
        let account = || Account { budget: "b".to_owned(), subject: String::new(), window_start_ms: 0 };
        let end = |n: i64| {
            let (request_id, cost) = (format!("r{n}"), Usd::from_nanos(n));
            let receipt = Receipt { request_id, cost, accounts: vec![account()], ..Receipt::default() };
            Change::Settle(End { held: false, receipt: Box::new(receipt), content: None })
        };
        let (request_id, amount) = ("r4".to_owned(), Usd::from_nanos(100));
        let hold = HoldRow { request_id, amount, accounts: vec![account()], ..HoldRow::default() };
        let changes: Vec<Change> = (1..4).map(end).chain([Change::Hold(Box::new(hold))]).collect();
        batch::apply(&mut db, crate::ledger::Link::START, &mut stretch, &changes).unwrap();
        db
    }

    #[test]
    fn what_cannot_be_read_is_named_and_nothing_is_written_until_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let (db, location) = (crashed(&path), Location::File(path.clone()));
        let count = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
        let rows = || count("SELECT (SELECT count(*) FROM receipts) * 1000 + (SELECT count(*) FROM windows)");
        for (table, row, named) in [("receipts", "seq = 2", "receipt 2"), ("holds", "true", "the hold of r4")]
        {
            let body: String =
                db.query_row(&format!("SELECT body FROM {table} WHERE {row}"), [], |row| row.get(0)).unwrap();
            let set = |body: &str| {
                db.execute(&format!("UPDATE {table} SET body = ?1 WHERE {row}"), [body]).unwrap();
            };
            set("{\"cost\":");
            let said = Ledger::open(&location).unwrap_err().to_string();
            let file = path.display().to_string();
            for part in [named, file.as_str(), "restore a backup"] {
                assert!(said.contains(part), "{said}");
            }
            assert_eq!(rows(), 3000, "nothing was written");
            set(&body);
        }
        let (_ledger, recovery) = Ledger::open(&location).unwrap();
        assert_eq!((recovery.orphans, count("SELECT sum(settled_nanos) FROM windows")), (1, 106));
        assert_eq!(rows(), 4001);
    }
}
