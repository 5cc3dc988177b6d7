//! A decision as far as abilities decide it: enough to take it again under others.

use serde::{Deserialize, Serialize};
use tollgate_policies::Usd;

use crate::ability::{Abilities, Ability};
use crate::classify::Score;
use crate::identity::RouterId;
use crate::objective::{self, Worth};

/// What was decided about one request: the score, what was asked for, and the models that might answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Probability that the small reference model answers well.
    pub p_small: f32,
    /// Probability that the large reference model does.
    pub p_large: f32,
    /// What the request is about.
    pub domain: String,
    /// How much worse than the baseline was good enough, as a difference of probabilities.
    pub gap: f64,
    /// How much worse may at most be sent below the baseline, where the policy bounds losses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// λ, in quality per dollar.
    pub price_of_money: f64,
    /// μ, in quality for a missed deadline.
    pub latency_weight: f64,
    /// The model that quality is measured against.
    pub baseline: String,
    /// The models that might answer, in the catalogue's order.
    pub candidates: Vec<Candidate>,
    /// Probability with which each of them was chosen at least: what exploration left to it; 0 where there was none.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub each: f64,
    /// Whose chances these are; `None` where that was not kept yet, or the classifier had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterId>,
}

/// A model that might have answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub model: String,
    /// Expected cost.
    pub cost: Usd,
    /// Probability of missing the deadline.
    pub p_late: f64,
}

impl Score {
    /// Probability that a model of this ability answers well.
    #[must_use]
    pub fn p_good(&self, ability: &Ability) -> f64 {
        objective::p_good(self.p_small, self.p_large, ability.in_domain(self.domain))
    }
}

impl Choice {
    /// A choice between no models: what its score alone says.
    pub(crate) fn of(score: &Score) -> Choice {
        Choice {
            p_small: score.p_small,
            p_large: score.p_large,
            domain: score.domain.to_owned(),
            gap: 0.0,
            bound: None,
            price_of_money: 0.0,
            latency_weight: 0.0,
            baseline: String::new(),
            candidates: Vec::new(),
            each: 0.0,
            router: score.router,
        }
    }

    /// Probability that a model of this ability answers well.
    pub(crate) fn p_good(&self, ability: &Ability) -> f64 {
        objective::p_good(self.p_small, self.p_large, ability.in_domain(&self.domain))
    }

    /// The candidate that is best under these abilities, exactly as a decision ranks; models without one count as the
    /// large reference model. `None` if there are no candidates.
    #[must_use]
    pub fn take(&self, abilities: &Abilities) -> Option<&Candidate> {
        let large = Ability::from(1.0);
        let ability = |model: &str| abilities.get(model).unwrap_or(&large);
        let p_good = |model: &str| self.p_good(ability(model));
        let able = |model: &str| (p_good(model), ability(model).in_domain(&self.domain));
        let asked = objective::good_enough(p_good(&self.baseline), f64::from(self.p_large), self.gap);
        let worth = |candidate: &Candidate| {
            let p_good = p_good(&candidate.model);
            let counted = objective::counted_quality(p_good, asked);
            let utility = objective::utility(
                counted,
                candidate.cost,
                candidate.p_late,
                self.price_of_money,
                self.latency_weight,
            );
            let breaks_bound = objective::breaks_bound(
                able(&candidate.model),
                able(&self.baseline),
                f64::from(self.p_large),
                self.bound,
            );
            Worth { breaks_bound, utility, cost: candidate.cost, p_good }
        };
        let worths = self.candidates.iter().map(|candidate| (worth(candidate), candidate));
        worths.min_by(|(one, _), (other, _)| one.before(other)).map(|(_, candidate)| candidate)
    }

    /// What a candidate takes in money and time, in quality.
    pub(crate) fn burden(&self, candidate: &Candidate) -> f64 {
        -objective::utility(0.0, candidate.cost, candidate.p_late, self.price_of_money, self.latency_weight)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_nothing(each: &f64) -> bool {
    *each <= 0.0
}

#[cfg(test)]
mod tests;
