//! Where a prompt's beginning comes from: cells that a slot holds already, a copy of another slot's, or the prompt that
//! another slot is reading right now. Pure: it looks at the slots and changes nothing.
//!
//! What has been read once is not read again: eight agents with one system prompt that arrive together read it once, the
//! first of them for all. A talk that goes on keeps its own slot; one that shares only its beginning with an idle talk
//! takes a copy, so that the idle one stays warm.

use super::slot::Slot;
use crate::llama::{Applied, Token};

/// Copying cells moves a sequence's whole memory, so a beginning shorter than this is read again instead.
const LEAST_COPIED: usize = 32;
/// The memory of a longer context takes longer to copy: this share of it is worth a copy.
const CONTEXT_SHARE: usize = 64;

/// Templates end a prompt with a few tokens that begin the answer, and may write them differently once it is there.
const ANSWER_BEGINNING: usize = 8;

/// A prompt, and the adapter it is read with: cells of the same tokens are others under another adapter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Its tokens.
    pub(super) prompt: &'a [Token],
    /// The adapter.
    pub(super) adapter: Option<Applied>,
}

/// A slot for a prompt, and what it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// The slot's place.
    pub(super) slot: usize,
    /// Where the first cells come from.
    pub(super) start: Start,
}

/// Where the first cells of a prompt come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The slot's own, so many of them.
    Own(usize),
    /// A copy of another slot's first ones.
    Copy(Source),
    /// A copy too, once the other slot has read that far.
    Follow(Source),
}

/// Another slot and how many of its first tokens agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The slot's place.
    pub(super) slot: usize,
    /// Which of its requests is meant: another one may read another prompt.
    pub(super) admission: u64,
    /// Tokens in common.
    pub(super) tokens: usize,
}

/// The tokens that a copy must save.
pub(super) fn least_copied(context: usize) -> usize {
    (context / CONTEXT_SHARE).max(LEAST_COPIED)
}

/// Chooses a free slot for what is `wanted`; `None` when all are taken. `least` is what a copy must save.
pub(super) fn place(slots: &[Slot], wanted: Wanted<'_>, can_rewind: bool, least: usize) -> Option<Placement> {
    let free = || (0..slots.len()).filter(|&slot| slots[slot].run.is_none());
    let oldest = free().min_by_key(|&slot| slots[slot].last_used)?;
    let held = |slot: usize| slots[slot].reusable(wanted, can_rewind);
    let own = free().max_by_key(|&slot| (held(slot), u64::MAX - slots[slot].last_used))?;
    // A few tokens in common, as any two prompts of one template have, are no reason to make another talk cold.
    let own = if held(own) < least { oldest } else { own };
    let at_hand = held(own);
    let stay = Placement { slot: own, start: Start::Own(at_hand) };
    if !can_rewind {
        return Some(stay);
    }
    let from = best_held(slots, wanted);
    let now = from.map_or(0, |from| from.tokens).max(at_hand);
    if let Some(leader) = best_reading(slots, wanted)
        && leader.tokens >= now + least
    {
        return Some(Placement { slot: oldest, start: Start::Follow(leader) });
    }
    let Some(from) = from.filter(|from| from.tokens >= least) else { return Some(stay) };
    if at_hand + least > now && (goes_on(&slots[own], at_hand, least) || own == oldest) {
        return Some(stay);
    }
    let start = match held(oldest) {
        held if held + least > from.tokens => Start::Own(held),
        _ => Start::Copy(from),
    };
    Some(Placement { slot: oldest, start })
}

/// Whether a prompt that shares `shared` tokens with an idle slot goes on with its talk: it holds the whole last prompt,
/// or little else is lost. Another talk with the same system prompt does not.
fn goes_on(slot: &Slot, shared: usize, least: usize) -> bool {
    shared + ANSWER_BEGINNING >= slot.prompt_tokens || slot.held.len() - shared < least
}

/// The slot that holds most of what is wanted, busy or not.
pub(super) fn best_held(slots: &[Slot], wanted: Wanted<'_>) -> Option<Source> {
    let sources = slots.iter().enumerate().map(|(place, slot)| Source {
        slot: place,
        admission: slot.last_used,
        tokens: slot.reusable(wanted, true),
    });
    sources.filter(|source| source.tokens > 0).max_by_key(|source| source.tokens)
}

