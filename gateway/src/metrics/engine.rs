//! What a scrape shows of the engines. Read from them at scrape time, so that it is never stale.

use super::{Metrics, raise_to};

/// Values of `state` on `tollgate_engine_state`.
const ENGINE_STATES: [&str; 6] = ["stopped", "starting", "up", "draining", "down", "failed"];

/// An engine's figures at a scrape.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineGauge {
    /// Whether requests can be sent to it.
    pub up: bool,
    /// Where it is in its life.
    pub state: &'static str,
    /// Requests waiting in it.
    pub queue_depth: u32,
    /// How long one more request would wait for a slot.
    pub wait_seconds: f64,
    /// Decoding speed.
    pub tokens_per_second: f64,
    /// Share of its KV cache in use.
    pub kv_used_ratio: f64,
    /// Times it was started again.
    pub restarts: u64,
}

impl Metrics {
    /// An engine's figures, at scrape time.
    pub fn engine(&self, engine: &str, now: &EngineGauge) {
        let labels = [engine];
        self.engine_up.with_label_values(&labels).set(if now.up { 1.0 } else { 0.0 });
        for state in ENGINE_STATES {
            let now = if state == now.state { 1.0 } else { 0.0 };
            self.engine_state.with_label_values(&[engine, state]).set(now);
        }
        self.engine_queue_depth.with_label_values(&labels).set(f64::from(now.queue_depth));
        self.engine_wait.with_label_values(&labels).set(now.wait_seconds);
        self.engine_tokens_per_second.with_label_values(&labels).set(now.tokens_per_second);
        self.engine_kv_used_ratio.with_label_values(&labels).set(now.kv_used_ratio);
        raise_to(&self.engine_restarts.with_label_values(&labels), now.restarts);
    }
}
