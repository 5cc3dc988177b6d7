//! Passive health: an engine that keeps failing is left alone for a while.
//!
//! Three failures in a row open the breaker for one second, doubling to thirty while it keeps failing; after
//! that one request is let through again, and its outcome decides. Failures that the request itself caused do
//! not count. A new process in an engine's place starts with a clean record: what the one before did, and what its
//! requests still find out, says nothing of it.

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
    /// Number of the process that this is about; 0 where the engine has none of Tollgate's.
    process: AtomicU64,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            began: Instant::now(),
            failures: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
            process: AtomicU64::new(0),
        }
    }
}

impl Breaker {
    /// Notes an outcome in the process of this number; an error says whether it was the engine's fault.
    pub(super) fn record(&self, process: u64, outcome: Result<(), bool>) {
        let before = self.process.fetch_max(process, Ordering::Relaxed);
        if process < before {
            return;
        }
        if process > before {
            self.failures.store(0, Ordering::Relaxed);
        }
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

    /// Whether requests may be sent to the process of this number.
    pub(super) fn closed(&self, process: u64) -> bool {
        process > self.process.load(Ordering::Relaxed)
            || self.failures.load(Ordering::Relaxed) < TRIP_AFTER
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
            breaker.record(0, Err(false));
        }
        assert!(breaker.closed(0));
        (0..2).for_each(|_| breaker.record(0, Err(true)));
        assert!(breaker.closed(0));
        breaker.record(0, Err(true));
        assert!(!breaker.closed(0));
        breaker.record(0, Ok(()));
        assert!(breaker.closed(0));
    }

    #[test]
    fn a_new_process_starts_with_a_clean_record() {
        let breaker = Breaker::default();
        (0..16).for_each(|_| breaker.record(1, Err(true)));
        assert!(!breaker.closed(1) && breaker.closed(2));
        breaker.record(2, Ok(()));
        (0..16).for_each(|_| breaker.record(1, Err(true)));
        assert!(breaker.closed(2), "what is left of the dead one does not count");
        (0..3).for_each(|_| breaker.record(2, Err(true)));
        assert!(!breaker.closed(2));
    }
}
