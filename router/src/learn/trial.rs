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
use crate::choice::{Candidate, Choice};

use super::{Learner, Outcome};

/// Requests judged before anything is promoted, and judged answers of either side among those that would go elsewhere: where
/// one side was never judged the estimate is the model's own opinion.
const LEAST_REQUESTS: usize = 100;
const LEAST_JUDGED: usize = 30;
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
    /// Of those, the ones where an answer that speaks for the change was judged.
    pub judged_for: usize,
    /// The ones where an answer that speaks against it was.
    pub judged_against: usize,
    /// How much more a request would be worth on average. Of the two models at a differing request the cheaper counts with
    /// all its quality, the dearer with no more than was asked for: a gain is above 0 where the objective is right to
    /// change its mind.
    pub gain: f64,
    /// Lower end of the gain's 95 % interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Trial {
    /// Whether the abilities tried should replace those in force: the gain is above 0, and answers of both sides bear it out.
    #[must_use]
    pub fn promotes(&self) -> bool {
        let judged = self.judged_for.min(self.judged_against);
        self.requests >= LEAST_REQUESTS && judged >= LEAST_JUDGED && self.low > 0.0
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
    let (mut differing, mut judged_for, mut judged_against) = (0, 0, 0);
    let mut gains = Vec::with_capacity(requests.len());
    for (request, judged) in &requests {
        let tried = if is_odd(request) { &from_even } else { &from_odd };
        let choice = &judged[0].choice;
        let change = match (choice.take(tried), choice.take(in_force)) {
            (Some(new), Some(old)) if new.model != old.model => Change::of(choice, old, new, tried),
            _ => {
                gains.push(0.0);
                continue;
            }
        };
        differing += 1;
        judged_for += usize::from(judged.iter().any(|outcome| change.rests_on(&outcome.model, 1.0)));
        judged_against += usize::from(judged.iter().any(|outcome| change.rests_on(&outcome.model, -1.0)));
        gains.push(change.gain(choice, judged, tried));
    }
    let (gain, reach) = interval(&gains);
    let requests = gains.len();
    Trial { requests, differing, judged_for, judged_against, gain, low: gain - reach, high: gain + reach }
}

/// What another model at one request is worth: qualities that have to be estimated, each with its sign, and what is known.
struct Change<'c> {
    sides: [(&'c str, f64); 2],
    known: f64,
}

impl<'c> Change<'c> {
    fn of(choice: &'c Choice, old: &'c Candidate, new: &'c Candidate, abilities: &Abilities) -> Change<'c> {
        let saved = choice.burden(old) - choice.burden(new);
        let (cheap, dear, sign) = if saved > 0.0 { (new, old, 1.0) } else { (old, new, -1.0) };
        let p_good = |model: &str| abilities.get(model).map_or(0.5, |ability| choice.p_good(ability));
        // More than was asked for does not count: the baseline's quality less the gap is then what the cheaper has to reach.
        let more = p_good(&dear.model) >= p_good(&choice.baseline) - choice.gap;
        let (measure, gap) =
            if more { (choice.baseline.as_str(), choice.gap) } else { (dear.model.as_str(), 0.0) };
        Change { sides: [(&cheap.model, sign), (measure, -sign)], known: saved + sign * gap }
    }

    fn rests_on(&self, model: &str, sign: f64) -> bool {
        self.sides.iter().any(|(side, own)| *side == model && own * sign > 0.0)
    }

    fn gain(&self, choice: &Choice, judged: &[&Outcome], abilities: &Abilities) -> f64 {
        let sides = self.sides.iter().map(|(model, sign)| sign * quality(choice, model, judged, abilities));
        self.known + sides.sum::<f64>()
    }
}

/// Doubly-robust quality of a model's answer to one request.
fn quality(choice: &Choice, model: &str, judged: &[&Outcome], abilities: &Abilities) -> f64 {
    let expected = abilities.get(model).map_or(0.5, |ability| choice.p_good(ability));
    let errors: Vec<f64> = judged
        .iter()
        .filter(|outcome| outcome.model == model)
        .map(|outcome| (f64::from(u8::from(outcome.good)) - expected) / outcome.propensity)
        .collect();
    // The same answer judged twice is one answer.
    expected + errors.iter().sum::<f64>() / errors.len().max(1) as f64
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
