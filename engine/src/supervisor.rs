//! Keeps engines running: starts a process when it is due or asked for, waits until it answers, watches it, restarts it
//! with backoff when it dies, stops it when nobody needs it, and puts a new one in its place without losing a request.
//!
//! Invariants: requests reach one process of an [`Engine`] at a time, and a process that is stopped on purpose has no
//! request in it (`gate`); no child outlives the supervisor (it ends when the pipe on its stdin closes); all engines
//! together stay below the [`Ceiling`]; nothing here blocks the async runtime. Backoff: a process that dies after it
//! was up comes back after 0.1 s, doubling to at most 2 s while it keeps dying within 10 s; one that never comes up
//! waits 0.1 s doubling to 30 s, and is reported as failed (though still tried) from the sixth try on, or at once where
//! only a person can help.

mod backoff;
mod ceiling;
mod child;
mod gate;
pub mod keeper;
mod probe;
mod run;
mod spec;
mod task;
mod trouble;

use crate::{EngineError, Stats};
use gate::Gate;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use ceiling::Ceiling;
pub use gate::Lease;
pub use spec::{Address, CommandLine, Embedded, EngineSpec, Program, Start};
pub use trouble::Trouble;

/// Where an engine is in its life.
#[derive(Clone, Debug)]
pub enum State {
    /// It is not running because nobody needs it; the next request starts it.
    Stopped,
    /// The process runs but does not answer yet (a model is being loaded), or waits for memory.
    Starting {
        /// Since when.
        since: Instant,
        /// Whether requests wait for it, as they do where it was started for one, and not where it crashed.
        asked: bool,
    },
    /// It answers.
    Up,
    /// It finishes what it has and ends; the next request starts it again.
    Draining,
    /// It is not running; another try is planned.
    Down {
        /// Why, with the process's last words.
        reason: String,
        /// When the next try is due.
        retry_at: Instant,
    },
    /// It never came up in several tries, or was stopped for good. Still tried once in a while unless stopped.
    Failed {
        /// Why, with the process's last words.
        reason: String,
    },
}

impl State {
    /// One word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Starting { .. } => "starting",
            State::Up => "up",
            State::Draining => "draining",
            State::Down { .. } => "down",
            State::Failed { .. } => "failed",
        }
    }

    /// Whether a request may be sent: it is answered, or waits for a process that is expected to come.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        match self {
            State::Stopped | State::Up | State::Draining => true,
            State::Starting { asked, .. } => *asked,
            State::Down { .. } | State::Failed { .. } => false,
        }
    }

    /// One line about the state for messages.
    fn describe(&self) -> String {
        match self {
            State::Starting { since, .. } => format!("starting for {:.1} s", since.elapsed().as_secs_f64()),
            State::Down { reason, .. } | State::Failed { reason } => reason.clone(),
            other => other.word().to_owned(),
        }
    }
}

/// A supervised engine. Cheap to share; the work is done by a task in the caller's [`JoinSet`].
#[derive(Debug)]
pub struct Engine {
    name: String,
    spec: RwLock<Arc<EngineSpec>>,
    ceiling: Arc<Ceiling>,
    gate: Arc<Gate>,
    state: watch::Sender<State>,
    stop: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    /// Number of the process last started.
    number: AtomicU64,
    /// Number of the process that should make room.
    evict: watch::Sender<u64>,
    /// Counts up with every change of the spec.
    replaced: watch::Sender<u64>,
    restarts: AtomicU64,
    /// How long the last start took, milliseconds; 0 = not measured.
    load_ms: AtomicU64,
    polled: Mutex<Polled>,
}

/// What the process last said of itself, and how many requests this gateway had in it or waiting for it then.
#[derive(Clone, Copy, Debug, Default)]
struct Polled {
    stats: Stats,
    inside: usize,
}

impl Engine {
    /// Starts supervising; returns at once. The task ends after [`Engine::stop`], and killing it kills the process.
    pub fn start(spec: EngineSpec, ceiling: &Arc<Ceiling>, tasks: &mut JoinSet<()>) -> Arc<Engine> {
        let first = match spec.start {
            Start::Boot => State::Starting { since: Instant::now(), asked: false },
            Start::Demand => State::Stopped,
        };
        let engine = Arc::new(Engine {
            name: spec.name.clone(),
            spec: RwLock::new(Arc::new(spec)),
            ceiling: Arc::clone(ceiling),
            gate: Arc::default(),
            state: watch::Sender::new(first),
            stop: watch::Sender::new(false),
            stopped: watch::Sender::new(false),
            number: AtomicU64::new(0),
            evict: watch::Sender::new(0),
            replaced: watch::Sender::new(0),
            restarts: AtomicU64::new(0),
            load_ms: AtomicU64::new(0),
            polled: Mutex::default(),
        });
        ceiling.register(&engine);
        tasks.spawn(task::supervise(Arc::clone(&engine)));
        engine
    }

    /// The engine's name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it runs, or will run at the next start.
    pub fn spec(&self) -> Arc<EngineSpec> {
        Arc::clone(&self.spec.read())
    }

