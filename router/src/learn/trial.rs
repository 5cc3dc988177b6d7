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
use crate::objective;

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
            (Some(new), Some(old)) if new.model != old.model => Some(Change::of(choice, old, new, tried)),
            _ => None,
        };
        if let Some(change) = &change {
            let rests = |sign| judged.iter().any(|outcome| change.rests_on(&outcome.model, sign));
            trial.differing += 1;
            trial.judged_for += usize::from(rests(1.0));
            trial.judged_against += usize::from(rests(-1.0));
        }
        let mut gain = Estimate::default();
        // A request may be judged by its caller and have been drawn to be asked twice: it stands for others in both.
        for asked_twice in [false, true] {
            let mine = judged.iter().filter(|outcome| outcome.asked_twice == asked_twice);
            let mine: Vec<&Outcome> = mine.copied().collect();
            if !mine.is_empty() {
                gain = gain.plus(1.0, weights.gain(change.as_ref(), choice, &mine, tried));
            }
        }
        trial.clipped += gain.clipped;
        gains.push(gain);
    }
    let (gain, reach, bias) = interval(&gains);
    (trial.gain, trial.bias) = (gain, bias);
    (trial.low, trial.high) = (gain - reach - bias, gain + reach + bias);
    trial
}

/// What another model at one request is worth: qualities that have to be estimated, each with its sign, and what is known.
pub(super) struct Change<'c> {
    pub(super) sides: [(&'c str, f64); 2],
    pub(super) known: f64,
}

impl<'c> Change<'c> {
    fn of(choice: &'c Choice, old: &'c Candidate, new: &'c Candidate, abilities: &Abilities) -> Change<'c> {
        let saved = choice.burden(old) - choice.burden(new);
        let (cheap, dear, sign) = if saved > 0.0 { (new, old, 1.0) } else { (old, new, -1.0) };
        let p_good = |model: &str| abilities.get(model).map_or(0.5, |ability| choice.p_good(ability));
        // More than was asked for does not count: the baseline's quality less the gap is then what the cheaper has to reach.
        let baseline = p_good(&choice.baseline);
        let asked = objective::good_enough(baseline, f64::from(choice.p_large), choice.gap);
        let (measure, gap) = match p_good(&dear.model) >= asked {
            true => (choice.baseline.as_str(), baseline - asked),
            false => (dear.model.as_str(), 0.0),
        };
        Change { sides: [(&cheap.model, sign), (measure, -sign)], known: saved + sign * gap }
    }

    fn rests_on(&self, model: &str, sign: f64) -> bool {
        self.sides.iter().any(|(side, own)| *side == model && own * sign > 0.0)
    }
}

/// The mean gain, half the width of the interval that holds at every number of requests, and how far that may be off. A ratio
/// of two means, of the gains and of the requests stood for; a request counts once, whatever it stands for.
fn interval(gains: &[Estimate]) -> (f64, f64, f64) {
    let count = gains.len() as f64;
    let stands_for: f64 = gains.iter().map(|gain| gain.stands_for).sum();
    if stands_for <= 0.0 {
        return (0.0, 0.0, 0.0);
    }
    let mean = gains.iter().map(|gain| gain.value).sum::<f64>() / stands_for;
    let off = |gain: &Estimate| gain.value - mean * gain.stands_for;
    let variance = gains.iter().map(|gain| off(gain) * off(gain)).sum::<f64>() / count;
    let twice = -2.0 * ALPHA.ln();
    let rho2 = (twice + (twice + 1.0).ln()) / TIGHTEST;
    let spread = count * rho2 + 1.0;
    let reach = (variance * 2.0 * spread / (count * count * rho2) * (spread.sqrt() / ALPHA).ln()).sqrt();
    let bias = gains.iter().map(|gain| gain.bias).sum::<f64>();
    (mean, reach * count / stands_for, bias / stands_for)
}

/// Which half a request is in, by a hash of its id (FNV-1a).
fn is_odd(request: &str) -> bool {
    let hash = request.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32) & 1 == 1
}
