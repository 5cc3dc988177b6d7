//! One run of an engine, from the start of its process to the end of it or of the last that replaced it.

use super::ceiling::Claim;
use super::child::Worker;
use super::gate::Run;
use super::task::asked_to_stop;
use super::{Address, Engine, EngineSpec, Polled, Program, State, probe};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Between two questions whether a starting process is ready.
const READY_POLL: Duration = Duration::from_millis(50);
/// Between two looks at the figures of a running worker.
const STATS_POLL: Duration = Duration::from_millis(250);
/// Between two looks at the health of a foreign server.
const HEALTH_POLL: Duration = Duration::from_secs(2);
/// So many unanswered looks in a row mean that the process hangs and must be killed.
const HUNG_AFTER: u32 = 4;

/// How a run ended.
pub(super) enum Ending {
    /// It was asked to stop and has.
    Stopped,
    /// Nobody needed it, or others needed its memory more.
    Unloaded,
    /// It never answered.
    FailedStart(String),
    /// It answered for a while and then died.
    Died { reason: String, up_for: Duration },
}

/// A process that answers, or is about to.
struct Live {
    worker: Worker,
    run: Arc<Run>,
    spec: Arc<EngineSpec>,
    /// Given back when the process has ended.
    _claim: Claim,
}

/// Starts the engine's process and stays with it and its successors until the last has ended.
pub(super) async fn run(
    engine: &Arc<Engine>,
    claim: Claim,
    stop: &mut watch::Receiver<bool>,
    retiring: &mut JoinSet<()>,
) -> Ending {
    let mut replaced = engine.replaced.subscribe();
    let mut live = match load(engine, claim, stop).await {
        Ok(live) => live,
        Err(ending) => return ending,
    };
    open(engine, &live);
    let mut evict = engine.evict.subscribe();
    loop {
        let (run, spec) = (Arc::clone(&live.run), Arc::clone(&live.spec));
        tokio::select! {
            reason = live.worker.ended(engine.name()) => return died(engine, &live, reason),
            () = asked_to_stop(stop) => {
                engine.gate.close();
                live.worker.stop(engine.name()).await;
                return Ending::Stopped;
            }
            reason = watch_over(engine, &run.address, &spec) => {
                engine.gate.close();
                // Ending it may take seconds, in which no request should wait for it.
                engine.set_state(State::Down { reason: reason.clone(), retry_at: Instant::now() });
                live.worker.kill(engine.name()).await;
                return died(engine, &live, reason);
            }
            () = unused(engine, &run, spec.idle_unload) => {
                if engine.gate.close_if_unused(&live.run) {
                    engine.set_state(State::Draining);
                    live.worker.stop(engine.name()).await;
                    return Ending::Unloaded;
                }
            }
            () = evicted(&mut evict, run.number) => {
                engine.gate.close();
                engine.set_state(State::Draining);
                return if retire(&engine.name, live, stop).await { Ending::Stopped } else { Ending::Unloaded };
            }
            changed = replaced.changed() => {
                drop(changed);
                live = match replace(engine, live, stop, retiring).await {
                    Ok(live) => live,
                    Err(ending) => return ending,
                };
            }
        }
    }
}

fn died(engine: &Engine, live: &Live, reason: String) -> Ending {
    engine.gate.close();
    Ending::Died { reason, up_for: live.run.since.elapsed() }
}

/// Requests are sent to this process from now on.
fn open(engine: &Engine, live: &Live) {
    engine.gate.open(Arc::clone(&live.run));
    engine.emptied();
    engine.set_state(State::Up);
}

/// Starts a process and waits until it answers.
async fn load(engine: &Engine, claim: Claim, stop: &mut watch::Receiver<bool>) -> Result<Live, Ending> {
    let (began, spec) = (Instant::now(), engine.spec());
    let number = engine.number.fetch_add(1, Ordering::Relaxed) + 1;
    let failed = |what: &str, error: io::Error| Ending::FailedStart(format!("{what}: {error}"));
    let address = spec.address(number).map_err(|error| failed("no port is free", error))?;
    prepare(&spec, &address).await.map_err(|error| failed("its socket directory cannot be used", error))?;
    let mut worker = Worker::spawn(&spec, &address).map_err(|error| failed("it cannot be started", error))?;
    let late = tokio::select! {
        reason = worker.ended(engine.name()) => return Err(Ending::FailedStart(reason)),
        () = asked_to_stop(stop) => {
            worker.stop(engine.name()).await;
            return Err(Ending::Stopped);
        }
        () = answers(&address, spec.health()) => false,
        () = tokio::time::sleep(spec.ready_timeout) => true,
    };
    if late {
        let words = worker.last_lines();
        worker.kill(engine.name()).await;
        let waited = spec.ready_timeout.as_secs();
        let reason = format!("it was not ready after {waited} s (ready_timeout_s); it said last: {words}");
        return Err(Ending::FailedStart(reason));
    }
    let load_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    engine.load_ms.store(load_ms.max(1), Ordering::Relaxed);
    tracing::info!(engine = engine.name(), load_ms, "engine up");
    Ok(Live { worker, run: Arc::new(Run::new(number, address)), spec, _claim: claim })
}

