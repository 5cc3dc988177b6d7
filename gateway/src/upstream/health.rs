//! How an engine is doing: what routing, readiness and metrics read of it.

use std::time::Duration;

use tollgate_engine::Stats;
use tollgate_engine::supervisor::{State, Trouble};
use tollgate_router::Live;

use super::Upstream;
use crate::metrics::EngineGauge;

impl Upstream {
    /// Whether requests can be sent to it.
    #[must_use]
    pub fn up(&self) -> bool {
        self.rested()
            && self.worker().is_none_or(|worker| worker.takes_requests())
            && (self.worker().is_some() || self.probe.as_ref().is_none_or(|probe| probe.answers()))
    }

    /// Whether it is not being left alone for its failures.
    fn rested(&self) -> bool {
        self.breaker.closed(self.worker().map_or(0, |worker| worker.number()))
    }

    /// Why it cannot be used, without anything that stays in the log; `None` if it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let known = match self.worker().map(|worker| worker.state()) {
            None if self.up() => None,
            None if self.rested() => Some("does not answer".to_owned()),
            None => Some("fails at present".to_owned()),
            Some(State::Starting { asked: false, .. }) => Some("is starting".to_owned()),
            Some(State::Down { reason, .. }) => match Trouble::of(&reason) {
                Trouble::Other => Some("is down and will be started again".to_owned()),
                trouble => Some(format!("is down: {}", trouble.public())),
            },
            Some(State::Failed { reason }) => {
                Some(format!("does not start: {}", Trouble::of(&reason).public()))
            }
            Some(_) => None,
        };
        known.or_else(|| (!self.rested()).then(|| "fails at present".to_owned()))
    }

    /// One word for where it is in its life.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.worker() {
            Some(worker) => worker.state().word(),
            None if self.up() => "up",
            None => "down",
        }
    }

    /// Whether its process is being started for the first time, which a new gateway waits for before it is ready.
    #[must_use]
    pub fn beginning(&self) -> bool {
        self.worker().is_some_and(|worker| {
            worker.restarts() == 0 && matches!(worker.state(), State::Starting { asked: false, .. })
        })
    }

    /// Its load and speed as last seen.
    fn stats(&self) -> Stats {
        match (&self.probe, self.worker()) {
            (Some(probe), _) => probe.stats(),
            (None, Some(worker)) => worker.stats(),
            (None, None) => Stats::default(),
        }
    }

    /// The same with the requests that this gateway has sent since, or had answered.
    fn load(&self) -> Stats {
        match (&self.probe, self.worker()) {
            (Some(probe), _) => probe.load(),
            (None, Some(worker)) => worker.load(),
            (None, None) => Stats::default(),
        }
    }

    /// What the router weighs it by.
    #[must_use]
    pub fn live(&self) -> Live {
        let stats = self.load();
        let ready_in = self.worker().map_or(Duration::ZERO, |worker| worker.ready_in());
        Live {
            up: self.up(),
            queue_depth: stats.ahead(),
            wait_ms: Duration::try_from_secs_f64(stats.predicted_wait_seconds)
                .map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            tokens_per_second: stats.tokens_per_second,
            prompt_tokens_per_second: stats.prompt_tokens_per_second,
            slots: stats.slots,
            ready_ms: u64::try_from(ready_in.as_millis()).unwrap_or(u64::MAX),
            ..Live::default()
        }
    }

    /// What a scrape shows of it.
    #[must_use]
    pub fn gauge(&self) -> EngineGauge {
        let stats = self.stats();
        EngineGauge {
            up: self.up(),
            state: self.state(),
            queue_depth: stats.queue_depth,
            wait_seconds: stats.predicted_wait_seconds,
            tokens_per_second: stats.tokens_per_second,
            kv_used_ratio: stats.kv_used_ratio,
            restarts: self.worker().map_or(0, |worker| worker.restarts()),
        }
    }
}
