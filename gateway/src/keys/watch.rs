//! Keys that are made and revoked while the gateway runs: a thread of its own reads them again when they have changed.
//!
//! It looks each second, and at once for a request whose key is not known, so that a key works from the moment that
//! `tollgate keys create` has returned, however busy the machine is. Whoever waits shares the next look that begins after
//! they came: strangers with keys of their own invention cost one row read now and then. Where the ledger cannot be read
//! the keys in force stay.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{KeyError, KeyStore, Keys};

/// Between two looks that nobody asked for.
const TICK: Duration = Duration::from_secs(1);
/// Requests that may wait for a look; more are told what is known already.
const WAITING: usize = 1024;
/// Longest that a request waits: a ledger's server that is away must not hold up who would be refused anyway.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for a look, or the end.
enum Message {
    Look(oneshot::Sender<()>),
    End,
}

/// The way to the thread.
#[derive(Debug)]
pub struct KeyWatch {
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl KeyWatch {
    /// Starts the thread that keeps `keys` as they are in the store.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(keys: &Arc<Keys>, store: KeyStore) -> std::io::Result<KeyWatch> {
        let watcher = Watcher { keys: Arc::clone(keys), store, seen: None, broken: false };
        let (queue, messages) = mpsc::sync_channel(WAITING);
        let work = move || watcher.run(&messages);
        let thread = std::thread::Builder::new().name("keys".to_owned()).spawn(work)?;
        Ok(KeyWatch { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Returns when the keys are those that the store had after this was called, or when that cannot be known soon.
    pub async fn look(&self) {
        let (done, looked) = oneshot::channel();
        if self.queue.try_send(Message::Look(done)).is_ok() {
            let _too_late_or_ended = tokio::time::timeout(PATIENCE, looked).await;
        }
    }

    /// Ends the thread and closes the store. Blocking.
    pub fn end(&self) {
        let _gone_already = self.queue.send(Message::End);
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }
}

/// The thread's own.
struct Watcher {
    keys: Arc<Keys>,
    store: KeyStore,
    /// Which of the store's states is in force.
    seen: Option<i64>,
    /// Whether the last look failed, which is told once.
    broken: bool,
}

impl Watcher {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut next = Instant::now() + TICK;
        loop {
            let mut waiting = Vec::new();
            let first = match messages.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            for message in first.into_iter().chain(messages.try_iter()) {
                match message {
                    Message::Look(done) => waiting.push(done),
                    // Who waits finds the way closed.
                    Message::End => return,
                }
            }
            self.look();
            next = Instant::now() + TICK;
            for done in waiting {
                let _went_away = done.send(());
            }
        }
    }

    fn look(&mut self) {
        let read = self.read();
        match &read {
            Err(error) if !self.broken => {
                tracing::warn!(%error, "the keys could not be read again; those in force stay");
            }
            Ok(()) if self.broken => tracing::info!("the keys can be read again"),
            _ => {}
        }
        self.broken = read.is_err();
    }

    /// Takes over what the store has, if that is not in force already.
    fn read(&mut self) -> Result<(), KeyError> {
        // Asked for first: what changes after it is read at the next look.
        let generation = self.store.generation()?;
        if self.seen != Some(generation) {
            self.keys.reload(&mut self.store)?;
            self.seen = Some(generation);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Auth, NewKey};
    use crate::ledger::Location;

    #[tokio::test]
    async fn a_key_is_known_to_the_first_look_after_it_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::File(folder.path().join("ledger.db"));
        let keys = Arc::new(Keys::new(Auth::Required));
        let watch = KeyWatch::start(&keys, KeyStore::open(&location).unwrap()).unwrap();
        let mut store = KeyStore::open(&location).unwrap();
        for number in 0..50 {
            let new = NewKey { name: number.to_string(), ..NewKey::default() };
            let (_, secret) = store.create(new, 1).unwrap();
            watch.look().await;
            assert!(keys.authenticate(secret.reveal(), 2).is_ok(), "key {number}");
        }
        watch.end();
        // Nobody waits for a thread that has ended.
        watch.look().await;
    }
}
