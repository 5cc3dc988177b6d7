//! Warm prefixes that outlive their worker: what the slots hold is written to a file when the worker ends, and put back before
//! the first request of the next one.
//!
//! Only a memory that holds every token's cells is saved, for its sequences can be cut anywhere. What cannot be saved or
//! put back is said in the log, and read anew.

mod file;

use super::SchedulerOptions;
use super::plan::common_prefix;
use super::prefix::least_copied;
use super::slot::Slot;
use super::step::Stepper;
use crate::slot_save::SlotSave;
use file::{Entry, Key, Reader};
use std::io;
use std::time::Instant;

/// Where prefixes are kept, and whose they must be.
#[derive(Debug)]
pub(super) struct Saved {
    place: SlotSave,
    key: Key,
}

/// What a sequence takes in the memory, as measured in the warm-up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StateSize {
    /// Bytes of one that holds nothing.
    pub(super) empty: usize,
    /// Bytes of one that holds so many tokens.
    pub(super) warm: usize,
    pub(super) tokens: usize,
}

impl StateSize {
    /// Bytes of so many tokens, if all of them have cells.
    fn of(self, tokens: usize) -> u64 {
        let all = self.warm.saturating_sub(self.empty) as u64 * tokens as u64;
        self.empty as u64 + all / self.tokens.max(1) as u64
    }

    /// Tokens that fit into so many bytes.
    fn fitting(self, bytes: u64) -> usize {
        let room = bytes.saturating_sub(self.empty as u64) * self.tokens as u64;
        usize::try_from(room / self.warm.saturating_sub(self.empty).max(1) as u64).unwrap_or(usize::MAX)
    }
}

impl Saved {
    /// `None` where nothing is to be saved, or its key cannot be made.
    pub(super) fn new(options: &SchedulerOptions, context: usize) -> Option<Saved> {
        let place = options.slot_save.clone()?;
        match file::key(options, context) {
            Ok(key) => Some(Saved { place, key }),
            Err(error) => {
                tracing::warn!(%error, "warm prefixes are not saved: the model's files cannot be looked at");
                None
            }
        }
    }

    fn most_bytes(&self) -> u64 {
        u64::from(self.place.most_mb) << 20
    }
}

