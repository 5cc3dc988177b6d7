//! Whether abilities learned are better than those in force: a doubly-robust estimate on requests they were not made from.
//!
//! Each half of the requests is decided again under the abilities made from the other half. What that would have been worth
//! is taken from the model of good answers, and corrected by the judged answers, each weighed by how improbable it was to be
//! judged (Dudík, Langford, Li: Doubly Robust Policy Evaluation and Learning, 2011). `weight` says how far, and what that
//! leaves open. Since the trial is looked at again and again as verdicts come in, its interval is one that holds at every look
//! (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas: Time-uniform central limit theory and asymptotic confidence sequences,
//! 2021), not the normal one of a single look.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ability::Abilities;
use crate::choice::{Candidate, Choice};

use super::weight::{Estimate, LEAST_JUDGED, Weights};
use super::{Learner, Outcome};

/// Requests judged before anything is promoted.
const LEAST_REQUESTS: usize = 100;
/// Probability that the interval ever misses the truth.
const ALPHA: f64 = 0.05;
/// The number of requests at which the interval is narrowest for its kind.
const TIGHTEST: f64 = 500.0;

/// What a trial came to; values are in quality, the objective's unit, for each judged request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Trial {
    /// Requests of which an answer was judged.
    pub requests: usize,
    /// Of these, the ones that would go to another model.
    pub differing: usize,
    /// Of those, the ones where an answer that speaks for the change was judged.
    pub judged_for: usize,
    /// The ones where an answer that speaks against it was.
    pub judged_against: usize,
    /// Judged answers that were so improbable that they count for less than their propensity says.
    pub clipped: usize,
    /// The most by which the gain may be wrong because of that, and because of answers that could not have been judged at all; a
    /// part of the interval.
    pub bias: f64,
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
    let weights = Weights::of(requests.len());
    let mut trial = Trial { requests: requests.len(), ..Trial::default() };
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
        trial.differing += 1;
        trial.judged_for += usize::from(judged.iter().any(|outcome| change.rests_on(&outcome.model, 1.0)));
        trial.judged_against +=
            usize::from(judged.iter().any(|outcome| change.rests_on(&outcome.model, -1.0)));
        let gain = change.gain(choice, judged, tried, weights);
        trial.clipped += gain.clipped;
        trial.bias += gain.bias;
        gains.push(gain.value);
    }
    let (gain, reach) = interval(&gains);
    trial.bias /= gains.len().max(1) as f64;
    (trial.gain, trial.low, trial.high) = (gain, gain - reach - trial.bias, gain + reach + trial.bias);
    trial
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

    fn gain(
        &self,
        choice: &Choice,
        judged: &[&Outcome],
        abilities: &Abilities,
        weights: Weights,
    ) -> Estimate {
        let [one, other] = &self.sides;
        let known = Estimate { value: self.known, ..Estimate::default() };
        if one.0 == other.0 {
            // The same answer on both sides: whatever it is worth, it makes no difference.
            return known;
        }
        let of = |model: &str| weights.quality(choice, model, judged, abilities.get(model));
        known.plus(one.1, of(one.0)).plus(other.1, of(other.0))
    }
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
