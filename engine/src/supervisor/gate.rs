//! Who may send requests to an engine's process, and who still does.
//!
//! Invariant: a request is let in and counted under one lock, and a process is closed under the same lock, so that a
//! process that is closed because nobody uses it is used by nobody. A request that finds no process open waits for
//! the next one; it is never turned away because an unload was under way.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

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

    /// Requests in the process that is open, and those that wait for one.
    pub(super) fn inside(&self) -> usize {
        self.run().map_or(0, |run| run.active()) + self.waiting()
    }

    /// Resolves when a request waits.
    pub(super) async fn wanted(&self) {
        drop(self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await);
    }

    /// Resolves when no request waits.
    pub(super) async fn unwanted(&self) {
        drop(self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await);
    }

    /// Counts a request as waiting for as long as the guard lives.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        Waiting(self)
    }

    /// Lets a request in, if a process is open.
    pub(super) fn enter(self: &Arc<Gate>) -> Option<Lease> {
        let mut inside = self.inside.lock();
        let run = inside.open.clone()?;
        inside.last_used = Instant::now();
        run.active.send_modify(|active| *active += 1);
        Some(Lease { gate: Arc::clone(self), run })
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
    gate: Arc<Gate>,
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
        self.gate.inside.lock().last_used = Instant::now();
        self.run.active.send_modify(|active| *active = active.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    fn run(number: u64) -> Arc<Run> {
        Arc::new(Run::new(number, Address::Tcp(([127, 0, 0, 1], 9).into())))
    }

    #[test]
    fn a_process_in_use_or_waited_for_is_not_closed() {
        let (gate, first) = (Arc::new(Gate::default()), run(1));
        assert!(gate.enter().is_none());
        gate.open(Arc::clone(&first));
        let lease = gate.enter().unwrap();
        assert_eq!((lease.number(), first.active()), (1, 1));
        assert!(!gate.close_if_unused(&first));
        drop(lease);
        let waiting = gate.wait();
        assert!(!gate.close_if_unused(&first));
        drop(waiting);
        assert!(gate.close_if_unused(&first) && gate.enter().is_none());
    }

    #[test]
    fn requests_of_a_process_that_was_replaced_stay_its_own() {
        let (gate, first, second) = (Arc::new(Gate::default()), run(1), run(2));
        gate.open(Arc::clone(&first));
        let old = gate.enter().unwrap();
        gate.open(Arc::clone(&second));
        let new = gate.enter().unwrap();
        assert_eq!((old.number(), new.number()), (1, 2));
        drop(new);
        assert_eq!((first.active(), second.active()), (1, 0));
    }

    #[test]
    fn whoever_got_in_is_never_closed_out() {
        let (gate, over) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
        let entered = Arc::new(AtomicU64::new(0));
        let asking: Vec<_> = (0..4)
            .map(|_| {
                let (gate, over, entered) = (Arc::clone(&gate), Arc::clone(&over), Arc::clone(&entered));
                std::thread::spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let Some(lease) = gate.enter() else {
                            std::thread::yield_now();
                            continue;
                        };
                        entered.fetch_add(1, Ordering::Relaxed);
                        std::thread::yield_now();
                        drop(lease);
                        // Else four such threads would leave no moment without a request.
                        std::thread::sleep(std::time::Duration::from_micros(200));
                    }
                })
            })
            .collect();
        for number in 1..200 {
            let (run, before) = (run(number), entered.load(Ordering::Relaxed));
            gate.open(Arc::clone(&run));
            while entered.load(Ordering::Relaxed) == before {
                std::thread::yield_now();
            }
            while !gate.close_if_unused(&run) {
                std::thread::yield_now();
            }
            assert_eq!(run.active(), 0, "process {number} was closed with a request in it");
        }
        over.store(true, Ordering::Relaxed);
        asking.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