impl Stepper<'_> {
    /// Puts back what the last worker saved, into empty slots.
    pub(super) fn restore(&mut self, saved: &Saved) {
        let began = Instant::now();
        if !self.model.can_rewind() {
            tracing::info!("warm prefixes are not saved: this model's memory is recurrent");
            return;
        }
        file::remove_parts(&saved.place.file);
        let reader = match Reader::take(&saved.place.file, &saved.key, saved.most_bytes()) {
            Ok(None) => return,
            Ok(Some(reader)) => reader,
            Err(error) => {
                tracing::info!(%error, file = %saved.place.file.display(), "saved prefixes are not used, and removed");
                return;
            }
        };
        match self.restore_from(reader) {
            Ok(prefixes) => {
                let tokens: usize = self.slots.iter().map(|slot| slot.held.len()).sum();
                let took_ms = began.elapsed().as_millis() as u64;
                tracing::info!(prefixes, tokens, took_ms, "warm prefixes are back");
            }
            Err(error) => {
                tracing::warn!(%error, "saved prefixes cannot be used any further, and are removed")
            }
        }
        self.publish();
    }

    fn restore_from(&mut self, mut reader: Reader) -> io::Result<usize> {
        let refused = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        for place in 0..self.slots.len() {
            let Some(entry) = reader.next()? else { return Ok(place) };
            let known = |token: &crate::llama::Token| {
                usize::try_from(token.0).is_ok_and(|token| token < self.model.vocabulary())
            };
            let fits = entry.tokens.len() <= self.board.context() && entry.tokens.iter().all(known);
            let adapter = entry.adapter.is_none_or(|applied| applied.adapter < self.model.adapters().len());
            if !fits || !adapter {
                return Err(refused("they do not fit this context"));
            }
            let slot = &mut self.slots[place];
            if !self.context.set_state(slot.sequence, &entry.state) {
                return Err(refused("llama.cpp refuses them"));
            }
            self.admissions += 1;
            slot.last_used = self.admissions;
            slot.prompt_tokens = entry.prompt_tokens;
            slot.adapter = entry.adapter;
            slot.held = entry.tokens;
        }
        Ok(self.slots.len())
    }

    /// Saves what the slots hold; the last thing that is done.
    pub(super) fn save(&mut self, saved: &Saved) {
        if !self.model.can_rewind() {
            return;
        }
        let (began, chosen) = (Instant::now(), self.chosen(saved.most_bytes()));
        if chosen.is_empty() {
            return;
        }
        let entries = chosen.iter().map(|&(place, tokens)| self.entry(place, tokens));
        match file::write(&saved.place.file, &saved.key, chosen.len(), entries) {
            Ok(bytes) => {
                let took_ms = began.elapsed().as_millis() as u64;
                tracing::info!(
                    prefixes = chosen.len(),
                    megabytes = bytes >> 20,
                    took_ms,
                    "warm prefixes are saved"
                );
            }
            Err(error) => {
                tracing::warn!(%error, file = %saved.place.file.display(), "warm prefixes cannot be saved");
            }
        }
    }

    fn entry(&self, place: usize, tokens: usize) -> io::Result<Entry> {
        let slot = &self.slots[place];
        let state = self.context.state(slot.sequence);
        Ok(Entry {
            state: state.ok_or_else(|| io::Error::other("llama.cpp gives no state"))?,
            prompt_tokens: slot.prompt_tokens.min(tokens),
            adapter: slot.adapter,
            tokens: slot.held.clone(),
        })
    }

    /// The slots to save with how many of their tokens, oldest first. Their sequences are cut to that.
    fn chosen(&mut self, most_bytes: u64) -> Vec<(usize, usize)> {
        let least = least_copied(self.board.context());
        let mut chosen = worth_saving(&self.slots, least);
        chosen.retain(|&place| self.context.settled(self.slots[place].sequence));
        let mut room = most_bytes;
        let mut cut = Vec::new();
        for place in chosen {
            let slot = &mut self.slots[place];
            let tokens = slot.held.len().min(self.state_size.fitting(room));
            if tokens < least || !self.context.truncate(slot.sequence, tokens) {
                continue;
            }
            let (bytes, whole) = (self.context.state_bytes(slot.sequence) as u64, self.state_size.of(tokens));
            if bytes + bytes / 64 < whole {
                tracing::info!("warm prefixes are not saved: this model's memory forgets (sliding window)");
                return Vec::new();
            }
            slot.held.truncate(tokens);
            room = room.saturating_sub(bytes + tokens as u64 * 4 + 64);
            cut.push((place, tokens));
        }
        cut.reverse();
        cut
    }
}

/// Slots that hold enough, last used first, without those of which another holds nearly all.
fn worth_saving(slots: &[Slot], least: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..slots.len()).filter(|&place| slots[place].held.len() >= least).collect();
    places.sort_by_key(|&place| u64::MAX - slots[place].last_used);
    let mut chosen: Vec<usize> = Vec::new();
    for place in places {
        let slot = &slots[place];
        let held_by = |other: &usize| {
            let other = &slots[*other];
            other.adapter == slot.adapter && common_prefix(&other.held, &slot.held) + least > slot.held.len()
        };
        if !chosen.iter().any(held_by) {
            chosen.push(place);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::{Applied, Token};

    #[test]
    fn the_last_used_come_first_and_nothing_is_saved_twice() {
        let hold = |number: i32, held: std::ops::Range<i32>| {
            let mut slot = Slot::new(number);
            (slot.last_used, slot.held) = (u64::from(number.unsigned_abs()), held.map(Token).collect());
            slot
        };
        let mut slots = vec![hold(0, 0..110), hold(1, 0..10), hold(2, 500..700), hold(3, 0..200)];
        assert_eq!(worth_saving(&slots, 32), [3, 2], "the first is a part of the last, the second too short");
        slots[0].adapter = Some(Applied { adapter: 0, scale: 1.0 });
        assert_eq!(worth_saving(&slots, 32), [3, 2, 0], "other cells");
    }

    #[test]
    fn sizes_grow_with_the_tokens() {
        let size = StateSize { empty: 100, warm: 6_500, tokens: 64 };
        assert_eq!((size.of(640), size.fitting(64_100), size.fitting(10)), (64_100, 640, 0));
    }
}
