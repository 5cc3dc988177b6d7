//! Features of a task: hashed n-grams for the graph's embedding bag, and a few dense counts.
//!
//! Written once and used by the gateway, by `tollgate score` and by training (through the
//! `router-features` program), so that what was learned is what is served. One pass over the bytes
//! that are looked at, buffers are reused, and long texts are sampled at both ends.

mod dense;
mod letters;
mod merge;
mod trim;
mod words;

pub(crate) use dense::LOG_WORDS;
pub use dense::{DENSE, DENSE_NAMES};

use crate::task::{Task, head, tail};
use dense::Counts;

/// Rows of the embedding bag's table. Whole words have the first rows to themselves, so that each can
/// carry its meaning and the graph can tell what share of a text's words it knows; all other n-grams
/// share the rest.
pub const BUCKETS: usize = WORD_BUCKETS + GRAM_BUCKETS;
/// Rows for whole words; a power of two.
pub const WORD_BUCKETS: usize = 1 << 17;
/// Rows for pairs, beginnings, ends and places of words; a power of two.
const GRAM_BUCKETS: usize = 1 << 16;
/// Changes whenever the same text gives other features: a graph made for one version refuses another.
pub const VERSION: u32 = 6;
/// Of a passage longer than both together, this much is read at its start and at its end.
const HEAD_BYTES: usize = 2560;
const TAIL_BYTES: usize = 1536;

/// The features of one task. Reuse a value to reuse its buffers.
#[derive(Clone, Debug, Default)]
pub struct Features {
    /// Rows of the table, each once.
    pub ids: Vec<i32>,
    /// Weight of each row; the squares sum to one.
    pub weights: Vec<f32>,
    /// Dense counts, see [`DENSE_NAMES`].
    pub dense: [f32; DENSE],
    pub(crate) words: words::Window,
    pub(crate) merger: merge::Merger,
}

impl Features {
    /// Replaces the features by those of `task`.
    pub fn extract(&mut self, task: &Task<'_>) {
        self.ids.clear();
        self.weights.clear();
        let mut counts = Counts::default();
        for passage in task.passages() {
            self.words.begin(passage.weight);
            let text = if passage.counted { trim::request(passage.text) } else { passage.text };
            let parts = if text.len() > HEAD_BYTES + TAIL_BYTES {
                [head(text, HEAD_BYTES), tail(text, TAIL_BYTES)]
            } else {
                [text, ""]
            };
            if passage.counted {
                counts.add_length(text.len(), parts[0].len() + parts[1].len());
            }
            for part in parts {
                let tally = passage.counted.then_some(&mut counts);
                words::scan(part, tally, &mut self.words, &mut self.ids, &mut self.weights);
            }
            self.words.finish(&mut self.ids, &mut self.weights);
        }
        self.merger.merge(&mut self.ids, &mut self.weights);
        self.normalise();
        self.dense = counts.features();
    }

    /// Whether the task had no word and no sign.
    pub(crate) fn is_blank(&self) -> bool {
        self.weights.iter().all(|weight| *weight == 0.0)
    }

    /// Scales the weights to unit length, so that a text's length is told by the dense counts alone.
    fn normalise(&mut self) {
        let square: f32 = self.weights.iter().map(|weight| weight * weight).sum();
        let scale = if square > 0.0 { square.sqrt().recip() } else { 0.0 };
        self.weights.iter_mut().for_each(|weight| *weight *= scale);
        if self.ids.is_empty() {
            // The graph wants at least one row.
            self.ids.push(0);
            self.weights.push(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Features {
        let mut features = Features::default();
        features.extract(&Task::prompt(text));
        features
    }

    #[test]
    fn a_known_text_keeps_its_features() {
        // Changing these values means raising VERSION and training anew.
        let features = of("What is 12 + 30? Prüfe es: 你好");
        let sum = features.ids.iter().fold(0u64, |sum, id| sum.wrapping_mul(31).wrapping_add(*id as u64));
        assert_eq!((features.ids.len(), sum), (30, 11_519_669_809_526_302_531));
    }

    #[test]
    fn case_and_spaces_do_not_matter_to_the_bag() {
        assert_eq!(of("Prove the claim").ids, of("  prove   THE claim \n").ids);
    }

    /// The rows of whole words.
    fn words(text: &str) -> Vec<i32> {
        of(text).ids.into_iter().filter(|id| (*id as usize) < WORD_BUCKETS).collect()
    }

    #[test]
    fn what_is_written_together_is_taken_apart() {
        for (text, word, count) in [
            ("증명하세요", "증명", 2),
            ("AI를", "ai", 2),
            ("البرهان", "برهان", 1),
            ("25명", "명", 2),
            ("データの", "データ", 2),
        ] {
            let found = words(text);
            assert!(found.contains(&words(word)[0]) && found.len() == count, "{text}: {found:?}");
        }
    }

    #[test]
    fn long_texts_are_sampled() {
        let long = "lorem ipsum dolor ".repeat(10_000);
        assert!(of(&long).ids.len() < 4_000);
        assert!(of(&long).dense[0] > of(&long[..4_000]).dense[0], "their length still counts");
    }

    #[test]
    fn buffers_are_reused_without_a_trace() {
        let mut features = of("Write a sonnet about the sea, then translate it into Greek.");
        features.extract(&Task::prompt("hi"));
        let fresh = of("hi");
        assert_eq!((features.ids, features.weights, features.dense), (fresh.ids, fresh.weights, fresh.dense));
    }

    proptest! {
        #[test]
        fn any_text_gives_usable_features(text in "\\PC{0,400}") {
            let features = of(&text);
            prop_assert_eq!(features.ids.len(), features.weights.len());
            prop_assert!(!features.ids.is_empty());
            prop_assert!(features.ids.iter().all(|id| (0..BUCKETS as i32).contains(id)));
            prop_assert!(features.dense.iter().chain(&features.weights).all(|value| value.is_finite()));
        }
    }
}
