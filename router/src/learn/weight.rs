//! How much a judged answer counts, and what its weight leaves open.
//!
//! A weight of one by the propensity makes the estimate unbiased and lets one improbable answer outweigh all others, so
//! weights are cut (Ionides: Truncated importance sampling, 2008). What is cut falls back on the model of good answers: at a
//! request whose answer is judged with probability p, a weight of at most M moves the expectation by (1 - Mp) times what that
//! model is wrong by there, and nothing where p is 1/M or more. As in Bottou et al., Counterfactual reasoning and learning
//! systems (2013), that is not hoped to be small but bounded, and the bound made a part of the interval: what the model is
//! wrong by is at most the larger of its chance and the rest, and p is known of what was judged and, of what was not, at
//! least what exploration left to each model ([`Choice::each`]). A model that could not have been drawn has p = 0: there the
//! estimate is the model's opinion alone, and the bound says so.
//!
//! What is asked twice went to another model than the baseline: where that is improbable the few requests that did stand for
//! the many that did not, so that the estimate is one of all requests and not of those that go below the baseline.

use crate::ability::Abilities;
use crate::choice::Choice;

use super::Outcome;
use super::trial::Change;

/// Judged answers of either side among the requests that would go elsewhere before anything is promoted, and the most
/// answers that one may stand for: of an answer that is judged once in 1/p requests, so many are judged in `LEAST_JUDGED`/p,
/// and from then on no weight is cut.
pub(super) const LEAST_JUDGED: usize = 30;

/// The bound on weights in a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights {
    most: f64,
}

/// A gain estimated at one request, for all that it stands for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    pub(super) value: f64,
    /// The most that its expectation may be wrong by.
    pub(super) bias: f64,
    /// Requests that it stands for.
    pub(super) stands_for: f64,
    /// Judged answers whose weight was cut.
    pub(super) clipped: usize,
}

impl Estimate {
    /// The sum with so many times another.
    pub(super) fn plus(self, times: f64, other: Estimate) -> Estimate {
        Estimate {
            value: self.value + times * other.value,
            bias: self.bias + times.abs() * other.bias,
            stands_for: self.stands_for + other.stands_for,
            clipped: self.clipped + other.clipped,
        }
    }
}

impl Weights {
    /// For a trial on so many requests: no answer counts for more than one in [`LEAST_JUDGED`] of them.
    pub(super) fn of(requests: usize) -> Weights {
        Weights { most: (requests as f64 / LEAST_JUDGED as f64).max(1.0) }
    }

    /// What a change is worth at a request, by answers that came to be judged in one way; nothing if there is no change.
    pub(super) fn gain(
        self,
        change: Option<&Change<'_>>,
        choice: &Choice,
        judged: &[&Outcome],
        abilities: &Abilities,
    ) -> Estimate {
        // The baseline's answer is judged of all requests asked twice. Where it is missing (a crash between the two verdicts, a
        // baseline of another name) nobody knows what they stand for.
        let baseline = judged.iter().find(|outcome| outcome.model == choice.baseline);
        let reached = match (judged[0].asked_twice, baseline) {
            (false, _) => 1.0,
            (true, Some(baseline)) => baseline.propensity,
            (true, None) => return Estimate::default(),
        };
        let stands_for = (1.0 / reached).min(self.most);
        let nothing = Estimate { stands_for, ..Estimate::default() };
        let Some(Change { sides, known }) = change else { return nothing };
        let unreached = (1.0 / reached - stands_for) * (1.0 + known.abs());
        let known = Estimate { value: stands_for * known, bias: unreached, ..nothing };
        let [(one, sign), (other, opposite)] = *sides;
        if one == other {
            // The same answer on both sides: whatever it is worth, it makes no difference.
            return known;
        }
        let of = |model: &str| self.quality((choice, stands_for), model, judged, abilities);
        known.plus(sign, of(one)).plus(opposite, of(other))
    }

    /// Doubly-robust quality of a model's answer to one request, for all that it stands for.
    fn quality(
        self,
        (choice, stands_for): (&Choice, f64),
        model: &str,
        judged: &[&Outcome],
        abilities: &Abilities,
    ) -> Estimate {
        let expected = abilities.get(model).map_or(0.5, |ability| choice.p_good(ability));
        let (mut errors, mut count, mut clipped) = (0.0, 0usize, 0);
        // Of what was not judged it is known only how seldom it may have been.
        let mut propensity = f64::INFINITY;
        for outcome in judged.iter().filter(|outcome| outcome.model == model) {
            let weight = 1.0 / outcome.propensity;
            clipped += usize::from(weight > self.most);
            errors += (f64::from(u8::from(outcome.good)) - expected) * weight.min(self.most);
            propensity = propensity.min(outcome.propensity);
            count += 1;
        }
        if count == 0 {
            propensity = choice.each;
        }
        let unreached = (1.0 - self.most * propensity).max(0.0);
        // The same answer judged twice is one answer.
        let value = stands_for * expected + errors / count.max(1) as f64;
        let bias = stands_for * unreached * expected.max(1.0 - expected);
        Estimate { value, bias, stands_for: 0.0, clipped }
    }
}
