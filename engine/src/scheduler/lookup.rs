//! Guesses at the next tokens of an answer, looked up in what was said before: an edit repeats most of the text it edits.
//! Guesses are computed together with the token before them and each is then picked or not as ever, so they change how
//! fast an answer is written and not what it says. Pure.

use crate::llama::Token;

/// So many last tokens must have been said before, in this order.
const CONTEXT_TOKENS: usize = 3;
/// Guesses of an answer that begins: with the token before them four, which is how many llama.cpp's kernels take at once.
const FIRST_LENGTH: usize = 3;
/// An answer that its guesses have missed is written so far before there are new ones.
const REST_TOKENS: usize = 16;

/// How many tokens to guess, by how the last guesses fared: what is missed has cost time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    length: usize,
    rested: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { length: FIRST_LENGTH, rested: 0 }
    }
}

impl Pace {
    /// Tokens to guess, `most` at most.
    pub(super) fn length(&self, most: usize) -> usize {
        self.length.min(most)
    }

    /// Notes that of `guessed` tokens so many were `right`, and the step's own token besides.
    pub(super) fn note(&mut self, guessed: usize, right: usize, most: usize) {
        if self.length == 0 {
            self.rested += 1;
            if self.rested >= REST_TOKENS {
                *self = Self::default();
            }
        } else if guessed > 0 {
            self.rested = 0;
            self.length = match right {
                0 if self.length <= FIRST_LENGTH => 0,
                right if right == guessed => (self.length * 2 + 1).min(most),
                _ => FIRST_LENGTH,
            };
        }
    }
}

/// The tokens that followed when `said` and then `next` were last heard, `most` at most; empty where they never were.
pub(super) fn guess(said: &[Token], next: Token, most: usize) -> &[Token] {
    let Some((&last, earlier)) = said.split_last().filter(|_| said.len() >= CONTEXT_TOKENS) else {
        return &[];
    };
    let Some(&before) = earlier.last() else { return &[] };
    let wanted = [before, last, next];
    // The last three themselves end in `next`, which is not among `said`, so they are never found.
    let found = said.windows(CONTEXT_TOKENS).rposition(|window| window == wanted);
    let Some(found) = found else { return &[] };
    let from = found + CONTEXT_TOKENS;
    &said[from..said.len().min(from + most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(numbers: &[i32]) -> Vec<Token> {
        numbers.iter().copied().map(Token).collect()
    }

    #[test]
    fn what_followed_the_last_time_is_guessed() {
        let said = tokens(&[1, 2, 3, 4, 5, 1, 2, 3, 7, 8, 9, 1, 2]);
        assert_eq!(guess(&said, Token(3), 3), tokens(&[7, 8, 9]));
        assert_eq!(guess(&said, Token(3), 1), tokens(&[7]));
        assert_eq!(guess(&said, Token(4), 3), tokens(&[]));
        assert_eq!(guess(&tokens(&[1, 2, 1, 2]), Token(1), 8), tokens(&[2]), "a text that repeats itself");
        assert_eq!(guess(&tokens(&[1]), Token(1), 8), tokens(&[]));
        assert_eq!(guess(&[], Token(1), 8), tokens(&[]));
    }

    #[test]
    fn guesses_grow_while_they_are_right_and_rest_when_they_are_not() {
        let mut pace = Pace::default();
        assert_eq!(pace.length(7), FIRST_LENGTH);
        pace.note(3, 3, 7);
        pace.note(7, 7, 7);
        assert_eq!(pace.length(7), 7);
        pace.note(7, 4, 7);
        assert_eq!(pace.length(7), FIRST_LENGTH);
        pace.note(3, 1, 7);
        assert_eq!(pace.length(7), FIRST_LENGTH);
        pace.note(3, 0, 7);
        for _ in 0..REST_TOKENS {
            assert_eq!(pace.length(7), 0);
            pace.note(0, 0, 7);
        }
        assert_eq!(pace.length(7), FIRST_LENGTH);
    }
}
