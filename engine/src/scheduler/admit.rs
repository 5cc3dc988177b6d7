//! Who gets a slot next, and what it begins with: the stepper's side of [`queue`](super::queue) and
//! [`prefix`](super::prefix).
//!
//! A request that follows another slot holds its own slot meanwhile but computes nothing. Followers never follow
//! followers, so whoever is waited for is reading, or has ended and is waited for no more.

use super::job::Waiting;
use super::plan::Reader;
use super::prefix::{Source, Start, Wanted, best_held, best_reading, least_copied, place};
use super::step::Stepper;
use crate::llama::Token;

impl Stepper<'_> {
    /// Gives free slots to the waiting requests whose turn it is.
    pub(super) fn admit(&mut self) {
        let can_rewind = self.model.can_rewind();
        let least = least_copied(self.board.context());
        while let Some(next) = self.waiting.next() {
            let prompt = if next.job.reuse { &next.job.prompt[..] } else { &[] };
            let wanted = Wanted { prompt, adapter: next.job.adapter };
            let Some(placement) = place(&self.slots, wanted, can_rewind, least) else { return };
            let Some(submitted) = self.waiting.pop() else { return };
            if let Err(displaced) = submitted.begin() {
                submitted.refuse(displaced);
                continue;
            }
            self.slots[placement.slot].adapt(submitted.job.adapter, &mut self.context);
            if let Start::Copy(source) = placement.start {
                self.copy(
                    placement.slot,
                    source,
                    submitted.job.prompt.get(..source.tokens).unwrap_or_default(),
                );
            }
            self.admissions += 1;
            let slot = &mut self.slots[placement.slot];
            slot.last_used = self.admissions;
            slot.begin(submitted, placement.start, &mut self.context);
        }
    }

    /// Lets those who wait for another slot's reading go on once it has come far enough, or will not come any further.
    pub(super) fn follow(&mut self) {
        let least = least_copied(self.board.context());
        for place in 0..self.slots.len() {
            let Some((source, wanted)) = self.slots[place].follows() else { continue };
            let leader = &self.slots[source.slot];
            let held = leader.reusable(wanted, true);
            let reads_on = leader.last_used == source.admission && leader.unread() > 0;
            if reads_on && held < source.tokens {
                continue;
            }
            let own = self.slots[place].reusable(wanted, true);
            let from = best_held(&self.slots, wanted)
                .filter(|from| from.slot != place && from.tokens >= own + least);
            let now = from.map_or(own, |from| from.tokens);
            // Its leader is gone before it had read enough; another may be on the same way.
            if let Some(other) = best_reading(&self.slots, wanted).filter(|other| other.tokens >= now + least)
            {
                self.slots[place].follow(other);
                continue;
            }
            if let Some(from) = from {
                let first = wanted.prompt[..from.tokens].to_vec();
                self.copy(place, from, &first);
            }
            self.slots[place].stop_following(now, &mut self.context);
        }
    }

    fn copy(&mut self, to: usize, source: Source, first: &[Token]) {
        let from = self.slots[source.slot].sequence;
        if to != source.slot {
            self.slots[to].copy(from, first, &mut self.context);
        }
    }

    /// A slot that reads its prompt, as the plan of a step sees it.
    pub(super) fn reader(&self, place: usize) -> Reader {
        let slot = &self.slots[place];
        let left = slot.unread();
        let followers = self.slots.iter().filter_map(|follower| follower.follows());
        let of_this =
            followers.filter(|(source, _)| source.slot == place && source.admission == slot.last_used);
        // A follower can write once the common part is read, and then its own rest.
        let soonest = of_this.map(|(_, wanted)| wanted.prompt.len().saturating_sub(slot.held.len())).min();
        Reader { left, urgency: soonest.map_or(left, |soonest| soonest.min(left)), admission: slot.last_used }
    }
}
