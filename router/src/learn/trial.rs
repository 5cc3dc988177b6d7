//! Whether abilities learned are better than those in force: a doubly-robust estimate on requests they were not made from.
//!
//! Each half of the requests is decided again under the abilities made from the other half. What that would have been worth
//! is taken from the model of good answers, and corrected by the judged answers, each weighed by how improbable it was to be
//! judged (Dudík, Langford, Li: Doubly Robust Policy Evaluation and Learning, 2011). Since the trial is looked at again and
//! again as verdicts come in, its interval is one that holds at every look (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas:
//! Time-uniform central limit theory and asymptotic confidence sequences, 2021), not the normal one of a single look.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ability::Abilities;
use crate::choice::Candidate;

use super::{Learner, Outcome};

/// Requests judged before anything is promoted, and those of them that would go elsewhere.
const LEAST_REQUESTS: usize = 100;
const LEAST_DIFFERING: usize = 30;
/// Probability that the interval ever misses the truth.
const ALPHA: f64 = 0.05;
/// The number of requests at which the interval is narrowest for its kind.
const TIGHTEST: f64 = 500.0;

/// What a trial came to; values are in quality, the objective's unit, for each judged request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Requests of which an answer was judged.
    pub requests: usize,
    /// Of these, the ones that would go to another model.
    pub differing: usize,
    /// How much more a request would be worth on average.
    pub gain: f64,
    /// Lower end of the gain's 95 % interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Trial {
    /// Whether the abilities tried should replace those in force.
    #[must_use]
    pub fn promotes(&self) -> bool {
        self.requests >= LEAST_REQUESTS && self.differing >= LEAST_DIFFERING && self.low > 0.0
    }
}

/// Tries what `learner` learned against `in_force`.
pub(super) fn of(learner: &Learner, in_force: &Abilities) -> Trial {
    let from_odd = learner.proposal_of(|outcome| is_odd(&outcome.request));
    let from_even = learner.proposal_of(|outcome| !is_odd(&outcome.request));
    let mut requests: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in &learner.outcomes {
        requests.entry(&outcome.request).or_default().push(outcome);
    }
    let mut differing = 0;
    let gains: Vec<f64> = requests
        .iter()
        .map(|(request, outcomes)| {
            let tried = if is_odd(request) { &from_even } else { &from_odd };
            let choice = &outcomes[0].choice;
            match (choice.take(tried), choice.take(in_force)) {
                (Some(new), Some(old)) if new.model != old.model => {
                    differing += 1;
                    value(new, outcomes, tried) - value(old, outcomes, tried)
                }
                _ => 0.0,
            }
        })
        .collect();
    let (gain, reach) = interval(&gains);
    Trial { requests: gains.len(), differing, gain, low: gain - reach, high: gain + reach }
}

/// Doubly-robust value of having sent one request to a candidate.
fn value(candidate: &Candidate, outcomes: &[&Outcome], abilities: &Abilities) -> f64 {
    let choice = &outcomes[0].choice;
    let expected = abilities.get(&candidate.model).map_or(0.5, |ability| choice.p_good(ability));
    let judged: Vec<f64> = outcomes
        .iter()
        .filter(|outcome| outcome.model == candidate.model)
        .map(|outcome| (f64::from(u8::from(outcome.good)) - expected) / outcome.propensity)
        .collect();
    // The same answer judged twice is one answer.
    let correction = judged.iter().sum::<f64>() / judged.len().max(1) as f64;
    choice.value(candidate, expected + correction)
}

/// Mean, and half the width of the interval that holds at every number of requests.
fn interval(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    let twice = -2.0 * ALPHA.ln();
    let rho2 = (twice + (twice + 1.0).ln()) / TIGHTEST;
    let spread = count * rho2 + 1.0;
    let reach = (variance * 2.0 * spread / (count * count * rho2) * (spread.sqrt() / ALPHA).ln()).sqrt();
    (mean, reach)
}

/// Which half a request is in, by a hash of its id (FNV-1a).
fn is_odd(request: &str) -> bool {
    let hash = request.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32) & 1 == 1
}
