//! The live figures of one engine: what a worker answers at `GET /stats`, what the supervisor polls, and what routing
//! reads to predict latency.

use serde::{Deserialize, Serialize};

/// One engine's load and speed at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Requests that hold a slot: their prompt is being read or their answer written.
    pub active: u32,
    /// Requests that wait for a slot.
    pub queue_depth: u32,
    /// Requests the engine works on at once.
    pub slots: u32,
    /// Tokens per second that one running answer gets, averaged over the last steps (0 until measured).
    pub tokens_per_second: f64,
    /// Prompt tokens per second while prompts are being read, averaged over the last steps (0 until measured).
    pub prompt_tokens_per_second: f64,
    /// Seconds that one more request would wait for a slot, by the last ones (0 where one is free, or until measured).
    pub predicted_wait_seconds: f64,
    /// Share of the KV memory in use by running requests, 0 to 1.
    pub kv_used_ratio: f64,
}
