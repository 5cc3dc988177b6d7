//! The places for requests, and who gives way when all are taken.
//!
//! A request has a place from its submission to its end; places are slots and queue together. Where all are taken, the place of the
//! longest line's last request goes to a caller with fewer waiting, as packet queues drop from the longest flow: so no caller can
//! fill the queue against others, and one alone may fill it whole. Invariants: no more places are held than there are; a request that has
//! a slot never gives way; nor does any for a line that would then be longer than its own, so two callers cannot push each other out in turns.

use super::job::Order;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    count: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    taken: usize,
    issued: u64,
    /// What waits, by caller; never empty.
    lines: HashMap<String, Vec<Arc<Ticket>>>,
}

/// A request that waits.
#[derive(Debug)]
struct Ticket {
    number: u64,
    deadline: Option<Instant>,
    /// Set where its place went to another request: when to try again.
    displaced: OnceLock<Duration>,
}

impl Ticket {
    /// Its turn within its line: the greatest is the last.
    fn turn(&self) -> (bool, Option<Instant>, u64) {
        (self.deadline.is_none(), self.deadline, self.number)
    }
}

/// A request's place. Dropping it gives it back, unless it went to another request.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    caller: String,
    ticket: Arc<Ticket>,
}

impl Places {
    pub(super) fn new(count: usize) -> Arc<Places> {
        Arc::new(Places { count, held: Mutex::default() })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.held.lock().taken
    }

    /// A place for one more request, if there is one, or another gives way and is told to try again after `retry_after`.
    pub(super) fn take(self: &Arc<Self>, order: &Order, retry_after: Duration) -> Option<Place> {
        let mut held = self.held.lock();
        if held.taken < self.count {
            held.taken += 1;
        } else {
            held.displace(&order.caller, retry_after)?;
        }
        held.issued += 1;
        let ticket =
            Arc::new(Ticket { number: held.issued, deadline: order.deadline, displaced: OnceLock::new() });
        held.lines.entry(order.caller.clone()).or_default().push(Arc::clone(&ticket));
        drop(held);
        Some(Place { places: Arc::clone(self), caller: order.caller.clone(), ticket })
    }
}

impl Held {
    /// Takes the last request of the longest line out of it; `None` where a further one of `caller` would make a line as long.
    fn displace(&mut self, caller: &str, retry_after: Duration) -> Option<()> {
        let own = self.lines.get(caller).map_or(0, Vec::len);
        // Of lines of one length, the one that grew last.
        let (longest, line) = self
            .lines
            .iter()
            .max_by_key(|(_, line)| (line.len(), line.last().map_or(0, |ticket| ticket.number)))?;
        if own + 1 >= line.len() {
            return None;
        }
        let last = Arc::clone(line.iter().max_by_key(|ticket| ticket.turn())?);
        let longest = longest.clone();
        self.leave(&longest, &last);
        last.displaced.get_or_init(|| retry_after);
        Some(())
    }

    /// It waits no more.
    fn leave(&mut self, caller: &str, ticket: &Arc<Ticket>) {
        let Some(line) = self.lines.get_mut(caller) else { return };
        line.retain(|waiting| !Arc::ptr_eq(waiting, ticket));
        if line.is_empty() {
            self.lines.remove(caller);
        }
    }
}

impl Place {
    /// Whether it went to another request: when to try again.
    pub(super) fn displaced(&self) -> Option<Duration> {
        self.ticket.displaced.get().copied()
    }

    /// The request waits no more and so keeps its place to its end, unless that went to another before.
    pub(super) fn begin(&self) -> Result<(), Duration> {
        let mut held = self.places.held.lock();
        if let Some(retry_after) = self.displaced() {
            return Err(retry_after);
        }
        held.leave(&self.caller, &self.ticket);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held.lock();
        if self.displaced().is_none() {
            held.leave(&self.caller, &self.ticket);
            held.taken -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(7);

    fn take(places: &Arc<Places>, caller: &str) -> Option<Place> {
        places.take(&Order { caller: caller.to_owned(), deadline: None }, LATER)
    }

    fn displaced(line: &[Place]) -> Vec<bool> {
        line.iter().map(|place| place.displaced().is_some()).collect()
    }

    #[test]
    fn the_longest_line_gives_way_until_lines_are_as_long() {
        let places = Places::new(6);
        let many: Vec<Place> = (0..6).map(|_| take(&places, "many").unwrap()).collect();
        assert!(take(&places, "many").is_none(), "its own line is the longest");
        let few: Vec<Place> = std::iter::from_fn(|| take(&places, "few")).collect();
        assert_eq!(few.len(), 3);
        assert_eq!(displaced(&many), [false, false, false, true, true, true], "the last ones");
        assert_eq!(many[5].displaced(), Some(LATER));
        assert!(take(&places, "many").is_none() && displaced(&few) == [false; 3], "nor do they take turns");
        assert!(take(&places, "third").is_some());
        assert_eq!(displaced(&few), [false, false, true], "of lines as long the one that grew last");
        assert_eq!(places.taken(), 5, "the third has left");
        drop((many, few));
        assert_eq!((places.taken(), places.held.lock().lines.len()), (0, 0));
    }

    #[test]
    fn what_has_begun_stays_and_a_place_is_given_back_once() {
        let places = Places::new(3);
        let many: Vec<Place> = (0..3).map(|_| take(&places, "many").unwrap()).collect();
        assert_eq!(many[2].begin(), Ok(()), "the last is the first to begin");
        let other = take(&places, "other").unwrap();
        assert_eq!(displaced(&many), [false, true, false]);
        assert_eq!((many[1].begin(), many[0].begin()), (Err(LATER), Ok(())));
        assert!(take(&places, "third").is_none(), "the other's only one stays");
        drop(many);
        assert_eq!(places.taken(), 1, "what gave way had nothing to give back");
        drop(other);
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn the_last_is_the_one_with_the_latest_deadline() {
        let (places, now) = (Places::new(3), Instant::now());
        let due = |seconds| Order { caller: "a".into(), deadline: Some(now + Duration::from_secs(seconds)) };
        let line: Vec<Place> = [9, 60, 5].map(|seconds| places.take(&due(seconds), LATER).unwrap()).into();
        let _other = take(&places, "other").unwrap();
        assert_eq!(displaced(&line), [false, true, false]);
    }
}
