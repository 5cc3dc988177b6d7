//! Holds that are too young to be written: most requests end before their hold would be worth a write.
//!
//! A hold stays here for at most [`LINGER`]; one whose receipt comes first never touches the file. Only holds of whole
//! answers come here, which the client sees after the receipt is committed: what a crash can lose is the knowledge
//! of calls begun within the last few milliseconds and answered to nobody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::record::HoldRow;

/// How long a hold may wait for its receipt before it is written: longer than a commit, shorter than any model's answer.
pub(crate) const LINGER: Duration = Duration::from_millis(5);

/// The young holds, by request.
#[derive(Debug, Default)]
pub(crate) struct Young {
    holds: Mutex<HashMap<String, (Instant, HoldRow)>>,
    /// Whether the writer knows that there are some, and comes back for them by itself.
    watched: AtomicBool,
}

impl Young {
    /// Takes a hold in; true if the writer has to be woken to watch it.
    pub(crate) fn add(&self, hold: HoldRow) -> bool {
        self.holds.lock().insert(hold.request_id.clone(), (Instant::now(), hold));
        !self.watched.swap(true, Ordering::AcqRel)
    }

    /// Takes a hold out because its request has ended or it is replaced by a larger one.
    pub(crate) fn take(&self, request_id: &str) -> Option<HoldRow> {
        self.holds.lock().remove(request_id).map(|(_, hold)| hold)
    }

    /// Takes out those that have lingered until `now`.
    pub(crate) fn grown(&self, now: Instant) -> Vec<HoldRow> {
        let grown = |(since, _): &(Instant, HoldRow)| now.saturating_duration_since(*since) >= LINGER;
        let mut holds = self.holds.lock();
        holds.extract_if(|_, hold| grown(hold)).map(|(_, (_, hold))| hold).collect()
    }

    /// Takes out all.
    pub(crate) fn all(&self) -> Vec<HoldRow> {
        self.holds.lock().drain().map(|(_, (_, hold))| hold).collect()
    }

    /// How many there are: requests that began within the last milliseconds and have not ended.
    pub(crate) fn count(&self) -> usize {
        self.holds.lock().len()
    }

    /// Whether the writer has to look again soon. When it has not, the next hold wakes it.
    pub(crate) fn keep_watch(&self) -> bool {
        // Said before looking: a hold that comes in between is then either seen here or wakes the writer.
        self.watched.store(false, Ordering::Release);
        let some = !self.holds.lock().is_empty();
        if some {
            self.watched.store(true, Ordering::Release);
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(id: &str) -> HoldRow {
        HoldRow { request_id: id.to_owned(), ..HoldRow::default() }
    }

    #[test]
    fn only_the_first_hold_wakes_the_writer_until_it_stops_watching() {
        let young = Young::default();
        assert!(young.add(hold("a")));
        assert!(!young.add(hold("b")));
        assert!(young.keep_watch());
        assert!(!young.add(hold("c")));
        assert_eq!(young.all().len(), 3);
        assert!(!young.keep_watch());
        assert!(young.add(hold("d")));
    }

    #[test]
    fn a_hold_grows_up_once() {
        let young = Young::default();
        young.add(hold("a"));
        assert!(young.grown(Instant::now().checked_sub(LINGER).unwrap()).is_empty());
        let later = Instant::now() + LINGER;
        assert_eq!(young.grown(later).len(), 1);
        assert!(young.grown(later).is_empty());
        assert!(young.take("a").is_none());
    }
}