/// The slot that is reading a prompt with the longest common beginning.
pub(super) fn best_reading(slots: &[Slot], wanted: Wanted<'_>) -> Option<Source> {
    let sources = slots.iter().enumerate().filter(|(_, slot)| slot.unread() > 0).map(|(place, slot)| {
        Source { slot: place, admission: slot.last_used, tokens: slot.will_hold(wanted) }
    });
    sources.max_by_key(|source| source.tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = 32;

    fn tokens(range: std::ops::Range<i32>) -> Vec<Token> {
        range.map(Token).collect()
    }

    fn bare(prompt: &[Token]) -> Wanted<'_> {
        Wanted { prompt, adapter: None }
    }

    /// Idle slots, the first used longest ago, each holding a prompt and twenty tokens of an answer.
    fn idle(prompts: &[&[Token]]) -> Vec<Slot> {
        let slots = prompts.iter().zip(0..).map(|(prompt, number)| {
            let mut slot = Slot::new(number);
            slot.held = [prompt, &tokens(9000..9020)[..]].concat();
            (slot.prompt_tokens, slot.last_used) = (prompt.len(), 1 + u64::from(number.unsigned_abs()));
            slot
        });
        slots.collect()
    }

    fn system_and(more: std::ops::Range<i32>) -> Vec<Token> {
        [tokens(0..1500), tokens(more)].concat()
    }

    #[test]
    fn a_talk_that_goes_on_keeps_its_slot() {
        let (a, b) = (system_and(2000..2100), system_and(3000..3100));
        let slots = idle(&[&a, &b]);
        let next = [&b[..], &tokens(9000..9020)[..], &tokens(4000..4100)[..]].concat();
        let placement = place(&slots, bare(&next), true, LEAST).unwrap();
        assert_eq!(placement, Placement { slot: 1, start: Start::Own(1620) });
        // Its client cut the answer: still the same talk.
        let cut = [&b[..], &tokens(4000..4100)[..]].concat();
        assert_eq!(
            place(&slots, bare(&cut), true, LEAST).unwrap(),
            Placement { slot: 1, start: Start::Own(1600) }
        );
    }

    #[test]
    fn another_talk_with_the_same_beginning_takes_a_copy() {
        let (a, b) = (tokens(7000..7900), system_and(2000..2100));
        let slots = idle(&[&a, &b]);
        let placement = place(&slots, bare(&system_and(5000..5100)), true, LEAST).unwrap();
        assert_eq!(
            placement.slot, 0,
            "the slot used longest ago gives way, the talk with the beginning stays warm"
        );
        assert!(
            matches!(placement.start, Start::Copy(Source { slot: 1, tokens: 1500, .. })),
            "{placement:?}"
        );
        // Where the oldest is the one that holds it, nothing need be copied.
        let slots = idle(&[&b, &a]);
        let placement = place(&slots, bare(&system_and(5000..5100)), true, LEAST).unwrap();
        assert_eq!(placement, Placement { slot: 0, start: Start::Own(1500) });
    }

    #[test]
    fn what_does_not_pay_or_cannot_be_done_is_not_copied() {
        let (a, b) = (tokens(7000..7900), tokens(0..100));
        let slots = idle(&[&a, &b]);
        let few = [tokens(0..20), tokens(5000..5100)].concat();
        assert!(matches!(place(&slots, bare(&few), true, LEAST).unwrap().start, Start::Own(_)));
        let none = place(&slots, bare(&tokens(5000..5100)), true, LEAST).unwrap();
        assert_eq!(none, Placement { slot: 0, start: Start::Own(0) });
        let slots = idle(&[&a, &system_and(2000..2100)]);
        let fixed = place(&slots, bare(&system_and(5000..5100)), false, LEAST).unwrap();
        assert_eq!(fixed, Placement { slot: 0, start: Start::Own(0) }, "a state that cannot be rewound");
        assert_eq!(least_copied(4096), 64);
        assert_eq!(least_copied(512), 32);
    }

    #[test]
    fn what_another_adapter_has_read_serves_nobody_else() {
        let (a, b) = (system_and(2000..2100), tokens(7000..7900));
        let mut slots = idle(&[&b, &a]);
        let with = |adapter, scale| Wanted { prompt: &a, adapter: Some(Applied { adapter, scale }) };
        slots[1].adapter = with(0, 1.0).adapter;
        let warm = place(&slots, with(0, 1.0), true, LEAST).unwrap();
        assert_eq!(warm, Placement { slot: 1, start: Start::Own(1599) });
        for other in [bare(&a), with(1, 1.0), with(0, 0.5)] {
            let cold = place(&slots, other, true, LEAST).unwrap();
            assert_eq!(cold, Placement { slot: 0, start: Start::Own(0) }, "{:?}", other.adapter);
            assert!(best_held(&slots, other).is_none() && best_reading(&slots, other).is_none());
        }
    }
}
