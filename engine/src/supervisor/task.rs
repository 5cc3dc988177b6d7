//! The supervising task: a loop of runs, each from start to end.

use super::backoff::Backoff;
use super::ceiling::Claim;
use super::run::{self, Ending};
use super::{Engine, Start, State, Trouble};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Tells [`Engine::stop`] that the child is gone, however this task ends.
struct Gone<'a>(&'a watch::Sender<bool>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Runs the engine whenever it is due, until told to stop.
pub(super) async fn supervise(engine: Arc<Engine>) {
    let _gone = Gone(&engine.stopped);
    let mut stop = engine.stop.subscribe();
    let mut replaced = engine.replaced.subscribe();
    let mut backoff = Backoff::default();
    // Processes that were replaced and finish what they have.
    let mut retiring = JoinSet::new();
    let mut due = engine.spec().start == Start::Boot;
    loop {
        let asked = !due;
        if !due {
            engine.set_state(State::Stopped);
            tokio::select! {
                () = engine.gate.wanted() => {}
                () = asked_to_stop(&mut stop) => break,
            }
        }
        replaced.mark_unchanged();
        let ending = match claim(&engine, asked, &mut stop).await {
            Claimed::Room(claim) => run::run(&engine, claim, &mut stop, &mut retiring).await,
            Claimed::Full => {
                tracing::info!(
                    engine = engine.name(),
                    "no room for it yet: it is started when it is asked for"
                );
                due = false;
                continue;
            }
            Claimed::Never(reason) => Ending::FailedStart(reason),
            Claimed::Stopped => break,
        };
        engine.gate.close();
        let (reason, delay) = match ending {
            Ending::Stopped => break,
            Ending::Unloaded => {
                tracing::info!(engine = engine.name(), "engine unloaded");
                due = false;
                continue;
            }
            Ending::FailedStart(reason) => (reason, backoff.failed_start()),
            Ending::Died { reason, up_for } => {
                // What was replaced meanwhile is what ran.
                replaced.mark_unchanged();
                (reason, backoff.died(up_for))
            }
        };
        due = true;
        tell_down(&engine, reason, delay, &backoff);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            // What failed is not what will be started.
            () = changed_over(&mut replaced) => backoff = Backoff::default(),
            () = asked_to_stop(&mut stop) => break,
        }
        engine.restarts.fetch_add(1, Ordering::Relaxed);
    }
    engine.gate.close();
    engine.set_state(State::Failed { reason: "stopped".to_owned() });
    while retiring.join_next().await.is_some() {}
}

fn tell_down(engine: &Engine, reason: String, delay: Duration, backoff: &Backoff) {
    let trouble = Trouble::of(&reason);
    let never_up = backoff.hopeless() || (backoff.failing() && trouble.lasts());
    tracing::warn!(engine = engine.name(), %reason, retry_ms = delay.as_millis() as u64, "engine down");
    engine.set_state(if never_up {
        State::Failed { reason }
    } else {
        State::Down { reason, retry_at: Instant::now() + delay }
    });
}

/// What came of the wish for memory.
enum Claimed {
    Room(Claim),
    /// Others have it, and nobody waits for this engine.
    Full,
    /// There will never be enough.
    Never(String),
    /// Told to stop meanwhile.
    Stopped,
}

/// Claims the memory for a start, which a request asked for or not. Only requests that wait push another engine out.
async fn claim(engine: &Engine, asked: bool, stop: &mut watch::Receiver<bool>) -> Claimed {
    let bytes = engine.spec().memory_bytes;
    if let Some(reason) = engine.ceiling.objection(bytes) {
        return Claimed::Never(reason);
    }
    // A failed engine stays reported as failed while another try is under way.
    if !matches!(*engine.state.borrow(), State::Failed { .. }) {
        engine.set_state(State::Starting { since: Instant::now(), asked });
    }
    if engine.gate.waiting() == 0 {
        return engine.ceiling.try_claim(bytes).map_or(Claimed::Full, Claimed::Room);
    }
    tokio::select! {
        biased;
        claim = engine.ceiling.claim(bytes, engine.name()) => Claimed::Room(claim),
        // Whoever asked for it is gone: nobody else shall make room for it now.
        () = engine.gate.unwanted() => Claimed::Full,
        () = asked_to_stop(stop) => Claimed::Stopped,
    }
}

async fn changed_over(replaced: &mut watch::Receiver<u64>) {
    // As below: the sender cannot be gone.
    drop(replaced.changed().await);
}

pub(super) async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    // The sender lives in the engine this task holds, so an error cannot happen; it would mean stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}

#[cfg(test)]
mod tests {
    use super::super::{Ceiling, CommandLine, EngineSpec, Program};
    use super::*;
    use std::path::PathBuf;

    /// A program that is not there.
    fn spec(exe: &str) -> EngineSpec {
        let program = Program::Command(CommandLine {
            exe: PathBuf::from(exe),
            command: vec!["server".to_owned()],
            env: Vec::new(),
            health: "/health".to_owned(),
        });
        EngineSpec {
            name: "absent".to_owned(),
            program,
            socket_dir: PathBuf::new(),
            start: Start::Boot,
            idle_unload: None,
            ready_timeout: Duration::from_secs(1),
            memory_bytes: 0,
            stamp: 0,
        }
    }

    async fn failures(engine: &Engine, count: u64) {
        while engine.restarts() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_is_replaced_after_failures_is_tried_at_once() {
        let mut tasks = JoinSet::new();
        let ceiling = Ceiling::new(None, Duration::ZERO);
        let engine = Engine::start(spec("/absent/one"), &ceiling, &mut tasks);
        // The next tries would be after 1.6 s and another 3.2 s.
        failures(&engine, 4).await;
        assert!(matches!(engine.state(), State::Failed { .. }), "{:?}", engine.state());
        let began = Instant::now();
        engine.replace(spec("/absent/two"));
        failures(&engine, 6).await;
        let waited = began.elapsed();
        assert!(
            waited < Duration::from_millis(1500),
            "{waited:?}: at once, and then after a tenth of a second"
        );
        engine.stop().await;
    }
}
