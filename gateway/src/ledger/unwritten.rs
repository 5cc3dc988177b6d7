//! Holds that are not in the file: most requests end before their hold would be worth a write.
//!
//! A request that waits for an engine keeps its hold for [`LINGER`] before it hands it to the ledger; one whose receipt comes
//! first never touches the file. Only holds of whole answers linger, which the client sees after the receipt is
//! committed: what a crash can lose is the knowledge of calls begun within the last few milliseconds and answered to
//! nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::writer::Shared;

/// How long a hold may wait for its receipt before it is written: longer than a commit, shorter than any model's answer.
const LINGER: Duration = Duration::from_millis(5);

/// A hold that is not written, counted as long as this lives.
#[derive(Debug)]
pub struct Unwritten {
    shared: Arc<Shared>,
    since: Instant,
}

impl Unwritten {
    pub(super) fn new(shared: &Arc<Shared>) -> Unwritten {
        shared.unwritten.fetch_add(1, Ordering::Relaxed);
        Unwritten { shared: Arc::clone(shared), since: Instant::now() }
    }

    /// When it is worth a write.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.since + LINGER
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.shared.unwritten.fetch_sub(1, Ordering::Relaxed);
    }
}
