//! How an engine is doing: what routing and metrics read of it.

use tollgate_engine::supervisor::State;
use tollgate_router::Live;

use super::Upstream;
use crate::metrics::EngineGauge;

impl Upstream {
    /// Whether requests can be sent to it.
    #[must_use]
    pub fn up(&self) -> bool {
        self.breaker.closed() && self.worker.as_ref().is_none_or(|worker| worker.up())
    }

    /// Why it cannot be used; `None` if it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if let Some(worker) = &self.worker {
            return match worker.state() {
                State::Up if self.breaker.closed() => None,
                State::Up => Some("fails at present".to_owned()),
                State::Starting { .. } => Some("is starting".to_owned()),
                State::Down { .. } => Some("is down and will be started again".to_owned()),
                State::Failed { .. } => Some("does not start; the log says why".to_owned()),
            };
        }
        if self.breaker.closed() { None } else { Some("fails at present".to_owned()) }
    }

    /// Whether its worker is being started for the first time, which a new gateway waits for before it is ready.
    #[must_use]
    pub fn beginning(&self) -> bool {
        self.worker
            .as_ref()
            .is_some_and(|worker| worker.restarts() == 0 && matches!(worker.state(), State::Starting { .. }))
    }

    /// What the router weighs it by.
    #[must_use]
    pub fn live(&self) -> Live {
        let Some(worker) = &self.worker else { return Live { up: self.up(), ..Live::default() } };
        let stats = worker.stats();
        Live {
            up: self.up(),
            queue_depth: stats.queue_depth,
            tokens_per_second: stats.tokens_per_second,
            prompt_tokens_per_second: stats.prompt_tokens_per_second,
            slots: stats.slots,
        }
    }

    /// What a scrape shows of it.
    #[must_use]
    pub fn gauge(&self) -> EngineGauge {
        let stats = self.worker.as_ref().map(|worker| worker.stats()).unwrap_or_default();
        EngineGauge {
            up: self.up(),
            queue_depth: stats.queue_depth,
            tokens_per_second: stats.tokens_per_second,
            kv_used_ratio: stats.kv_used_ratio,
            restarts: self.worker.as_ref().map_or(0, |worker| worker.restarts()),
        }
    }
}
