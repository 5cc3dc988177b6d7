//! The one thread that writes the ledger, with group commit.
//!
//! It takes whatever is queued, writes it in one transaction, and only then answers the waiting settles: under
//! load a commit carries many requests, alone it carries one at once. When the file cannot be written (disk
//! full, another process's lock) nothing accepted is thrown away: it stays in memory and is tried again each
//! second, settles are told, and new holds are refused until it works.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::answer::{self, Asker};
use super::batch::Change;
use super::error::LedgerError;
use super::store::Store;

/// Messages waiting for the writer before senders are held back.
pub(crate) const QUEUE: usize = 4096;
/// Most changes in one transaction, so that no settle waits behind an endless one.
const BATCH: usize = 1024;
/// With at least this many requests begun and not long open, receipts come in faster than one commit takes …
const SIBLINGS: usize = 4;
/// … and waiting this long for more of them costs less than a commit each (PostgreSQL's `commit_delay`) …
const COMMIT_DELAY: Duration = Duration::from_micros(150);
/// … and once more, while as many have still not come.
const DELAYS: usize = 2;
/// Holds that are on record count as siblings while commits come as soon after each other as this.
const BRISK: Duration = Duration::from_millis(1);
/// Pause between attempts while the file cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// A message to the writer.
#[derive(Debug)]
pub(crate) enum Message {
    /// Write this; the answer, if wanted, says whether it is in the file.
    Write(Change, Option<Asker>),
    /// The overflow has something in it.
    Wake,
    /// Write what is there, then stop.
    Close(oneshot::Sender<Result<(), LedgerError>>),
}

/// What the writer and the handles share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Receipts that found the queue full, and who waits for them; bounded by the requests in flight, each of which has one receipt.
    pub(crate) overflow: Mutex<VecDeque<(Change, Option<Asker>)>>,
    /// Requests whose hold is not written and whose receipt has not come.
    pub(crate) unwritten: AtomicUsize,
    /// Receipts in the file, those of earlier runs included.
    pub(crate) rows: AtomicU64,
    /// Whether the last attempt to write failed.
    pub(crate) stalled: AtomicBool,
    /// Why it failed.
    pub(crate) reason: Mutex<String>,
}

/// The writer's own state.
pub(crate) struct Writer {
    store: Box<dyn Store>,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Message>,
    /// Not yet in the file: the batch being gathered, or what a failed commit left.
    pending: Vec<Change>,
    askers: Vec<(usize, Asker)>,
    /// Holds in the file.
    held: i64,
    /// When the last commit was done.
    done: Instant,
    closing: Option<oneshot::Sender<Result<(), LedgerError>>>,
}

impl Writer {
    /// A writer to `store`.
    pub(crate) fn new(
        mut store: Box<dyn Store>,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Message>,
    ) -> Result<Writer, LedgerError> {
        shared.rows.store(store.rows()?, Ordering::Relaxed);
        Ok(Writer {
            store,
            shared,
            queue,
            pending: Vec::new(),
            askers: Vec::new(),
            held: 0,
            done: Instant::now(),
            closing: None,
        })
    }

    /// Writes until closed or until every handle is gone.
    pub(crate) fn run(mut self) {
        let mut open = true;
        while open {
            open = self.next() && self.take_queued();
            for _ in 0..DELAYS {
                if open && !self.pending.is_empty() && self.has_siblings() {
                    std::thread::sleep(COMMIT_DELAY);
                    open = self.take_queued();
                }
            }
            open = self.take_overflow() && open;
            while !self.commit() && open {
                open = self.wait();
            }
        }
        let left = self.pending.len();
        if left > 0 {
            tracing::error!(changes = left, "the ledger was closed before these could be written");
        }
        let outcome = if left == 0 { Ok(()) } else { Err(self.stalled()) };
        let closing = self.closing.take();
        // Closed and unlocked before the caller hears that it is.
        self.store.close();
        if let Some(closing) = closing {
            let _nobody_waits = closing.send(outcome);
        }
    }

    /// Whether more is about to come, so that it is worth waiting for.
    fn has_siblings(&self) -> bool {
        let begun = self.shared.unwritten.load(Ordering::Relaxed);
        let open = begun.saturating_add(usize::try_from(self.held).unwrap_or(0));
        begun >= SIBLINGS || (open >= SIBLINGS && self.done.elapsed() < BRISK)
    }

    /// Waits for a message; false when there will be no more.
    fn next(&mut self) -> bool {
        self.queue.blocking_recv().is_some_and(|message| self.take(message))
    }

    /// Takes what is there, up to a batch; false when the last message was among it.
    fn take_queued(&mut self) -> bool {
        while self.pending.len() < BATCH {
            let Ok(message) = self.queue.try_recv() else { return true };
            if !self.take(message) {
                return false;
            }
        }
        true
    }

