//! Who may send requests to an engine's process, and who still does.
//!
//! Invariant: a request is let in and counted under one lock, and a process is closed under the same lock, so that a
//! process that is closed because nobody uses it is used by nobody. A request that finds no process open waits for
//! the next one; it is never turned away because an unload was under way.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Engine;
use super::spec::Address;

/// One process that takes requests, or did.
#[derive(Debug)]
pub(super) struct Run {
    /// Counts up with every start, so that no connection is kept from one process to the next.
    pub(super) number: u64,
    pub(super) address: Address,
    /// When it began to answer.
    pub(super) since: Instant,
    /// Requests in it.
    active: watch::Sender<usize>,
}

impl Run {
    pub(super) fn new(number: u64, address: Address) -> Run {
        Run { number, address, since: Instant::now(), active: watch::Sender::new(0) }
    }

    /// Requests in it.
    pub(super) fn active(&self) -> usize {
        *self.active.borrow()
    }

    /// Resolves when no request is in it.
    pub(super) async fn quiet(&self) {
        // The sender is this value's own: it cannot be gone.
        drop(self.active.subscribe().wait_for(|active| *active == 0).await);
    }
}

impl Drop for Run {
    /// A process that was killed leaves its socket behind.
    fn drop(&mut self) {
        if let Address::Unix(socket) = &self.address
            && let Err(error) = std::fs::remove_file(socket)
        {
            tracing::trace!(%error, "the socket was gone already");
        }
    }
}

/// The open process, if there is one, and who waits for it.
#[derive(Debug)]
pub(super) struct Gate {
    inside: Mutex<Inside>,
    /// Requests that wait for a process.
    waiting: watch::Sender<usize>,
}

#[derive(Debug)]
struct Inside {
    open: Option<Arc<Run>>,
    last_used: Instant,
}

impl Default for Gate {
    fn default() -> Gate {
        let inside = Inside { open: None, last_used: Instant::now() };
        Gate { inside: Mutex::new(inside), waiting: watch::Sender::new(0) }
    }
}

impl Gate {
    /// The process that takes requests now.
    pub(super) fn run(&self) -> Option<Arc<Run>> {
        self.inside.lock().open.clone()
    }

    /// From now on this process takes the requests.
    pub(super) fn open(&self, run: Arc<Run>) {
        let mut inside = self.inside.lock();
        inside.last_used = Instant::now();
        inside.open = Some(run);
    }

    /// From now on no process takes requests.
    pub(super) fn close(&self) {
        self.inside.lock().open = None;
    }

    /// Closes unless a request is in the process or waits for it; whether it is closed.
    pub(super) fn close_if_unused(&self, run: &Run) -> bool {
        let mut inside = self.inside.lock();
        let unused = run.active() == 0 && *self.waiting.borrow() == 0;
        if unused {
            inside.open = None;
        }
        unused
    }

    pub(super) fn last_used(&self) -> Instant {
        self.inside.lock().last_used
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        *self.waiting.borrow()
    }

    /// Resolves when a request waits.
    pub(super) async fn wanted(&self) {
        drop(self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await);
    }

    /// Counts a request as waiting for as long as the guard lives.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        Waiting(self)
    }

    /// Lets a request in, if a process is open.
    pub(super) fn enter(&self, engine: &Arc<Engine>) -> Option<Lease> {
        let mut inside = self.inside.lock();
        let run = inside.open.clone()?;
        inside.last_used = Instant::now();
        run.active.send_modify(|active| *active += 1);
        Some(Lease { engine: Arc::clone(engine), run })
    }
}

/// A request that waits.
pub(super) struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}

/// A request's place in a process: as long as it lives, the process is not stopped on purpose.
#[derive(Debug)]
pub struct Lease {
    engine: Arc<Engine>,
    run: Arc<Run>,
}

impl Lease {
    /// Where the process answers.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.run.address
    }

    /// The number of the process, another one after every start.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.run.number
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.engine.gate.inside.lock().last_used = Instant::now();
        self.run.active.send_modify(|active| *active = active.saturating_sub(1));
    }
}
