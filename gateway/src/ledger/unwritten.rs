//! Holds that are not in the file: most requests end before their hold would be worth a write.
//!
//! The request keeps its hold for at most [`Unwritten::LINGER`] before it hands it to the ledger; one whose receipt comes
//! first never touches the file. Only holds of whole answers linger, which the client sees after the receipt is
//! committed: what a crash can lose is the knowledge of calls begun within the last few milliseconds and answered to
//! nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::writer::Shared;

/// A hold that is not written, counted as long as this lives.
#[derive(Debug)]
pub struct Unwritten(Arc<Shared>);

impl Unwritten {
    /// How long a hold may wait for its receipt before it is written: longer than a commit, shorter than any model's
    /// answer.
    pub const LINGER: Duration = Duration::from_millis(5);

    pub(super) fn new(shared: &Arc<Shared>) -> Unwritten {
        shared.unwritten.fetch_add(1, Ordering::Relaxed);
        Unwritten(Arc::clone(shared))
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.0.unwritten.fetch_sub(1, Ordering::Relaxed);
    }
}
