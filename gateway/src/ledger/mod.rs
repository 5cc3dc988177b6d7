//! The ledger: every hold and every receipt, in one SQLite file that survives `kill -9`, or in PostgreSQL.
//!
//! One thread owns the connection and commits in groups (`writer`); handles send to it through a bounded
//! queue, so a slow disk slows requests down instead of filling memory. A settle that returned is in the
//! write-ahead log. Reading (reports, verification, export) uses connections of its own and never blocks it.

mod answer;
mod asked;
mod batch;
mod chain;
mod content;
mod error;
mod focus;
mod fold;
mod lessor;
mod location;
mod moved;
mod open;
mod outcome;
mod postgres;
mod prune;
mod reader;
mod record;
mod recovery;
mod report;
mod requests;
mod schema;
mod store;
mod stretch;
mod unwritten;
mod verify;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tollgate_policies::Usd;

pub use asked::Asked;
pub use batch::End;
pub use chain::Link;
pub use content::{Content, Exported, Wanted, forget_contents};
pub use error::LedgerError;
pub use lessor::Lessor;
pub use location::Location;
pub(crate) use open::{explain, readable, writable};
pub use outcome::{Judged, Promotion, Source, Tally};
pub(crate) use postgres::ServerKeys;
pub use prune::{Forget, Pruned, prune};
pub use reader::Reader;
pub use record::{Account, Attempt, HoldRow, Receipt, ReceiptStatus, Timings};
pub use recovery::Recovery;
pub use report::{Dimension, Line, Question, Report, Speed};
pub use unwritten::Unwritten;
pub use verify::Verdict;

use answer::Asker;
use batch::Change;
use store::{FileStore, Store};
use writer::{Message, Shared, Writer};

/// A handle to the ledger's writer; clones share it.
#[derive(Debug, Clone)]
pub struct Ledger {
    location: Arc<Location>,
    /// What this gateway is called where several write.
    gateway: Option<Arc<str>>,
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

impl Ledger {
    /// Opens the ledger for a gateway: takes the lock, brings the schema up to date, settles what a crash left
    /// behind, starts the writer. Blocking; call it before serving.
    ///
    /// # Errors
    /// [`LedgerError`], each variant naming the file and the way out.
    pub fn open(location: &Location) -> Result<(Ledger, Recovery), LedgerError> {
        let mut gateway = None;
        let (store, recovery): (Box<dyn Store>, Recovery) = match location {
            Location::File(path) => {
                let (store, recovery) = open_file(path)?;
                (Box::new(store), recovery)
            }
            Location::Server(url) => {
                let (store, recovery) = postgres::open(url)?;
                gateway = Some(Arc::from(store.gateway()));
                (Box::new(store), recovery)
            }
        };
        let shared = Arc::new(Shared::default());
        let (queue, messages) = mpsc::channel(writer::QUEUE);
        let writer = Writer::new(store, Arc::clone(&shared), messages)?;
        let io = |source| LedgerError::Io { path: location.to_string().into(), source };
        let work = move || writer.run();
        std::thread::Builder::new().name("ledger".to_owned()).spawn(work).map_err(io)?;
        Ok((Ledger { location: Arc::new(location.clone()), gateway, queue, shared }, recovery))
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Who leases budgets to this gateway, where several share them.
    #[must_use]
    pub fn lessor(&self) -> Option<Lessor> {
        match (self.location.as_ref(), &self.gateway) {
            (Location::Server(url), Some(gateway)) => Some(Lessor::new(url, gateway)),
            _ => None,
        }
    }

    /// Whether a hold has to be on record before an engine is called, because others take over what this gateway leaves.
    #[must_use]
    pub fn holds_first(&self) -> bool {
        self.gateway.is_some()
    }

    /// Receipts in the file, those of earlier runs included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.shared.rows.load(Ordering::Relaxed)
    }

    /// Whether the file could be written at the last attempt.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.shared.stalled.load(Ordering::Relaxed)
    }

    /// A request is about to spend: its hold is not in the file yet, and most never need be.
    ///
    /// # Errors
    /// [`LedgerError::Stalled`] while the file cannot be written: nothing may be spent that cannot be booked.
    pub fn begin(&self) -> Result<Unwritten, LedgerError> {
        self.writable()?;
        Ok(Unwritten::new(&self.shared))
    }

    /// Queues a hold to be written; whether it is in the file, the returned [`Recording`] tells.
    ///
    /// # Errors
    /// [`LedgerError::Closed`] if the writer has stopped.
    pub async fn hold(&self, hold: HoldRow) -> Result<Recording, LedgerError> {
        self.record(Change::Hold(Box::new(hold))).await
    }

    /// Replaces a request's hold in the file by a larger one.
    ///
    /// # Errors
    /// As [`Ledger::begin`] and [`Ledger::hold`].
    pub async fn raise(&self, hold: HoldRow) -> Result<Recording, LedgerError> {
        self.writable()?;
        self.record(Change::Raise(Box::new(hold))).await
    }

    fn writable(&self) -> Result<(), LedgerError> {
        if self.is_writable() {
            return Ok(());
        }
        Err(LedgerError::Stalled { reason: self.shared.reason.lock().clone() })
    }

