//! From features to what the network reads: n-grams that training kept, brought to unit length, and standardised
//! counts.
//!
//! The network sums rows of two tables: for each n-gram what was learned of it, for each word also what it means. How
//! much each counts depends on all others of the text, so it is reckoned here, and the graph has plain weighted sums.

use std::borrow::Cow;

use serde::Deserialize;

use crate::features::{BUCKETS, DENSE, Features, WORD_BUCKETS};

/// Learned n-grams of a text weigh at least this much (squared) when they are brought to unit length.
const LEAST_KEPT: f32 = 1e-6;
/// The same of the words' meanings, in units of their 8-bit weights.
const LEAST_MASS: f32 = 1e-3;
/// Standardised counts are cut here, so that one odd text cannot decide alone.
const CUT: f32 = 4.0;

/// The graph's tables and the constants that go with them.
#[derive(Clone, Debug)]
pub(crate) struct Bag {
    scales: Scales,
    /// Four tables of 8-bit numbers, one after the other: learned rows for all n-grams; for the words the rows of their
    /// meaning, and one weight each; a bit for each n-gram, the lowest first, whether training kept it.
    table: Cow<'static, [u8]>,
}

/// Constants from the graph's metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scales {
    /// Columns of the learned table.
    learned: usize,
    /// What a learned number is multiplied with.
    learned_scale: f32,
    /// Columns of the meanings.
    meaning: usize,
    /// What a number of a meaning is multiplied with.
    meaning_scale: f32,
    /// Of the counts in the training prompts.
    mean: Vec<f32>,
    /// The same.
    deviation: Vec<f32>,
}

/// What the network reads of one text. Both lists have at least one entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bagged {
    /// Rows of the learned table.
    pub(crate) ids: Vec<i32>,
    /// The weight of each.
    pub(crate) weights: Vec<f32>,
    /// Rows of the meanings.
    pub(crate) words: Vec<i32>,
    /// The weight of each.
    pub(crate) shares: Vec<f32>,
    /// Standardised counts.
    pub(crate) counts: [f32; DENSE],
    /// Share of the text's words that training did not keep.
    pub(crate) unknown: f32,
}

impl Bag {
    /// Puts tables and constants together; the error says what does not fit.
    pub(crate) fn new(scales: Scales, table: Cow<'static, [u8]>) -> Result<Bag, String> {
        let Scales { learned, meaning, .. } = scales;
        let wanted = BUCKETS * learned + WORD_BUCKETS * (meaning + 1) + BUCKETS / 8;
        if table.len() != wanted {
            return Err(format!("its table has {} bytes, not {wanted}", table.len()));
        }
        let finite =
            |numbers: &[f32]| numbers.len() == DENSE && numbers.iter().all(|number| number.is_finite());
        let sound = finite(&scales.mean)
            && finite(&scales.deviation)
            && scales.deviation.iter().all(|deviation| *deviation > 0.0)
            && scales.learned_scale.is_finite()
            && scales.meaning_scale.is_finite();
        if sound { Ok(Bag { scales, table }) } else { Err(format!("its bag is {scales:?}")) }
    }

    /// The learned table with its number of columns.
    pub(crate) fn learned(&self) -> (usize, &[i8]) {
        let Scales { learned, .. } = self.scales;
        (learned, bytemuck::cast_slice(&self.table[..BUCKETS * learned]))
    }

    /// The meanings with their number of columns.
    pub(crate) fn meaning(&self) -> (usize, &[i8]) {
        let Scales { meaning, .. } = self.scales;
        let rest = &self.table[BUCKETS * self.scales.learned..];
        (meaning, bytemuck::cast_slice(&rest[..WORD_BUCKETS * meaning]))
    }

    /// For each word how much its meaning counts.
    fn mass(&self) -> &[i8] {
        let rest = &self.table[BUCKETS * self.scales.learned + WORD_BUCKETS * self.scales.meaning..];
        bytemuck::cast_slice(&rest[..WORD_BUCKETS])
    }

    fn kept(&self) -> &[u8] {
        &self.table[self.table.len() - BUCKETS / 8..]
    }

