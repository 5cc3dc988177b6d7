//! The memory that all local engines together may take.
//!
//! An engine claims what it is taken to need before it is started and gives it back when it has ended. Where there is no
//! room, the least valuable engine makes some: first one that nobody uses, of those the one unused longest. None is
//! asked before it has been up for a least time, so that two models that are asked for in turn do not push each other out
//! with every request; and none is cut: it takes no more requests, and ends when the last one has.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Engine;

/// Until an engine that should make room is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The shared limit.
#[derive(Debug)]
pub struct Ceiling {
    /// Bytes; `None` = no limit.
    limit: Option<u64>,
    /// Least time an engine stays before another one may push it out.
    residence: Duration,
    claimed: watch::Sender<u64>,
    engines: Mutex<Vec<Weak<Engine>>>,
}

/// Memory that one process is taken to need.
#[derive(Debug)]
pub(super) struct Claim {
    ceiling: Arc<Ceiling>,
    bytes: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ceiling.claimed.send_modify(|claimed| *claimed = claimed.saturating_sub(self.bytes));
    }
}

impl Ceiling {
    /// A limit in bytes, or none, and the least time that an engine stays.
    #[must_use]
    pub fn new(limit: Option<u64>, residence: Duration) -> Arc<Ceiling> {
        Arc::new(Ceiling { limit, residence, claimed: watch::Sender::new(0), engines: Mutex::default() })
    }

    pub(super) fn register(&self, engine: &Arc<Engine>) {
        self.engines.lock().push(Arc::downgrade(engine));
    }

    /// Why so much can never be had.
    pub(super) fn objection(&self, bytes: u64) -> Option<String> {
        let limit = self.limit.filter(|limit| bytes > *limit)?;
        Some(format!(
            "it needs about {} MB of memory, and [engines] memory_mb = {} allows less",
            megabytes(bytes),
            megabytes(limit)
        ))
    }

    /// The memory, if there is room for it now.
    pub(super) fn try_claim(self: &Arc<Ceiling>, bytes: u64) -> Option<Claim> {
        let fits = |claimed: u64| self.limit.is_none_or(|limit| claimed.saturating_add(bytes) <= limit);
        let taken = self.claimed.send_if_modified(|claimed| {
            let fits = fits(*claimed);
            if fits {
                *claimed = claimed.saturating_add(bytes);
            }
            fits
        });
        taken.then(|| Claim { ceiling: Arc::clone(self), bytes })
    }

    /// Waits until there is room, and sees to it that there will be.
    pub(super) async fn claim(self: &Arc<Ceiling>, bytes: u64, name: &str) -> Claim {
        let mut claimed = self.claimed.subscribe();
        loop {
            claimed.mark_unchanged();
            if let Some(claim) = self.try_claim(bytes) {
                return claim;
            }
            let wait = self.make_room(bytes, name);
            tokio::select! {
                changed = claimed.changed() => drop(changed),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Asks engines to end until there will be room; returns when to look again.
    fn make_room(&self, bytes: u64, name: &str) -> Duration {
        let limit = self.limit.unwrap_or(u64::MAX);
        let mut engines: Vec<Arc<Engine>> = self.engines.lock().iter().filter_map(Weak::upgrade).collect();
        engines.retain(|engine| engine.name() != name && (engine.leaving() || engine.gate.run().is_some()));
        let (leaving, mut staying): (Vec<_>, Vec<_>) =
            engines.into_iter().partition(|engine| engine.leaving());
        // The least valuable first: unused before used, then by when it was last used.
        staying.sort_by_key(|engine| {
            (engine.gate.run().is_some_and(|run| run.active() > 0), engine.gate.last_used())
        });
        let bytes_of = |engine: &Arc<Engine>| engine.spec().memory_bytes;
        let mut claimed = self.claimed.borrow().saturating_sub(leaving.iter().map(bytes_of).sum());
        let mut wait = LOOK_AGAIN;
        for engine in staying {
            if claimed.saturating_add(bytes) <= limit {
                break;
            }
            let stayed = engine.gate.run().map_or(Duration::MAX, |run| run.since.elapsed());
            if stayed < self.residence {
                wait = wait.min(self.residence - stayed);
                continue;
            }
            tracing::info!(engine = engine.name(), for_engine = name, "unloading to make room");
            engine.evict();
            claimed = claimed.saturating_sub(bytes_of(&engine));
        }
        wait.max(Duration::from_millis(10))
    }

    /// How long an engine of this size would wait for room now, as far as the least time of staying decides it.
    pub(super) fn expected_wait(&self, bytes: u64, name: &str) -> Duration {
        let Some(limit) = self.limit else { return Duration::ZERO };
        if self.claimed.borrow().saturating_add(bytes) <= limit {
            return Duration::ZERO;
        }
        let engines: Vec<Arc<Engine>> = self.engines.lock().iter().filter_map(Weak::upgrade).collect();
        let others = engines.iter().filter(|engine| engine.name() != name);
        let now = Instant::now();
        let left = others
            .filter_map(|engine| engine.gate.run())
            .map(|run| (run.since + self.residence).saturating_duration_since(now));
        left.min().unwrap_or_default()
    }
}

/// Rounded up.
pub(super) fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_stay_below_the_limit_and_come_back() {
        let ceiling = Ceiling::new(Some(10_000_000), Duration::ZERO);
        let first = ceiling.try_claim(6_000_000).unwrap();
        assert!(ceiling.try_claim(5_000_000).is_none());
        let second = ceiling.try_claim(4_000_000).unwrap();
        drop(first);
        assert!(ceiling.try_claim(6_000_000).is_some());
        drop(second);
        assert!(ceiling.objection(10_000_000).is_none());
        assert!(ceiling.objection(10_000_001).unwrap().contains("about 11 MB of memory"));
        assert!(Ceiling::new(None, Duration::ZERO).try_claim(u64::MAX).is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_what_another_gives_back() {
        let ceiling = Ceiling::new(Some(10), Duration::ZERO);
        let held = ceiling.try_claim(8).unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        let asked = Arc::clone(&ceiling);
        waiting.spawn(async move { asked.claim(5, "late").await.bytes });
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(waiting.join_next().await.unwrap().unwrap(), 5);
    }
}