    /// Takes a hold back without a receipt: the upstream was never called. Never blocks.
    pub fn release_detached(&self, request_id: String) {
        self.hand_over(Change::Drop(request_id), None);
    }

    /// Writes a receipt and removes its hold; returns when both are committed. The receipt is handed over at once, even past a full
    /// queue: a client that goes away while it waits must not take it along.
    ///
    /// # Errors
    /// [`LedgerError::Duplicate`] if the request has a receipt already; [`LedgerError::Stalled`] if it cannot be
    /// written yet (it is kept, and written when that is possible).
    pub async fn settle(&self, end: End) -> Result<(), LedgerError> {
        let (asker, committed) = Asker::new();
        self.hand_over(Change::Settle(end), Some(asker));
        Recording(committed).committed().await
    }

    /// Hands over a receipt from where nothing can be awaited (a dropped response body). Never blocks; the
    /// receipt is written soon after.
    pub fn settle_detached(&self, end: End) {
        self.hand_over(Change::Settle(end), None);
    }

    /// Records a budget's limit from now on, for `ledger verify`; only changes are kept.
    ///
    /// # Errors
    /// [`LedgerError`] if the writer has stopped.
    pub async fn record_limit(&self, budget: String, limit: Usd) -> Result<(), LedgerError> {
        self.send(Message::Write(Change::Limit { budget, limit, from_ms: now_ms() }, None)).await
    }

    /// Writes a verdict on an answer; returns when it is committed.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written now.
    pub async fn judge(&self, judged: Judged) -> Result<(), LedgerError> {
        self.record(Change::Outcome(Box::new(judged))).await?.committed().await
    }

    /// Puts it on record that other abilities are in force.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written now.
    pub async fn promote(&self, promotion: Promotion) -> Result<(), LedgerError> {
        self.record(Change::Promotion(Box::new(promotion))).await?.committed().await
    }

    /// Writes everything handed over so far, closes the file, frees the lock. Other handles find it closed.
    ///
    /// # Errors
    /// [`LedgerError::Stalled`] if something could not be written.
    pub async fn close(self) -> Result<(), LedgerError> {
        let (answer, closed) = oneshot::channel();
        self.send(Message::Close(answer)).await?;
        closed.await.map_err(|_| LedgerError::Closed)?
    }

    async fn record(&self, change: Change) -> Result<Recording, LedgerError> {
        let (asker, committed) = Asker::new();
        self.send(Message::Write(change, Some(asker))).await?;
        Ok(Recording(committed))
    }

    async fn send(&self, message: Message) -> Result<(), LedgerError> {
        self.queue.send(message).await.map_err(|_| LedgerError::Closed)
    }

    /// Never blocks. An asker that nobody answers any more finds the ledger closed.
    fn hand_over(&self, change: Change, asker: Option<Asker>) {
        match self.queue.try_send(Message::Write(change, asker)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Message::Write(change, asker))) => {
                self.shared.overflow.lock().push_back((change, asker));
                // If this finds the queue full too, the writer is busy and looks at the overflow next round.
                let _full_is_fine = self.queue.try_send(Message::Wake);
            }
            Err(_) => tracing::error!("a receipt came after the ledger was closed"),
        }
    }
}

fn open_file(path: &Path) -> Result<(FileStore, Recovery), LedgerError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|source| LedgerError::ReadOnly { path: path.to_owned(), source })?;
    }
    let lock = open::Lock::take(path)?;
    let mut db = open::owned(path, &lock)?;
    let recovery = recovery::recover(&mut db, now_ms()).map_err(|error| error.at(path))?;
    let folding = fold::Folding::start(path)?;
    let store = FileStore::new(db, lock, folding).map_err(|error| error.at(path))?;
    Ok((store, recovery))
}

/// A change on its way into the file. Dropping it changes nothing about that.
#[derive(Debug)]
#[must_use = "a change that was not waited for may not be in the file yet"]
pub struct Recording(oneshot::Receiver<Result<(), LedgerError>>);

impl Recording {
    /// Returns when the change is committed.
    ///
    /// # Errors
    /// [`LedgerError::Stalled`] if it cannot be written yet; it is kept, and written when that is possible.
    pub async fn committed(self) -> Result<(), LedgerError> {
        self.0.await.map_err(|_| LedgerError::Closed)?
    }
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_receipt_is_not_lost_with_the_client_that_waits_for_it() {
        let (queue, _writer_that_is_busy) = mpsc::channel(1);
        let (location, shared) = (Location::File("ledger.db".into()), Arc::new(Shared::default()));
        let ledger =
            Ledger { location: Arc::new(location), gateway: None, queue, shared: Arc::clone(&shared) };
        ledger.release_detached("fills the queue".to_owned());
        let receipt = Receipt { request_id: "r".to_owned(), ..Receipt::default() };
        {
            let settling = pin!(ledger.settle(End { held: true, receipt: Box::new(receipt), content: None }));
            assert!(settling.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let waiting = shared.overflow.lock();
        assert!(
            matches!(waiting.front(), Some((Change::Settle(end), _)) if end.receipt.request_id == "r"),
            "{waiting:?}"
        );
    }
}