    /// Replaces `into` by what the network reads of `features`.
    pub(crate) fn fill(&self, features: &Features, into: &mut Bagged) {
        let Bagged { ids, weights, words, shares, counts, unknown } = into;
        [&mut *ids, words].into_iter().for_each(Vec::clear);
        [&mut *weights, shares].into_iter().for_each(Vec::clear);
        let (masses, bits) = (self.mass(), self.kept());
        let (mut kept_square, mut word_square, mut known_square, mut mass) = (0.0, 0.0, 0.0, 0.0);
        for (&id, &weight) in features.ids.iter().zip(&features.weights) {
            let row = id as usize;
            let square = weight * weight;
            let is_kept = bits[row / 8] >> (row % 8) & 1 == 1;
            if is_kept {
                ids.push(id);
                weights.push(weight);
                kept_square += square;
            }
            if let Some(&word) = masses.get(row) {
                word_square += square;
                known_square += if is_kept { square } else { 0.0 };
                if word != 0 {
                    words.push(id);
                    shares.push(weight);
                    mass += weight * f32::from(word);
                }
            }
        }
        *unknown = 1.0 - known_square / f32::max(word_square, LEAST_KEPT);
        let scale = self.scales.learned_scale / f32::max(kept_square, LEAST_KEPT).sqrt();
        weights.iter_mut().for_each(|weight| *weight *= scale);
        let scale = self.scales.meaning_scale / f32::max(mass, LEAST_MASS);
        shares.iter_mut().for_each(|share| *share *= scale);
        for (rows, weights) in [(ids, weights), (words, shares)] {
            if rows.is_empty() {
                rows.push(0);
                weights.push(0.0);
            }
        }
        for (at, count) in counts.iter_mut().enumerate() {
            let standard = (features.dense[at] - self.scales.mean[at]) / self.scales.deviation[at];
            *count = standard.clamp(-CUT, CUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One learned column, two of meaning; words 3 and 4 and the n-gram after all words were kept, 3 and 5 have a meaning.
    fn bag() -> Bag {
        let scales = Scales {
            learned: 1,
            learned_scale: 2.0,
            meaning: 2,
            meaning_scale: 10.0,
            mean: vec![1.0; DENSE],
            deviation: vec![0.5; DENSE],
        };
        let mut table = vec![0; BUCKETS + WORD_BUCKETS * 3 + BUCKETS / 8];
        let mass = BUCKETS + WORD_BUCKETS * 2;
        (table[mass + 3], table[mass + 5]) = (4, 2);
        let kept = mass + WORD_BUCKETS;
        table[kept] = 0b11000;
        table[kept + WORD_BUCKETS / 8] = 1;
        Bag::new(scales, table.into()).unwrap()
    }

    fn filled(ids: &[i32], weights: &[f32]) -> Bagged {
        let features = Features { ids: ids.to_vec(), weights: weights.to_vec(), ..Features::default() };
        let mut bagged = Bagged { ids: vec![9], words: vec![9], ..Bagged::default() };
        bag().fill(&features, &mut bagged);
        bagged
    }

    #[test]
    fn what_was_kept_has_unit_length_and_meanings_are_a_mean() {
        let gram = WORD_BUCKETS as i32;
        let found = filled(&[3, 4, 5, gram, gram + 1], &[0.3, 0.4, 0.5, 1.2, 9.0]);
        assert_eq!(found.ids, [3, 4, gram]);
        let length = (found.weights.iter().map(|weight| weight * weight).sum::<f32>()).sqrt();
        assert!((length - 2.0).abs() < 1e-5 && (found.weights[2] / found.weights[0] - 4.0).abs() < 1e-5);
        assert_eq!(found.words, [3, 5]);
        // 0.3 with weight 4 and 0.5 with weight 2, a mass of 2.2.
        assert!(
            (found.shares[0] - 10.0 * 0.3 / 2.2).abs() < 1e-5
                && (found.shares[1] - 10.0 * 0.5 / 2.2).abs() < 1e-5
        );
        assert!((found.unknown - 0.25 / 0.5).abs() < 1e-5, "{}", found.unknown);
        assert!(found.counts.iter().all(|count| (count + 2.0).abs() < 1e-6), "(0 - 1) / 0.5");
    }

    #[test]
    fn a_text_of_nothing_known_still_has_a_row() {
        let found = filled(&[7], &[1.0]);
        assert_eq!(
            (found.ids, found.weights, found.words, found.shares),
            (vec![0], vec![0.0], vec![0], vec![0.0])
        );
        assert!((found.unknown - 1.0).abs() < 1e-6);
    }

    #[test]
    fn tables_and_constants_that_do_not_fit_are_refused() {
        let Bag { scales, table } = bag();
        let short = Bag::new(scales.clone(), table[1..].to_vec().into()).unwrap_err();
        assert!(short.contains("bytes"), "{short}");
        let flat = Scales { deviation: vec![0.0; DENSE], ..scales.clone() };
        assert!(Bag::new(flat, table.clone()).is_err());
        let few = Scales { mean: vec![0.0], ..scales };
        assert!(Bag::new(few, table).is_err());
    }
}
