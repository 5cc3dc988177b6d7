//! Keeps one engine's worker process running: starts it, waits until it answers, polls its figures, restarts it with
//! backoff when it dies, and stops it in the end.
//!
//! Invariants: at most one child per [`Engine`] at a time; the child never outlives the supervisor (it is killed on
//! drop, and exits by itself when the pipe on its stdin closes); nothing here blocks the async runtime. Backoff: a
//! worker that dies after it was up comes back after 0.1 s, doubling to at most 2 s while it keeps dying within 10 s;
//! one that never comes up waits 0.1 s doubling to 30 s, and is reported as failed (though still tried) from the
//! sixth try on.

mod backoff;
mod child;
mod probe;
mod task;

use crate::{EngineError, Stats};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// The engine's name in the configuration; also names its socket.
    pub name: String,
    /// The program to start: the `tollgate` binary itself.
    pub exe: PathBuf,
    /// The GGUF file.
    pub model: PathBuf,
    /// Compute threads; `None` lets the worker choose.
    pub threads: Option<usize>,
    /// Tokens of context for each request.
    pub context: u32,
    /// Requests worked on at once.
    pub parallel: u32,
    /// Where the socket goes; made with owner-only access when missing.
    pub socket_dir: PathBuf,
}

/// Where an engine is in its life.
#[derive(Clone, Debug)]
pub enum State {
    /// The process runs but does not answer yet (a model is being loaded).
    Starting {
        /// When it was started.
        since: Instant,
    },
    /// It answers.
    Up,
    /// It is not running; another try is planned.
    Down {
        /// Why, with the worker's last words.
        reason: String,
        /// When the next try is due.
        retry_at: Instant,
    },
    /// It never came up in several tries, or was stopped. Still tried once in a while unless stopped.
    Failed {
        /// Why, with the worker's last words.
        reason: String,
    },
}

impl State {
    /// One line about the state for messages.
    fn describe(&self) -> String {
        match self {
            State::Starting { since } => format!("starting for {:.1} s", since.elapsed().as_secs_f64()),
            State::Up => "up".to_owned(),
            State::Down { reason, .. } | State::Failed { reason } => reason.clone(),
        }
    }
}

/// A supervised engine. Cheap to share; the work is done by a task in the caller's [`JoinSet`].
#[derive(Debug)]
pub struct Engine {
    spec: EngineSpec,
    socket: PathBuf,
    state: watch::Sender<State>,
    stop: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    restarts: AtomicU64,
    stats: Mutex<Stats>,
}

impl Engine {
    /// Starts supervising; returns at once. The task ends after [`Engine::stop`], and killing it kills the worker.
    pub fn start(spec: EngineSpec, tasks: &mut JoinSet<()>) -> Arc<Engine> {
        let socket = spec.socket_dir.join(format!("{}.sock", child::socket_name(&spec.name)));
        let engine = Arc::new(Engine {
            socket,
            spec,
            state: watch::Sender::new(State::Starting { since: Instant::now() }),
            stop: watch::Sender::new(false),
            stopped: watch::Sender::new(false),
            restarts: AtomicU64::new(0),
            stats: Mutex::new(Stats::default()),
        });
        tasks.spawn(task::supervise(Arc::clone(&engine)));
        engine
    }

    /// The engine's name in the configuration.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The Unix socket on which the worker answers while it is up.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the engine is in its life.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Whether the worker answers.
    pub fn up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up)
    }

    /// How often the worker was started again after its first start.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// The figures last polled; all zero while the engine is down.
    pub fn stats(&self) -> Stats {
        *self.stats.lock()
    }

    /// Waits until the engine answers.
    ///
    /// # Errors
    /// [`EngineError::NotReady`] when `timeout` passes first, or as soon as the engine is reported as failed.
    pub async fn ready(&self, timeout: Duration) -> Result<(), EngineError> {
        let begun = Instant::now();
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|s| matches!(s, State::Up | State::Failed { .. }));
        let reason = match tokio::time::timeout(timeout, settled).await {
            Ok(Ok(state)) if matches!(*state, State::Up) => return Ok(()),
            Ok(Ok(state)) => state.describe(),
            Ok(Err(_)) | Err(_) => self.state.borrow().describe(),
        };
        Err(EngineError::NotReady { name: self.spec.name.clone(), waited: begun.elapsed(), reason })
    }

    /// Stops the worker and waits until it is gone: first by closing its stdin, after a grace by force.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut stopped = self.stopped.subscribe();
        // An error means the task was aborted, and with it the child.
        drop(stopped.wait_for(|gone| *gone).await);
    }

    fn set_state(&self, state: State) {
        if !matches!(state, State::Up) {
            *self.stats.lock() = Stats::default();
        }
        self.state.send_replace(state);
    }
}
