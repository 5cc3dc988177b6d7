//! Numbers that know no end.
//!
//! JSON lets a number have any number of digits, and a small model may go on writing zeros until its limit of tokens, so
//! that nothing valid comes out. After so many digits in a row a number has to end, wherever the grammar lets it.

use llguidance::toktrie::{SimpleVob, TokTrie};

/// Digits in a row after which a number has to end: a 64-bit integer has 20, the shortest form of any 64-bit float 17.
const MOST: usize = 32;

/// How many digits the answer ends with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Digits(usize);

impl Digits {
    /// Goes on with a token's text.
    pub(super) fn follow(&mut self, text: &[u8]) {
        let last = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        self.0 = if last == text.len() { self.0 + last } else { last };
    }

    /// Whether there have been enough.
    pub(super) const fn enough(self) -> bool {
        self.0 >= MOST
    }
}

/// Takes from the tokens that may follow enough digits those that would go on with them. In a text, where letters may
/// follow too, digits are as good as any; and where nothing else may follow they have to.
pub(super) fn end_number(mask: &mut SimpleVob, vocabulary: &TokTrie) {
    let letter = vocabulary.token_id(b"x").is_some_and(|token| mask.is_allowed(token));
    if letter {
        return;
    }
    let goes_on = |token: &u32| vocabulary.token(*token).first().is_some_and(u8::is_ascii_digit);
    let digits: Vec<u32> = mask.iter().filter(goes_on).collect();
    if digits.len() < mask.num_set() {
        digits.into_iter().for_each(|token| mask.disallow_token(token));
    }
}