/// Puts a process of the new spec in the place of this one.
async fn replace(
    engine: &Arc<Engine>,
    mut old: Live,
    stop: &mut watch::Receiver<bool>,
    retiring: &mut JoinSet<()>,
) -> Result<Live, Ending> {
    let spec = engine.spec();
    if *old.spec == *spec {
        return Ok(old);
    }
    tracing::info!(engine = engine.name(), "changing over to what is configured now");
    let Some(claim) = engine.ceiling.try_claim(spec.memory_bytes) else {
        return swap(engine, old, stop).await;
    };
    let mut loading_stop = engine.stop.subscribe();
    let loading = load(engine, claim, &mut loading_stop);
    tokio::pin!(loading);
    let (loaded, death) = tokio::select! {
        loaded = &mut loading => (loaded, None),
        reason = old.worker.ended(engine.name()) => {
            engine.gate.close();
            engine.set_state(State::Starting { since: Instant::now(), asked: false });
            (loading.await, Some(reason))
        }
    };
    match (loaded, death) {
        (Ok(new), _) => {
            open(engine, &new);
            let mut stop = engine.stop.subscribe();
            let name = engine.name().to_owned();
            retiring.spawn(async move {
                retire(&name, old, &mut stop).await;
            });
            while retiring.try_join_next().is_some() {}
            Ok(new)
        }
        (Err(Ending::FailedStart(reason)), None) => {
            tracing::error!(engine = engine.name(), %reason, "what is configured now does not start; the old process stays");
            Ok(old)
        }
        (Err(Ending::Stopped), _) => {
            engine.gate.close();
            old.worker.stop(engine.name()).await;
            Err(Ending::Stopped)
        }
        (Err(ending), _) => Err(ending),
    }
}

/// The same where memory has room for one only: the old process ends first, and requests wait.
async fn swap(engine: &Engine, old: Live, stop: &mut watch::Receiver<bool>) -> Result<Live, Ending> {
    engine.gate.close();
    engine.set_state(State::Draining);
    if retire(&engine.name, old, stop).await {
        return Err(Ending::Stopped);
    }
    engine.set_state(State::Starting { since: Instant::now(), asked: true });
    let bytes = engine.spec().memory_bytes;
    if let Some(reason) = engine.ceiling.objection(bytes) {
        return Err(Ending::FailedStart(reason));
    }
    let claim = tokio::select! {
        claim = engine.ceiling.claim(bytes, engine.name()) => claim,
        () = asked_to_stop(stop) => return Err(Ending::Stopped),
    };
    let new = load(engine, claim, stop).await?;
    open(engine, &new);
    Ok(new)
}

/// Lets a closed process finish what it has, and ends it; at once if told to stop, which is returned.
async fn retire(name: &str, mut live: Live, stop: &mut watch::Receiver<bool>) -> bool {
    let run = Arc::clone(&live.run);
    let told = tokio::select! {
        () = run.quiet() => false,
        _ = live.worker.ended(name) => false,
        () = asked_to_stop(stop) => true,
    };
    live.worker.stop(name).await;
    told
}

/// Resolves when the process of this number should make room.
async fn evicted(evict: &mut watch::Receiver<u64>, number: u64) {
    drop(evict.wait_for(|evict| *evict == number).await);
}

/// Resolves when the process was not used for as long as the spec allows.
async fn unused(engine: &Engine, run: &Run, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        run.quiet().await;
        let due = engine.gate.last_used() + limit;
        if due <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(due.into()).await;
    }
}

/// Makes the sockets' directory for the owner alone, and removes a socket left by an earlier gateway.
async fn prepare(spec: &EngineSpec, address: &Address) -> io::Result<()> {
    let Address::Unix(_) = address else { return Ok(()) };
    let mut builder = tokio::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&spec.socket_dir).await?;
    remove_socket(address).await;
    let kept = matches!(&spec.program, Program::Embedded(embedded) if embedded.slot_save_mb.is_some());
    if !kept {
        // What was said stays on disk no longer than it is wanted there.
        remove_file(&spec.slot_file(), "saved prefixes").await;
    }
    Ok(())
}

async fn remove_socket(address: &Address) {
    if let Address::Unix(socket) = address {
        remove_file(socket, "a stale socket").await;
    }
}

async fn remove_file(file: &Path, what: &str) {
    match tokio::fs::remove_file(file).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %file.display(), %error, "{what} cannot be removed");
        }
        _ => {}
    }
}

/// Returns once the process says that it is ready.
async fn answers(address: &Address, path: &str) {
    while probe::health(address, path).await.is_err() {
        tokio::time::sleep(READY_POLL).await;
    }
}

/// Polls the process; returns only when it has stopped answering.
async fn watch_over(engine: &Engine, address: &Address, spec: &EngineSpec) -> String {
    let (worker, pause) = match spec.program {
        Program::Embedded(_) => (true, STATS_POLL),
        Program::Command(_) => (false, HEALTH_POLL),
    };
    let mut missed = 0;
    loop {
        let inside = engine.gate.inside();
        let looked = if worker {
            probe::stats(address).await.map(|stats| *engine.polled.lock() = Polled { stats, inside })
        } else {
            probe::health(address, spec.health()).await
        };
        match looked {
            Ok(()) => missed = 0,
            Err(error) => {
                missed += 1;
                tracing::debug!(engine = engine.name(), %error, missed, "it does not say how it is");
                if missed >= HUNG_AFTER {
                    return format!("it hangs: {error}");
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}
