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
    /// Seconds that one more request would wait for a slot, by the last ones (0 where one is free).
    pub predicted_wait_seconds: f64,
    /// Seconds that a request holds its slot, averaged over the last ones (until one has ended: by the speed alone).
    pub service_seconds: f64,
    /// Share of the KV memory in use by running requests, 0 to 1.
    pub kv_used_ratio: f64,
}

impl Stats {
    /// Requests that must end before one more gets a slot: those that wait, and one of those that hold all slots. Of an
    /// engine whose slots are not known, those that wait.
    #[must_use]
    pub fn ahead(&self) -> u32 {
        match self.slots {
            0 => self.queue_depth,
            slots => self.active.saturating_add(self.queue_depth).saturating_add(1).saturating_sub(slots),
        }
    }

    /// The figures with so many more requests inside than were counted, or fewer: they came or went since.
    #[must_use]
    pub fn with_more(self, more: i64) -> Stats {
        let inside = i64::from(self.active) + i64::from(self.queue_depth) + more;
        let inside = u32::try_from(inside.max(0)).unwrap_or(u32::MAX);
        let active =
            if self.slots == 0 { inside.saturating_sub(self.queue_depth) } else { inside.min(self.slots) };
        let now = Stats { active, queue_depth: inside - active, ..self };
        let turns = f64::from(now.ahead()) - f64::from(self.ahead());
        let turn_seconds = self.service_seconds / f64::from(self.slots.max(1));
        let wait = if now.ahead() == 0 { 0.0 } else { self.predicted_wait_seconds + turns * turn_seconds };
        Stats { predicted_wait_seconds: wait.max(0.0), ..now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(queue_depth: u32, predicted_wait_seconds: f64) -> Stats {
        let speeds = Stats { service_seconds: 8.0, slots: 2, ..Stats::default() };
        Stats { active: 2, queue_depth, predicted_wait_seconds, ..speeds }
    }

    #[test]
    fn all_slots_taken_is_one_to_wait_for() {
        assert_eq!(full(0, 0.0).ahead(), 1);
        assert_eq!(full(3, 0.0).ahead(), 4);
        assert_eq!(Stats { active: 1, slots: 2, ..Stats::default() }.ahead(), 0);
        assert_eq!(Stats { active: 9, queue_depth: 2, ..Stats::default() }.ahead(), 2, "slots not known");
    }

    #[test]
    fn those_that_came_since_take_free_slots_before_they_wait() {
        let idle = Stats { active: 0, ..full(0, 0.0) };
        assert_eq!(idle.with_more(1), Stats { active: 1, ..idle });
        assert_eq!(idle.with_more(2), full(0, 4.0), "the next waits for the first of two to end");
        assert_eq!(idle.with_more(4), full(2, 12.0));
        assert_eq!(full(0, 3.0).with_more(1), full(1, 7.0), "on top of what the engine says");
    }

    #[test]
    fn those_that_went_since_are_not_waited_for() {
        assert_eq!(full(2, 12.0).with_more(-1), full(1, 8.0));
        assert_eq!(full(1, 5.0).with_more(-2), Stats { active: 1, ..full(0, 0.0) });
        assert_eq!(full(1, 5.0).with_more(-9), Stats { active: 0, ..full(0, 0.0) });
    }
}
