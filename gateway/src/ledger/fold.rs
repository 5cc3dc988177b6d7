//! Folding the write-ahead log into the file (SQLite calls it a checkpoint) without making commits wait.
//!
//! Copying pages and syncing takes tens of milliseconds, for which a writer that does it itself answers nobody. So a
//! thread with a connection of its own does it while the writer goes on appending; only the few pages that come in
//! meanwhile are left to the writer, after which SQLite begins the log anew. Without that the log would grow for as
//! long as there is traffic.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::error::LedgerError;

/// How often the log's length is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Pages (8 KiB each) in the log that are worth folding in.
const WORTH: i64 = 8_192;
/// Pages that the writer can fold in itself: what commits then wait for is the disk's sync, mostly, and that once.
const FEW: i64 = 512;

/// The thread, and what it says to the writer. Dropping this ends the thread and waits for it, so that the writer's
/// last checkpoint and the closing of the file meet nobody.
#[derive(Debug)]
pub(crate) struct Folding {
    /// Little is left to fold in.
    nearly: Arc<AtomicBool>,
    /// Nothing is ever sent: the thread ends when this is gone.
    end: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Folding {
    /// Starts the thread.
    pub(crate) fn start(path: &Path) -> Result<Folding, LedgerError> {
        let db = Connection::open(path)?;
        let nearly = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&nearly);
        let (end, ended) = mpsc::sync_channel(0);
        let work = move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if !told.load(Ordering::Acquire) && look(&db) {
                    told.store(true, Ordering::Release);
                }
            }
        };
        let io = |source| LedgerError::Io { path: path.to_owned(), source };
        let thread = std::thread::Builder::new().name("fold".to_owned()).spawn(work).map_err(io)?;
        Ok(Folding { nearly, end: Some(end), thread: Some(thread) })
    }

    /// Between two commits: folds in the rest if it is little.
    pub(crate) fn finish(&self, db: &Connection) {
        if self.nearly.load(Ordering::Acquire) {
            // Whether it worked shows in the log's length at the next look.
            if let Err(error) = fold(db) {
                tracing::debug!(%error, "the ledger's log was not folded in");
            }
            self.nearly.store(false, Ordering::Release);
        }
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say; a panic in it has been reported.
            let _ended = thread.join();
        }
    }
}

/// Folds a long log in, and says whether what came in meanwhile is little.
fn look(db: &Connection) -> bool {
    // The length of the log is told by folding in; with a short one that is next to nothing.
    match fold(db) {
        Ok((log, folded)) => log >= WORTH && log - folded <= FEW,
        Err(error) => {
            tracing::debug!(%error, "the ledger's log was not folded in");
            false
        }
    }
}

/// Folds in what can be without waiting for anybody: (pages in the log, pages of them folded in).
fn fold(db: &Connection) -> rusqlite::Result<(i64, i64)> {
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_folded_in_beside_the_writer_and_begun_anew_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (b BLOB);",
            )
            .unwrap();
        let other = Connection::open(&path).unwrap();
        assert!(!look(&other), "a short log is left alone");
        let page = vec![7u8; 4000];
        writer.execute_batch("BEGIN").unwrap();
        for _ in 0..WORTH + 100 {
            writer.execute("INSERT INTO t VALUES (?1)", [&page]).unwrap();
        }
        writer.execute_batch("COMMIT").unwrap();
        assert!(look(&other));
        let folding = Folding { nearly: Arc::new(AtomicBool::new(true)), end: None, thread: None };
        folding.finish(&writer);
        writer.execute("INSERT INTO t VALUES (?1)", [&page]).unwrap();
        let (log, _) = fold(&writer).unwrap();
        assert!(log < 10, "the log began anew: {log} pages");
        let rows: i64 = writer.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, WORTH + 101);
    }
}
