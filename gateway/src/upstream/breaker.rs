//! Passive health: an engine that keeps failing is left alone for a while.
//!
//! Three failures in a row open the breaker for one second, doubling to thirty while it keeps failing; after
//! that one request is let through again, and its outcome decides. Failures that the request itself caused do
//! not count.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TRIP_AFTER: u32 = 3;
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Failures in a row, and until when the engine rests.
#[derive(Debug)]
pub(super) struct Breaker {
    began: Instant,
    failures: AtomicU32,
    /// Milliseconds after `began`.
    rests_until: AtomicU64,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker { began: Instant::now(), failures: AtomicU32::new(0), rests_until: AtomicU64::new(0) }
    }
}

impl Breaker {
    /// Notes an outcome; an error says whether it was the engine's fault.
    pub(super) fn record(&self, outcome: Result<(), bool>) {
        match outcome {
            Ok(()) => self.failures.store(0, Ordering::Relaxed),
            Err(false) => {}
            Err(true) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                if failures >= TRIP_AFTER {
                    let doublings = (failures - TRIP_AFTER).min(5);
                    let rest = FIRST_REST.saturating_mul(1 << doublings).min(LONGEST_REST);
                    self.rests_until.store(self.millis() + millis(rest), Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether requests may be sent.
    pub(super) fn closed(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < TRIP_AFTER
            || self.millis() >= self.rests_until.load(Ordering::Relaxed)
    }

    fn millis(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_the_engines_own_failures_open_it_and_one_success_closes_it() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            breaker.record(Err(false));
        }
        assert!(breaker.closed());
        (0..2).for_each(|_| breaker.record(Err(true)));
        assert!(breaker.closed());
        breaker.record(Err(true));
        assert!(!breaker.closed());
        breaker.record(Ok(()));
        assert!(breaker.closed());
    }
}
