//! Whose turn it is where requests ask for different adapters: llama.cpp computes a batch with one of them, or with none.
//!
//! Invariant: whoever has something to be computed has a place in the line and only moves forward in it, so nobody starves.
//! A turn is a stretch of time, for changing the adapter costs some; all of one adapter's requests share its turn. Pure.

use crate::llama::Applied;
use std::collections::VecDeque;
use std::time::Duration;

/// How long one adapter's requests may be computed while others wait, in whole steps.
const TURN: Duration = Duration::from_millis(100);

/// The line of those whose requests have something to be computed; the first has its turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    line: VecDeque<Option<Applied>>,
    /// What the first has had of its turn.
    spent: Duration,
}

impl Turns {
    /// The adapter of the next step, of those that are `wanted` (each as often as one likes); the bare model where none is.
    pub(super) fn next(&mut self, wanted: &[Option<Applied>]) -> Option<Applied> {
        let first = self.line.front().copied();
        self.line.retain(|adapter| wanted.contains(adapter));
        for adapter in wanted {
            if !self.line.contains(adapter) {
                self.line.push_back(*adapter);
            }
        }
        let stays = first.is_some() && self.line.front().copied() == first;
        if stays && self.spent >= TURN {
            self.line.rotate_left(1);
        }
        if !stays || self.spent >= TURN {
            self.spent = Duration::ZERO;
        }
        self.line.front().copied().flatten()
    }

    /// Notes how long the step took.
    pub(super) fn took(&mut self, step: Duration) {
        self.spent += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Option<Applied> = None;

    fn adapter(number: usize) -> Option<Applied> {
        Some(Applied { adapter: number, scale: 1.0 })
    }

    /// Who is computed in each of so many steps of `millis`.
    fn steps(
        turns: &mut Turns,
        wanted: &[Option<Applied>],
        millis: u64,
        count: usize,
    ) -> Vec<Option<Applied>> {
        let step = |_| {
            let next = turns.next(wanted);
            turns.took(Duration::from_millis(millis));
            next
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn turns_are_as_long_as_their_steps_and_then_go_round() {
        let mut turns = Turns::default();
        let all = [BARE, adapter(0), BARE, adapter(1)];
        let round = [BARE, BARE, adapter(0), adapter(0), adapter(1), adapter(1), BARE];
        assert_eq!(steps(&mut turns, &all, 50, 7), round);
        let mut turns = Turns::default();
        assert_eq!(
            steps(&mut turns, &all, 300, 4),
            [BARE, adapter(0), adapter(1), BARE],
            "one long step each"
        );
        let mut turns = Turns::default();
        assert_eq!(steps(&mut turns, &[adapter(0)], 300, 3), [adapter(0); 3], "nobody waits");
        let half = Some(Applied { adapter: 0, scale: 0.5 });
        let mut turns = Turns::default();
        assert_eq!(steps(&mut turns, &[adapter(0), half], 100, 3), [adapter(0), half, adapter(0)]);
    }

    #[test]
    fn newcomers_do_not_overtake_who_has_waited() {
        let mut turns = Turns::default();
        assert_eq!(turns.next(&[adapter(0), adapter(9)]), adapter(0));
        // Short requests of ever other adapters, each gone after its step.
        let mut waited = 0;
        for number in 1..9 {
            turns.took(Duration::from_millis(10));
            if turns.next(&[adapter(9), adapter(number)]) == adapter(9) {
                break;
            }
            waited += 1;
        }
        assert_eq!(waited, 0);
        assert_eq!(turns.next(&[]), BARE);
        assert_eq!(turns.next(&[adapter(3)]), adapter(3));
    }
}
