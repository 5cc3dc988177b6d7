//! Where the scheduler's thread posts its figures and the server reads them; and the places for requests.

use super::meter::Meter;
use crate::Stats;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest wait a refused client is told.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The shared figures. Every request takes a place from submission to its end; places are slots and queue together.
#[derive(Debug)]
pub(super) struct Board {
    slots: usize,
    context: usize,
    batch: usize,
    places: Arc<Semaphore>,
    place_count: usize,
    posted: Mutex<(u32, f64, Meter)>,
}

impl Board {
    pub(super) fn new(slots: usize, context: usize, batch: usize, queue: usize) -> Self {
        let place_count = slots + queue;
        Self {
            slots,
            context,
            batch,
            places: Arc::new(Semaphore::new(place_count)),
            place_count,
            posted: Mutex::default(),
        }
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

    pub(super) fn publish(&self, active: u32, cells: usize, meter: &Meter) {
        let used = cells as f64 / (self.slots * self.context).max(1) as f64;
        *self.posted.lock() = (active, used.min(1.0), *meter);
    }

    /// A place for one more request, or how long to wait for one.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Duration> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| self.retry_after())
    }

    /// About how long until the queue has moved on by one.
    fn retry_after(&self) -> Duration {
        let service = self.posted.lock().2.service_seconds;
        Duration::from_secs_f64(service / self.slots.max(1) as f64)
            .clamp(Duration::from_secs(1), LONGEST_RETRY)
    }

    pub(super) fn stats(&self) -> Stats {
        let (active, kv_used_ratio, meter) = *self.posted.lock();
        let taken = self.place_count - self.places.available_permits().min(self.place_count);
        Stats {
            active,
            queue_depth: u32::try_from(taken).unwrap_or(u32::MAX).saturating_sub(active),
            slots: u32::try_from(self.slots).unwrap_or(u32::MAX),
            tokens_per_second: meter.written_per_second,
            prompt_tokens_per_second: meter.read_per_second,
            kv_used_ratio,
        }
    }
}
