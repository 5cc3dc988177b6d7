//! The supervising task: a loop of runs, each from start to death.

use super::backoff::Backoff;
use super::child::Worker;
use super::{Engine, State, probe};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two questions whether a starting worker is ready.
const READY_POLL: Duration = Duration::from_millis(50);
/// Between two looks at the figures of a running worker.
const STATS_POLL: Duration = Duration::from_millis(250);
/// So many unanswered looks in a row mean that the worker hangs and must be killed.
const HUNG_AFTER: u32 = 4;

/// How a run ended.
enum Ending {
    /// It was asked to stop and has.
    Stopped,
    /// It never answered.
    FailedStart(String),
    /// It answered for a while and then died.
    Died { reason: String, up_for: Duration },
}

/// Tells [`Engine::stop`] that the child is gone, however this task ends.
struct Gone<'a>(&'a watch::Sender<bool>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Runs the worker again and again until told to stop.
pub(super) async fn supervise(engine: Arc<Engine>) {
    let _gone = Gone(&engine.stopped);
    let mut stop = engine.stop.subscribe();
    let mut backoff = Backoff::default();
    loop {
        let ending = run_once(&engine, &mut stop).await;
        remove_socket(&engine.socket).await;
        let (reason, delay) = match ending {
            Ending::Stopped => break,
            Ending::FailedStart(reason) => (reason, backoff.failed_start()),
            Ending::Died { reason, up_for } => (reason, backoff.died(up_for)),
        };
        tracing::warn!(engine = engine.name(), %reason, retry_ms = delay.as_millis() as u64, "engine down");
        engine.set_state(if backoff.hopeless() {
            State::Failed { reason }
        } else {
            State::Down { reason, retry_at: Instant::now() + delay }
        });
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = asked_to_stop(&mut stop) => break,
        }
        engine.restarts.fetch_add(1, Ordering::Relaxed);
    }
    engine.set_state(State::Failed { reason: "stopped".to_owned() });
}

async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    // The sender lives in the engine this task holds, so an error cannot happen; it would mean stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}

/// One run from start to death.
async fn run_once(engine: &Engine, stop: &mut watch::Receiver<bool>) -> Ending {
    let began = Instant::now();
    // A failed engine stays reported as failed while another try is under way.
    if !matches!(*engine.state.borrow(), State::Failed { .. }) {
        engine.set_state(State::Starting { since: began });
    }
    if let Err(error) = prepare(engine).await {
        return Ending::FailedStart(format!("its socket directory cannot be used: {error}"));
    }
    let mut worker = match Worker::spawn(&engine.spec, &engine.socket) {
        Ok(worker) => worker,
        Err(error) => {
            return Ending::FailedStart(format!("{} cannot be started: {error}", engine.spec.exe.display()));
        }
    };
    tokio::select! {
        reason = worker.ended(engine.name()) => return Ending::FailedStart(reason),
        () = asked_to_stop(stop) => {
            worker.stop(engine.name()).await;
            return Ending::Stopped;
        }
        () = answers(&engine.socket) => {}
    }
    let up = Instant::now();
    tracing::info!(engine = engine.name(), load_ms = began.elapsed().as_millis() as u64, "engine up");
    engine.set_state(State::Up);
    tokio::select! {
        reason = worker.ended(engine.name()) => Ending::Died { reason, up_for: up.elapsed() },
        () = asked_to_stop(stop) => {
            worker.stop(engine.name()).await;
            Ending::Stopped
        }
        reason = watch_figures(engine) => {
            worker.kill().await;
            Ending::Died { reason, up_for: up.elapsed() }
        }
    }
}

/// Makes the socket's directory for the owner alone, and removes a socket left by an earlier run.
async fn prepare(engine: &Engine) -> io::Result<()> {
    let mut builder = tokio::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&engine.spec.socket_dir).await?;
    remove_socket(&engine.socket).await;
    Ok(())
}

async fn remove_socket(socket: &Path) {
    match tokio::fs::remove_file(socket).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(socket = %socket.display(), %error, "a stale socket cannot be removed");
        }
        _ => {}
    }
}

/// Returns once the worker says that it is ready. Without a limit: a large model may load for minutes, and a worker
/// that gives up ends, which is noticed elsewhere.
async fn answers(socket: &Path) {
    while probe::health(socket).await.is_err() {
        tokio::time::sleep(READY_POLL).await;
    }
}

/// Polls the figures; returns only when the worker has stopped answering.
async fn watch_figures(engine: &Engine) -> String {
    let mut missed = 0;
    loop {
        match probe::stats(&engine.socket).await {
            Ok(stats) => {
                *engine.stats.lock() = stats;
                missed = 0;
            }
            Err(error) => {
                missed += 1;
                tracing::debug!(engine = engine.name(), %error, missed, "no figures");
                if missed >= HUNG_AFTER {
                    return format!("the worker hangs: {error}");
                }
            }
        }
        tokio::time::sleep(STATS_POLL).await;
    }
}
