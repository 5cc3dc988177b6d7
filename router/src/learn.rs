//! Learning abilities from judged answers, and trying them before they count.
//!
//! Pure arithmetic over what was judged: no clock, no chance, no I/O. `posterior` makes abilities, `trial` compares them
//! with those in force.

mod posterior;
mod trial;
mod weight;

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use crate::ability::{Abilities, Ability};
use crate::calibrate::Example;
use crate::choice::Choice;
use crate::classify::DOMAINS;

use posterior::Likelihoods;

pub use trial::Trial;

/// Judged answers kept; older ones are forgotten, for models and prompts change.
const KEPT: usize = 20_000;

/// A model's answer to a request, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The request; several answers to one may be judged.
    pub request: String,
    /// What was decided about it and what could have been.
    pub choice: Choice,
    /// The model that answered.
    pub model: String,
    /// Whether the answer is good.
    pub good: bool,
    /// Probability, above 0, that this model's answer came to be judged, for a request that is judged, or for one that was drawn
    /// to be asked twice: then the baseline's is that of any other model to come first.
    pub propensity: f64,
    /// Whether it was judged because the request was drawn to be asked twice.
    pub asked_twice: bool,
}

/// What is known of a model in a domain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// One of [`DOMAINS`], or `general` for all of them together.
    pub domain: &'static str,
    /// Answers judged.
    pub judged: u64,
    /// Of these, good ones.
    pub good: u64,
    /// Posterior mean of the ability.
    pub mean: f64,
    /// Posterior standard deviation.
    pub deviation: f64,
}

/// Judged answers, and the abilities one began with.
#[derive(Clone, Debug)]
pub struct Learner {
    priors: Abilities,
    outcomes: VecDeque<Outcome>,
}

impl Learner {
    /// A learner that expects the models to be as able as this; of others it learns nothing.
    #[must_use]
    pub fn new(priors: Abilities) -> Learner {
        Learner { priors, outcomes: VecDeque::new() }
    }

    /// A learner of two models, `small` and `large`, expected to be as the reference models are, that has seen labels.
    #[must_use]
    pub fn of_labels(examples: &[Example]) -> Learner {
        let priors = [("small".to_owned(), Ability::from(0.0)), ("large".to_owned(), Ability::from(1.0))];
        let mut learner = Learner::new(priors.into());
        for (number, Example { score, label, .. }) in examples.iter().enumerate() {
            let choice = Choice::of(score);
            for (model, good) in [("small", label.small_ok), ("large", label.large_ok)] {
                let (request, model) = (number.to_string(), model.to_owned());
                let (choice, propensity) = (choice.clone(), 1.0);
                learner.learn(Outcome { request, choice, model, good, propensity, asked_twice: true });
            }
        }
        learner
    }

    /// Takes a judged answer in; one without a probability is passed over.
    pub fn learn(&mut self, outcome: Outcome) {
        let possible = outcome.propensity > 0.0 && outcome.propensity <= 1.0;
        if !possible || !self.priors.contains_key(&outcome.model) {
            return;
        }
        if self.outcomes.len() == KEPT {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(outcome);
    }

    /// The abilities that the outcomes speak for: posterior means.
    #[must_use]
    pub fn proposal(&self) -> Abilities {
        self.proposal_of(|_| true)
    }

    fn proposal_of(&self, taken: impl Fn(&Outcome) -> bool) -> Abilities {
        let verdicts = self.verdicts();
        let mine = |model: &str| {
            let of_model = self.outcomes.iter().filter(|outcome| outcome.model == model && taken(outcome));
            Likelihoods::of(self.priors[model], of_model.map(|outcome| (outcome, share(&verdicts, outcome))))
        };
        self.priors.keys().map(|model| (model.clone(), mine(model).ability())).collect()
    }

    /// Verdicts on each answer: by its caller, and because it was asked twice.
    fn verdicts(&self) -> HashMap<(&str, &str), u32> {
        let mut verdicts = HashMap::new();
        for Outcome { request, model, .. } in &self.outcomes {
            *verdicts.entry((request.as_str(), model.as_str())).or_default() += 1;
        }
        verdicts
    }

    /// What is known of a model: in general, then in each domain in which it was judged; nothing if it never was.
    #[must_use]
    pub fn evidence(&self, model: &str) -> Vec<Evidence> {
        let of = |domain: Option<&str>| {
            let judged = self.outcomes.iter().filter(|outcome| outcome.model == model);
            let judged = judged.filter(|outcome| domain.is_none_or(|domain| outcome.choice.domain == domain));
            judged.fold((0, 0), |(judged, good), outcome| (judged + 1, good + u64::from(outcome.good)))
        };
        let Some(prior) = self.priors.get(model) else { return Vec::new() };
        let verdicts = self.verdicts();
        let of_model = self.outcomes.iter().filter(|outcome| outcome.model == model);
        let likelihoods =
            Likelihoods::of(*prior, of_model.map(|outcome| (outcome, share(&verdicts, outcome))));
        let line = |domain: &'static str, (judged, good): (u64, u64), (mean, deviation): (f64, f64)| {
            Evidence { domain, judged, good, mean, deviation }
        };
        let general = std::iter::once(line("general", of(None), likelihoods.general()));
        let domains =
            DOMAINS.iter().map(|domain| line(domain, of(Some(domain)), likelihoods.in_domain(domain)));
        general.chain(domains).filter(|line| line.judged > 0).collect()
    }

    /// Tries the abilities that the outcomes speak for against those in force.
    #[must_use]
    pub fn trial(&self, in_force: &Abilities) -> Trial {
        trial::of(self, in_force)
    }
}

/// What a verdict counts: several on one answer are no more evidence than one.
fn share(verdicts: &HashMap<(&str, &str), u32>, outcome: &Outcome) -> f64 {
    let count = verdicts.get(&(outcome.request.as_str(), outcome.model.as_str()));
    1.0 / f64::from(count.copied().unwrap_or(1))
}

#[cfg(test)]
mod tests;
