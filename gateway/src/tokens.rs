//! How many tokens a model's tokenizer makes of one that was expected: what corrects the estimate made without a tokenizer.
//!
//! Learned from the usage that engines report. It corrects what is expected (the window, the cost, the time), never what is held: that
//! stays the bound of one token a byte.

use std::sync::atomic::{AtomicU64, Ordering};

/// A shorter prompt's tokens are mostly its template's.
const LEAST: u64 = 64;
/// After this many prompts the newest counts one part in as many.
const MEMORY: u32 = 32;
/// Beyond these it is the usage that is odd.
const RANGE: std::ops::RangeInclusive<f32> = 0.2..=4.0;

/// The ratio of one model. Logarithm of the ratio and number of prompts, in one word, so that both move together.
#[derive(Debug, Default)]
pub struct TokenRatio(AtomicU64);

impl TokenRatio {
    /// Tokens for one that was expected; 1 until it is known.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from(read(self.0.load(Ordering::Relaxed)).0.exp())
    }

    /// So many tokens for this many expected.
    #[must_use]
    pub fn of(&self, expected: u64) -> u64 {
        (expected as f64 * self.get()).ceil() as u64
    }

    /// Takes in what an engine reports of a prompt.
    pub fn learn(&self, expected: u64, reported: u64) {
        let ratio = reported as f32 / expected.max(1) as f32;
        if expected < LEAST || !RANGE.contains(&ratio) {
            return;
        }
        let next = |word| {
            let (mean, seen) = read(word);
            let seen = (seen + 1).min(MEMORY);
            Some(write(mean + (ratio.ln() - mean) / seen as f32, seen))
        };
        // It always has a next value, so there is nothing to report.
        let _before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

fn read(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

fn write(mean: f32, seen: u32) -> u64 {
    u64::from(mean.to_bits()) << 32 | u64::from(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_engines_report() {
        let ratio = TokenRatio::default();
        assert_eq!(ratio.of(100), 100);
        for _ in 0..3 {
            ratio.learn(1000, 650);
        }
        assert!((ratio.get() - 0.65).abs() < 1e-3, "at once: {}", ratio.get());
        for _ in 0..200 {
            ratio.learn(1000, 1300);
        }
        assert!((ratio.get() - 1.3).abs() < 1e-2, "and later too: {}", ratio.get());
    }

    #[test]
    fn what_says_nothing_of_the_tokenizer_is_passed_over() {
        let ratio = TokenRatio::default();
        ratio.learn(10, 40);
        ratio.learn(1000, 0);
        ratio.learn(1000, 50_000);
        ratio.learn(0, 10);
        assert_eq!(ratio.of(1_000_000), 1_000_000);
    }
}
