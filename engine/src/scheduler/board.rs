//! Where the scheduler's thread posts its figures and the server reads them; and the way to a place for a request.

use super::job::Order;
use super::meter::Meter;
use super::places::{Place, Places};
use crate::Stats;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait a refused client is told.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The shared figures.
#[derive(Debug)]
pub(super) struct Board {
    slots: usize,
    context: usize,
    batch: usize,
    places: Arc<Places>,
    posted: Mutex<Posted>,
}

/// What the scheduler's thread last said.
#[derive(Clone, Copy, Debug, Default)]
struct Posted {
    active: u32,
    kv_used_ratio: f64,
    /// Seconds until the first slot is free, where all are taken.
    first_free: f64,
    meter: Meter,
}

impl Board {
    pub(super) fn new(slots: usize, context: usize, batch: usize, queue: usize) -> Self {
        Self { slots, context, batch, places: Places::new(slots + queue), posted: Mutex::default() }
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Tokens per sequence.
    pub(super) fn context(&self) -> usize {
        self.context
    }

    /// Tokens per batch.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// Posts how many requests run, how many cells they hold, and how long each of them will by `left`.
    pub(super) fn publish(
        &self,
        active: u32,
        cells: usize,
        left: impl IntoIterator<Item = f64>,
        meter: &Meter,
    ) {
        let used = cells as f64 / (self.slots * self.context).max(1) as f64;
        // Each ends at a rate of its own; the first to do so comes at the rate of all of them.
        let freed_per_second: f64 = left.into_iter().map(|left| 1.0 / left.max(1e-3)).sum();
        let first_free = if freed_per_second > 0.0 { 1.0 / freed_per_second } else { 0.0 };
        *self.posted.lock() = Posted { active, kv_used_ratio: used.min(1.0), first_free, meter: *meter };
    }

    /// A place for one more request, or how long to wait for one.
    pub(super) fn place(&self, order: &Order) -> Result<Place, Duration> {
        let retry_after = self.retry_after();
        self.places.take(order, retry_after).ok_or(retry_after)
    }

    /// When a client that is refused now should try again.
    pub(super) fn retry_after(&self) -> Duration {
        let wait = Duration::from_secs_f64(self.stats().predicted_wait_seconds);
        wait.clamp(Duration::from_secs(1), LONGEST_RETRY)
    }

    /// Requests that may be inside at once, running and waiting.
    pub(super) fn places(&self) -> usize {
        self.places.count()
    }

    pub(super) fn stats(&self) -> Stats {
        let Posted { active, kv_used_ratio, first_free, meter } = *self.posted.lock();
        let taken = self.places.taken();
        let stats = Stats {
            active,
            queue_depth: u32::try_from(taken).unwrap_or(u32::MAX).saturating_sub(active),
            slots: u32::try_from(self.slots).unwrap_or(u32::MAX),
            tokens_per_second: meter.written_per_second,
            prompt_tokens_per_second: meter.read_per_second,
            predicted_wait_seconds: 0.0,
            service_seconds: meter.service_seconds(),
            kv_used_ratio,
        };
        let predicted_wait_seconds = match stats.ahead() {
            0 => 0.0,
            // After the first slot, others are free one by one: each `slots`-th of a request's time on average.
            ahead => first_free + f64::from(ahead - 1) * meter.service_seconds() / self.slots.max(1) as f64,
        };
        Stats { predicted_wait_seconds, ..stats }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_told_by_how_long_requests_took_and_how_many_wait() {
        let board = Board::new(2, 64, 32, 1);
        let (mut meter, order) = (Meter::default(), Order::default());
        meter.served(Duration::from_secs(8));
        board.publish(1, 0, [8.0], &meter);
        let held: Vec<_> = (0..2).map(|_| board.place(&order).unwrap()).collect();
        board.publish(2, 0, [8.0, 8.0], &meter);
        assert!(
            (board.stats().predicted_wait_seconds - 4.0).abs() < 1e-9,
            "the first slot of two to be free"
        );
        let waits = board.place(&order).unwrap();
        assert!((board.stats().predicted_wait_seconds - 8.0).abs() < 1e-9);
        assert_eq!(board.place(&order).unwrap_err(), Duration::from_secs(8), "what a refused client is told");
        board.publish(2, 0, [60.0, 60.0], &meter);
        assert!((board.stats().predicted_wait_seconds - 34.0).abs() < 1e-9, "long answers hold the slots");
        drop((held, waits));
        board.publish(0, 0, [], &meter);
        assert!(board.stats().predicted_wait_seconds.abs() < 1e-9);
    }
}
