//! What a calibrated head reads of a task: the hashed n-grams, and one row of values.
//!
//! The values are what the graph's heads say and the dense counts, brought to one scale by the labels' means and
//! deviations.

use serde::{Deserialize, Serialize};

use super::logistic::logit;
use crate::classify::DOMAINS;
use crate::features::DENSE;
use crate::links::{Heads, Said};

/// One task as a head reads it.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Rows of the n-gram table.
    pub(crate) ids: Vec<i32>,
    /// Weight of each.
    pub(crate) weights: Vec<f32>,
    /// The graph's outputs, then the dense counts.
    pub(crate) values: Vec<f32>,
    /// Place of the likeliest domain.
    pub(crate) domain: usize,
}

/// The same, borrowed from where it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputsView<'a> {
    pub(crate) ids: &'a [i32],
    pub(crate) weights: &'a [f32],
    pub(crate) values: &'a [f32],
    pub(crate) domain: usize,
}

impl From<InputsView<'_>> for Inputs {
    fn from(view: InputsView<'_>) -> Inputs {
        let InputsView { ids, weights, values, domain } = view;
        Inputs { ids: ids.to_vec(), weights: weights.to_vec(), values: values.to_vec(), domain }
    }
}

#[cfg(test)]
impl Inputs {
    pub(crate) fn view(&self) -> InputsView<'_> {
        let Inputs { ids, weights, values, domain } = self;
        InputsView { ids, weights, values, domain: *domain }
    }
}

/// How many values there are.
pub(crate) const VALUES: usize = 5 + DOMAINS.len() + DENSE;

/// Writes the row of values: logits of p(small) and p(large), their difference, the lengths' logarithms, the
/// domains' probabilities, the dense counts. The first two places are the heads' own outputs.
pub(crate) fn values(said: &Said, heads: &Heads, dense: &[f32], to: &mut Vec<f32>) {
    let Said { p_small, p_large, .. } = *said;
    let domains = &heads.domains;
    to.clear();
    to.extend([logit(p_small), logit(p_large), p_large - p_small, heads.log_p50, heads.log_p90]);
    let most = domains.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = domains.iter().map(|value| (value - most).exp()).sum();
    to.extend(domains.iter().map(|value| (value - most).exp() / sum));
    to.extend(dense);
}

/// Means and deviations of the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale {
    pub(crate) mean: Vec<f32>,
    pub(crate) deviation: Vec<f32>,
}

/// Standardised values are cut here, so that one odd prompt cannot decide alone.
const CUT: f32 = 4.0;
/// A standardised count beside a bag of words of length 1: the counts together weigh about as much as the words.
const WEIGHT: f32 = 0.1;
/// The graph's own outputs know more than a count does.
const OUTPUT_WEIGHT: f32 = 0.2;

impl Scale {
    /// Of some tasks' values.
    pub(crate) fn of<'a>(rows: impl Iterator<Item = &'a [f32]> + Clone) -> Scale {
        let width = rows.clone().next().map_or(0, <[f32]>::len);
        let count = rows.clone().count().max(1) as f32;
        let mut mean = vec![0.0; width];
        rows.clone().for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / count));
        let mut variance = vec![0.0; width];
        for row in rows {
            for ((sum, value), mean) in variance.iter_mut().zip(row).zip(&mean) {
                *sum += (value - mean) * (value - mean) / count;
            }
        }
        // Rounded as they will be written, so that what is fitted is what is served.
        let deviation = variance.iter().map(|variance| round(variance.sqrt() + 1e-3)).collect();
        Scale { mean: mean.into_iter().map(round).collect(), deviation }
    }

    /// A value on the common scale.
    pub(crate) fn at(&self, place: usize, value: f32) -> f32 {
        let standard = (value - self.mean[place]) / self.deviation[place];
        let weight = if place < self.dense() { OUTPUT_WEIGHT } else { WEIGHT };
        if standard.is_finite() { weight * standard.clamp(-CUT, CUT) } else { 0.0 }
    }

    /// Where the dense counts begin.
    pub(crate) fn dense(&self) -> usize {
        self.mean.len().saturating_sub(DENSE)
    }

    /// Whether it can scale rows of some width.
    pub(crate) fn is_sound(&self, width: usize) -> bool {
        let finite = self.mean.iter().all(|mean| mean.is_finite());
        let positive = self.deviation.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0);
        self.mean.len() == width && self.deviation.len() == width && finite && positive
    }
}

/// What the words' weights are multiplied with, so that the known ones have length 1 together; texts of almost
/// unknown words are not blown up.
pub(crate) fn word_scale(known_square: f32) -> f32 {
    known_square.max(0.2).sqrt().recip()
}

/// To six digits: enough, and short in a file.
pub(crate) fn round(value: f32) -> f32 {
    (f64::from(value) * 1e6).round() as f32 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_centred_cut_and_small() {
        let mut rows = vec![vec![5.0; DENSE + 2]; 2];
        (rows[0][0], rows[1][0], rows[0][2], rows[1][2]) = (1.0, 3.0, 1.0, 3.0);
        let scale = Scale::of(rows.iter().map(Vec::as_slice));
        assert!((scale.at(0, 3.0) - OUTPUT_WEIGHT).abs() < 1e-3 && (scale.at(2, 1.0) + WEIGHT).abs() < 1e-3);
        assert!((scale.at(3, 1e9) - CUT * WEIGHT).abs() < 1e-6, "a constant value is cut when it is another");
        assert!(scale.at(0, f32::NAN).abs() < 1e-9);
        assert!(scale.is_sound(DENSE + 2) && !scale.is_sound(DENSE));
    }
}
