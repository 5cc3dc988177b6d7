//! What the ledger's writer writes to.

use rusqlite::Connection;

use super::batch::{self, Applied, Change};
use super::chain::Link;
use super::error::LedgerError;
use super::fold::Folding;
use super::open::Lock;
use super::stretch::Stretch;

/// A ledger that batches of changes are committed to.
pub(crate) trait Store: Send {
    /// Commits the changes, all or none, save for receipts that are there already.
    fn apply(&mut self, changes: &[Change]) -> Result<Applied, LedgerError>;

    /// Between two commits: whatever is better done then.
    fn rest(&mut self) {}

    /// Receipts that are there.
    fn rows(&mut self) -> Result<u64, LedgerError>;

    /// Ends its use.
    fn close(self: Box<Self>);
}

/// SQLite's file.
#[derive(Debug)]
pub(crate) struct FileStore {
    db: Connection,
    /// Held until the file is closed.
    lock: Lock,
    folding: Folding,
    head: Link,
    stretch: Stretch,
}

impl FileStore {
    /// A store that continues the chain found in `db`.
    pub(crate) fn new(mut db: Connection, lock: Lock, folding: Folding) -> Result<FileStore, LedgerError> {
        let (head, stretch) = (batch::head(&db)?, Stretch::start(&mut db)?);
        Ok(FileStore { db, lock, folding, head, stretch })
    }
}

impl Store for FileStore {
    fn apply(&mut self, changes: &[Change]) -> Result<Applied, LedgerError> {
        let applied = batch::apply(&mut self.db, self.head, &mut self.stretch, changes)?;
        self.head = applied.head;
        Ok(applied)
    }

    fn rest(&mut self) {
        self.folding.finish(&self.db);
    }

    fn rows(&mut self) -> Result<u64, LedgerError> {
        // They are numbered without a gap, and counting would read the whole ledger.
        let rows: i64 =
            self.db.query_row("SELECT coalesce(max(seq), 0) FROM receipts", [], |row| row.get(0))?;
        Ok(u64::try_from(rows).unwrap_or(0))
    }

    fn close(self: Box<Self>) {
        let FileStore { mut db, lock, folding, stretch, .. } = *self;
        drop(folding);
        // Else the next start does it.
        if let Err(error) = stretch.close(&mut db) {
            tracing::warn!(%error, "the ledger's sums were not brought up to date");
        }
        // A last checkpoint folds the log into the file; without it the next start does the same.
        if let Err(error) = db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize;") {
            tracing::warn!(%error, "the ledger's log was not folded in");
        }
        drop((db, lock));
    }
}