    /// Where the engine is in its life.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Whether a request may be sent to it.
    pub fn takes_requests(&self) -> bool {
        self.state.borrow().takes_requests()
    }

    /// How often the process was started again after it had died.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// The figures last polled; while the engine is not up, the speeds alone are kept.
    pub fn stats(&self) -> Stats {
        self.polled.lock().stats
    }

    /// The same with the requests that this gateway has sent since then, or had answered, and those that wait for its start.
    pub fn load(&self) -> Stats {
        let Polled { stats, inside } = *self.polled.lock();
        let more =
            |now: usize| i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(inside).unwrap_or(i64::MAX);
        stats.with_more(more(self.gate.inside()))
    }

    /// The number of the process that takes requests, else of the one last started; each has another one.
    pub fn number(&self) -> u64 {
        self.gate.run().map_or_else(|| self.number.load(Ordering::Relaxed), |run| run.number)
    }

    /// Where the process answers that takes requests now. A request needs a [`Lease`]; this is for looking at it.
    pub fn address(&self) -> Option<Address> {
        self.gate.run().map(|run| run.address.clone())
    }

    /// How long a request would wait for the engine to be ready.
    pub fn ready_in(&self) -> Duration {
        let spec = self.spec();
        let load = match self.load_ms.load(Ordering::Relaxed) {
            0 => spec.guessed_load(),
            measured => Duration::from_millis(measured),
        };
        let room = || self.ceiling.expected_wait(spec.memory_bytes, &self.name);
        match &*self.state.borrow() {
            State::Up => Duration::ZERO,
            State::Starting { since, .. } => load.saturating_sub(since.elapsed()) + room(),
            _ => load + room(),
        }
    }

    /// Lets a request in: at once while the engine is up; else, where it is started by requests, after waiting for it.
    ///
    /// # Errors
    /// [`EngineError::NotReady`] when it is down, or was not ready in the time that its start may take.
    pub async fn enter(&self) -> Result<Lease, EngineError> {
        if let Some(lease) = self.gate.enter() {
            return Ok(lease);
        }
        let began = Instant::now();
        let mut state = self.state.subscribe();
        let _waiting = self.gate.wait();
        let came = async {
            loop {
                if let Some(lease) = self.gate.enter() {
                    return Some(lease);
                }
                if !state.borrow_and_update().takes_requests() || state.changed().await.is_err() {
                    return None;
                }
            }
        };
        match tokio::time::timeout(self.spec().ready_timeout, came).await {
            Ok(Some(lease)) => Ok(lease),
            Ok(None) | Err(_) => Err(self.not_ready(began)),
        }
    }

    fn not_ready(&self, began: Instant) -> EngineError {
        let reason = self.state.borrow().describe();
        EngineError::NotReady { name: self.name.clone(), waited: began.elapsed(), reason }
    }

    /// Waits until the engine answers.
    ///
    /// # Errors
    /// [`EngineError::NotReady`] when `timeout` passes first, or as soon as the engine is reported as failed.
    pub async fn ready(&self, timeout: Duration) -> Result<(), EngineError> {
        let began = Instant::now();
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|s| matches!(s, State::Up | State::Failed { .. }));
        let up = matches!(tokio::time::timeout(timeout, settled).await, Ok(Ok(s)) if matches!(*s, State::Up));
        if up { Ok(()) } else { Err(self.not_ready(began)) }
    }

    /// Runs something else from now on. A process that is up goes on until the new one answers, if both fit into memory;
    /// else it ends first, and requests wait. A new one that does not start leaves the old one in its place.
    pub fn replace(&self, spec: EngineSpec) {
        *self.spec.write() = Arc::new(spec);
        self.replaced.send_modify(|times| *times += 1);
    }

    /// Tells the process to end as [`Engine::stop`] does, without waiting.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops the process and waits until it is gone: first by closing its stdin, after a grace by force.
    pub async fn stop(&self) {
        self.begin_stop();
        let mut stopped = self.stopped.subscribe();
        // An error means the task was aborted, and with it the child.
        drop(stopped.wait_for(|gone| *gone).await);
    }

    /// Asks the process that takes requests to make room: one started after it may have failed, or not be there yet.
    fn evict(&self) {
        if let Some(run) = self.gate.run() {
            self.evict.send_replace(run.number);
        }
    }

    /// Whether its memory will be given back without anybody asking again.
    fn leaving(&self) -> bool {
        let evicted = self.gate.run().is_some_and(|run| run.number == *self.evict.borrow());
        match *self.state.borrow() {
            State::Draining => true,
            State::Up => evicted,
            _ => false,
        }
    }

    fn set_state(&self, state: State) {
        if !matches!(state, State::Up) {
            self.emptied();
        }
        self.state.send_replace(state);
    }

    /// No request is counted any more; the speeds are kept.
    fn emptied(&self) {
        let mut polled = self.polled.lock();
        let stats = Stats {
            active: 0,
            queue_depth: 0,
            kv_used_ratio: 0.0,
            predicted_wait_seconds: 0.0,
            ..polled.stats
        };
        *polled = Polled { stats, inside: 0 };
    }
}