    /// Puts a message into the batch; false when it was the last.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Write(change, asker) => {
                self.pending.push(change);
                if let Some(asker) = asker {
                    self.askers.push((self.pending.len() - 1, asker));
                }
                true
            }
            Message::Wake => true,
            Message::Close(answer) => {
                self.closing = Some(answer);
                false
            }
        }
    }

    /// Takes in what overflowed, after all that was queued before it: a receipt that overflowed must not be written
    /// before the hold it ends. False when the last message was among it.
    fn take_overflow(&mut self) -> bool {
        let overflow = std::mem::take(&mut *self.shared.overflow.lock());
        let mut open = true;
        if !overflow.is_empty() {
            for _ in 0..QUEUE {
                let Ok(message) = self.queue.try_recv() else { break };
                open = self.take(message) && open;
            }
        }
        for (change, asker) in overflow {
            self.take(Message::Write(change, asker));
        }
        open
    }

    /// Tries to write the batch; false if it has to be tried again.
    fn commit(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        match self.store.apply(&self.pending) {
            Ok(applied) => {
                self.shared.rows.fetch_add(applied.receipts, Ordering::Relaxed);
                if self.shared.stalled.swap(false, Ordering::Relaxed) {
                    tracing::info!("the ledger can be written again");
                }
                answer::all(self.askers.drain(..).map(|(index, asker)| {
                    let outcome = match (applied.duplicates.contains(&index), self.pending.get(index)) {
                        (true, Some(Change::Settle(end))) => {
                            Err(LedgerError::Duplicate { request_id: end.receipt.request_id.clone() })
                        }
                        _ => Ok(()),
                    };
                    (asker, outcome)
                }));
                self.pending.clear();
                self.held += applied.held;
                self.done = Instant::now();
                self.store.rest();
                true
            }
            Err(error) => {
                if !self.shared.stalled.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the ledger cannot be written; holding on to what is waiting");
                }
                *self.shared.reason.lock() = error.to_string();
                let stalled = || Err(LedgerError::Stalled { reason: error.to_string() });
                answer::all(self.askers.drain(..).map(|(_, asker)| (asker, stalled())));
                false
            }
        }
    }

    /// Between two attempts: takes in what arrives (the queue must not fill up behind a stall), false on close.
    fn wait(&mut self) -> bool {
        std::thread::sleep(RETRY);
        while let Ok(message) = self.queue.try_recv() {
            if !self.take(message) {
                return false;
            }
        }
        self.take_overflow()
    }

    fn stalled(&self) -> LedgerError {
        LedgerError::Stalled { reason: self.shared.reason.lock().clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::batch::End;
    use crate::ledger::fold::Folding;
    use crate::ledger::open::Lock;
    use crate::ledger::record::{HoldRow, Receipt};
    use crate::ledger::store::FileStore;
    use crate::ledger::{open, recovery};

    fn writer(path: &std::path::Path) -> (Writer, Arc<Shared>, mpsc::Sender<Message>) {
        let mut db = open::writable(path).unwrap();
        recovery::recover(&mut db, 0).unwrap();
        let shared = Arc::new(Shared::default());
        let (queue, messages) = mpsc::channel(QUEUE);
        let (lock, folding) = (Lock::take(path).unwrap(), Folding::start(path).unwrap());
        let store = Box::new(FileStore::new(db, lock, folding).unwrap());
        (Writer::new(store, Arc::clone(&shared), messages).unwrap(), shared, queue)
    }

    #[test]
    fn holds_on_record_are_siblings_while_commits_follow_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, shared, _queue) = writer(&folder.path().join("ledger.db"));
        let hold = |id: usize| HoldRow { request_id: id.to_string(), ..HoldRow::default() };
        writer.pending = (0..SIBLINGS).map(|id| Change::Hold(Box::new(hold(id)))).collect();
        assert!(writer.commit());
        writer.done = Instant::now() + BRISK;
        assert!(writer.has_siblings());
        writer.done = Instant::now().checked_sub(2 * BRISK).unwrap();
        assert!(!writer.has_siblings(), "an answer may take minutes");
        writer.pending = vec![Change::Drop("0".to_owned())];
        assert!(writer.commit());
        writer.done = Instant::now() + BRISK;
        assert!(!writer.has_siblings());
        shared.unwritten.store(1, Ordering::Relaxed);
        assert!(writer.has_siblings());
    }

    #[test]
    fn a_receipt_that_overflowed_comes_after_the_hold_that_was_queued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let (mut writer, shared, queue) = writer(&path);
        let request_id = || "r".to_owned();
        let receipt = Receipt { request_id: request_id(), ..Receipt::default() };
        let end = End { held: true, receipt: Box::new(receipt), content: None };
        shared.overflow.lock().push_back((Change::Settle(end), None));
        let hold = HoldRow { request_id: request_id(), ..HoldRow::default() };
        queue.try_send(Message::Write(Change::Hold(Box::new(hold)), None)).unwrap();
        assert!(writer.take_overflow() && writer.commit());
        let db = open::readable(&path).unwrap();
        let left: i64 = db.query_row("SELECT count(*) FROM holds", [], |row| row.get(0)).unwrap();
        assert_eq!((left, shared.rows.load(Ordering::Relaxed)), (0, 1));
    }
}
