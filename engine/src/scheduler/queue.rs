//! The requests that wait for a slot, in the order they will get one: callers take turns, and of one caller's the nearest
//! deadline goes first, then the earliest.
//!
//! A caller with nothing waiting has no place in the order, so one that comes now and then does not stand behind another's
//! hundred; nor is it ever put before one that has waited since before it came, so that callers who come and go cannot
//! starve who stays. Its names are the requests' own word: who lies about them changes the order and who gives way ([`places`](super::places)).

use super::job::{Failure, Waiting};
use std::time::Instant;

/// The waiting requests.
#[derive(Debug)]
pub(super) struct Queue<Job> {
    lines: Vec<Line<Job>>,
    /// Requests given out so far.
    turns: u64,
}

/// What one caller has waiting, in the order it came; never empty.
#[derive(Debug)]
struct Line<Job> {
    caller: String,
    /// When it had its last turn; while it has had none, when it began to wait.
    since: u64,
    /// Whether it has had a turn since it began to wait.
    served: bool,
    waiting: Vec<Job>,
}

impl<Job> Default for Queue<Job> {
    fn default() -> Self {
        Self { lines: Vec::new(), turns: 0 }
    }
}

impl<Job: Waiting> Queue<Job> {
    /// Adds a request.
    pub(super) fn push(&mut self, submitted: Job) {
        match self.lines.iter_mut().find(|line| line.caller == submitted.order().caller) {
            Some(line) => line.waiting.push(submitted),
            None => {
                let caller = submitted.order().caller.clone();
                self.lines.push(Line { caller, since: self.turns, served: false, waiting: vec![submitted] });
            }
        }
    }

    /// The request whose turn it is.
    pub(super) fn next(&self) -> Option<&Job> {
        let line = self.lines.get(self.turn()?)?;
        line.waiting.get(line.first())
    }

    /// Takes the request whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let turn = self.turn()?;
        self.turns += 1;
        let line = self.lines.get_mut(turn)?;
        (line.since, line.served) = (self.turns, true);
        let submitted = line.waiting.remove(line.first());
        if line.waiting.is_empty() {
            self.lines.remove(turn);
        }
        Some(submitted)
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Forgets the requests that nobody waits for, and takes out those whose place is gone or whose deadline has passed.
    pub(super) fn sort_out(&mut self, now: Instant) -> Vec<(Job, Failure)> {
        let mut refused = Vec::new();
        for line in &mut self.lines {
            line.waiting.retain(|submitted| !submitted.abandoned());
            let why = |submitted: &Job| {
                let late = submitted.order().deadline.is_some_and(|end| end <= now);
                submitted.displaced().or(late.then_some(Failure::TooLate))
            };
            let leaving = line.waiting.extract_if(.., |submitted| why(submitted).is_some());
            refused.extend(leaving.filter_map(|submitted| why(&submitted).map(|why| (submitted, why))));
        }
        self.lines.retain(|line| !line.waiting.is_empty());
        refused
    }

    /// The line whose turn it is: the one that has waited through most turns. Of equals goes who had none, then who came first.
    fn turn(&self) -> Option<usize> {
        (0..self.lines.len()).min_by_key(|&line| (self.lines[line].since, self.lines[line].served))
    }
}

impl<Job: Waiting> Line<Job> {
    /// The place of the request that goes first.
    fn first(&self) -> usize {
        let deadline = |place: usize| self.waiting[place].order().deadline;
        // No deadline is later than any; of equals the first that came is the least.
        (0..self.waiting.len()).min_by_key(|&place| (deadline(place).is_none(), deadline(place))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::Token;
    use crate::sample::Sampling;
    use crate::scheduler::job::{Event, Job, Order, Submitted};
    use std::time::Duration;
    use tokio::sync::mpsc;

    /// A request known by the length of its prompt; dropping the receiver gives it up.
    fn request(caller: &str, mark: usize, deadline: Option<Instant>) -> (Submitted, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(4);
        let job = Job {
            adapter: None,
            call_marks: false,
            grammar: None,
            prompt: vec![Token(0); mark],
            max_tokens: 1,
            sampling: Sampling::default(),
            stops: Vec::new(),
            ignore_eos: false,
            reuse: true,
            logprobs: None,
        };
        let order = Order { caller: caller.to_owned(), deadline };
        (Submitted { job, order, events, place: None }, receiver)
    }

    fn marks(queue: &mut Queue<Submitted>) -> Vec<usize> {
        std::iter::from_fn(|| queue.pop()).map(|submitted| submitted.job.prompt.len()).collect()
    }

    #[test]
    fn callers_take_turns_however_many_they_have_waiting() {
        let mut queue = Queue::default();
        let mut held = Vec::new();
        for (caller, mark) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            let (submitted, receiver) = request(caller, mark, None);
            queue.push(submitted);
            held.push(receiver);
        }
        assert_eq!(queue.next().map(|next| next.job.prompt.len()), Some(1));
        assert_eq!(marks(&mut queue), [1, 4, 5, 2, 6, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn callers_that_come_and_go_do_not_starve_who_stays() {
        let mut queue = Queue::default();
        let mut held = Vec::new();
        let mut push = |queue: &mut Queue<Submitted>, caller, mark| {
            let (submitted, receiver) = request(caller, mark, None);
            queue.push(submitted);
            held.push(receiver);
        };
        (1..=3).for_each(|mark| push(&mut queue, "stays", mark));
        let mut served = Vec::new();
        // One of two others is always there anew when a slot is free.
        for (turn, caller) in ["b", "c"].into_iter().cycle().take(8).enumerate() {
            served.extend(queue.pop().map(|submitted| submitted.job.prompt.len()));
            push(&mut queue, caller, 10 + turn);
        }
        assert_eq!(served, [1, 10, 2, 11, 12, 3, 13, 14], "in turns with the others");
    }

    #[test]
    fn the_nearest_deadline_goes_first_within_a_caller() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut held = Vec::new();
        let seconds = |n| Some(now + Duration::from_secs(n));
        for (mark, deadline) in [(1, None), (2, seconds(60)), (3, seconds(5)), (4, None), (5, seconds(5))] {
            let (submitted, receiver) = request("a", mark, deadline);
            queue.push(submitted);
            held.push(receiver);
        }
        assert!(queue.sort_out(now).is_empty());
        assert_eq!(marks(&mut queue), [3, 5, 2, 1, 4]);
    }

    #[test]
    fn what_is_late_or_given_up_leaves() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let (late, _waits) = request("a", 1, Some(now));
        let (given_up, gone) = request("a", 2, None);
        let (stays, _stays) = request("b", 3, Some(now + Duration::from_secs(1)));
        drop(gone);
        for submitted in [late, given_up, stays] {
            queue.push(submitted);
        }
        let late: Vec<usize> = queue.sort_out(now).iter().map(|late| late.0.job.prompt.len()).collect();
        assert_eq!(late, [1]);
        assert_eq!(marks(&mut queue), [3]);
    }
}
