//! How long to wait before starting a dead worker again. Pure: time is passed in.

use std::time::Duration;

/// First delay after any death; doubles from here.
const FIRST: Duration = Duration::from_millis(100);
/// Longest delay for a worker that does come up: traffic waits for it, so it is never left down for long.
const LONGEST_AFTER_UP: Duration = Duration::from_secs(2);
/// Longest delay for a worker that never comes up: most often its model is missing, and only a person can help.
const LONGEST_NEVER_UP: Duration = Duration::from_secs(30);
/// A worker that stayed up this long starts over with the first delay.
const STEADY: Duration = Duration::from_secs(10);
/// From this many starts without ever coming up the engine is reported as failed.
pub(super) const HOPELESS: u32 = 6;

/// Counts deaths in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    quick_deaths: u32,
    failed_starts: u32,
}

impl Backoff {
    /// The worker died before it ever answered: the delay until the next try.
    pub(super) fn failed_start(&mut self) -> Duration {
        self.failed_starts = self.failed_starts.saturating_add(1);
        doubled(self.failed_starts).min(LONGEST_NEVER_UP)
    }

    /// The worker died after it had been up for `up_for`: the delay until the next try.
    pub(super) fn died(&mut self, up_for: Duration) -> Duration {
        self.failed_starts = 0;
        self.quick_deaths = if up_for >= STEADY { 1 } else { self.quick_deaths.saturating_add(1) };
        doubled(self.quick_deaths).min(LONGEST_AFTER_UP)
    }

    /// Whether the last start failed.
    pub(super) fn failing(&self) -> bool {
        self.failed_starts > 0
    }

    /// Whether so many starts failed in a row that waiting for the next is not worth a request's while.
    pub(super) fn hopeless(&self) -> bool {
        self.failed_starts >= HOPELESS
    }
}

/// `FIRST` doubled for each death after the first.
fn doubled(deaths: u32) -> Duration {
    FIRST.saturating_mul(1 << deaths.saturating_sub(1).min(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_keeps_dying_comes_back_within_two_seconds() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..7).map(|_| backoff.died(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff.died(Duration::from_secs(60)), FIRST);
    }

    #[test]
    fn failed_starts_wait_longer_and_become_hopeless() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..5).map(|_| backoff.failed_start().as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600]);
        assert!(!backoff.hopeless());
        backoff.failed_start();
        assert!(backoff.hopeless());
        assert_eq!((0..90).map(|_| backoff.failed_start()).last(), Some(LONGEST_NEVER_UP));
        backoff.died(Duration::from_secs(1));
        assert!(!backoff.hopeless());
    }
}
