//! What goes into a decision and what comes out: needs, verdicts, the ranking, or why there is none.
//!
//! Everything here serialises, because the decision is shown as it was made: by `tollgate route`, in
//! `x-tollgate-decision`, and from `POST /v1/decision`.

use serde::Serialize;
use tollgate_policies::{ServiceTier, Usd};

use crate::chance::Chance;
use crate::choice::{Candidate, Choice};
use crate::classify::Score;

/// The largest answer when the request names no `max_tokens`: what is reserved, and asked for upstream.
pub const DEFAULT_MAX_OUTPUT: u64 = 4096;

/// What a request asks of a model, beside its text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs<'a> {
    /// Prompt tokens, as expected.
    pub prompt_tokens: u64,
    /// Prompt tokens, at most, of what is text.
    pub prompt_tokens_upper: u64,
    /// Pictures, recordings and files in the prompt.
    pub parts: u64,
    /// The caller's limit on the answer, in tokens.
    pub max_tokens: Option<u64>,
    /// Whether tools are offered.
    pub tools: bool,
    /// Whether the prompt has images.
    pub images: bool,
    /// Whether the answer must be JSON.
    pub json: bool,
    /// Set where vectors are wanted and no answer: what engines call the model they must be of.
    pub embeddings: Option<&'a str>,
    /// Time left for the whole answer, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// The caller's limit on what the request may cost.
    pub max_cost: Option<Usd>,
    /// The caller's wanted share of the baseline's quality, 0..=1.
    pub quality: Option<f64>,
    /// The class of service the request names, if any.
    pub service_tier: Option<ServiceTier>,
    /// A field of the request by which an engine may choose another model, provider or price, if it has one.
    pub routing: Option<&'a str>,
    /// The models the key may use; `None` = all.
    pub allowed: Option<&'a [String]>,
    /// The catalogue name the request asks for, if it does not leave the choice to us.
    pub pinned: Option<&'a str>,
    /// What the tightest budget has left, on a second pass after a reservation was refused.
    pub affordable: Option<Usd>,
}

/// The route of a request that names its model.
pub(crate) const PINNED: &str = "pinned";

/// Why a model may not answer, in the order in which it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// Another model was asked for by name.
    NotAsked,
    /// The key may not use it.
    NotAllowed,
    /// The matching rule does not name it.
    Rule,
    /// It lacks tools, JSON or images, or does not do what is asked at all.
    Capability,
    /// The request has a field by which its engine may choose what is paid for, and that engine is not left to.
    Routing,
    /// The prompt does not fit its context window.
    Context,
    /// It runs where the matching rule does not allow.
    Region,
    /// It is less precise than the matching rule wants.
    Bits,
    /// Its engine is down.
    Down,
    /// Its first token would come after the deadline.
    Deadline,
    /// It may cost more than the caller allows.
    MaxCost,
    /// It may cost more than the budget has left.
    Budget,
}

/// One candidate, weighed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The model's name.
    pub model: String,
    /// Probability of a good answer.
    pub p_good: f64,
    /// Expected cost.
    pub cost: Usd,
    /// The most it can cost with an answer of `output_cap` tokens: what to reserve.
    pub worst_cost: Usd,
    /// The largest answer to ask for: the caller's `max_tokens`, clamped to the window and the money.
    pub output_cap: u64,
    /// Tokens that the answer is expected to have: what `cost` counts.
    #[serde(skip)]
    pub output_tokens: u64,
    /// Probability that the answer comes after the deadline; 0 without one.
    pub p_late: f64,
    /// Expected time to the end of the answer.
    pub latency_ms: f64,
    /// The objective's value.
    pub utility: f64,
    /// Why it may not answer; `None` = it may.
    pub refused: Option<String>,
}

/// Which model answers, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// Places in the catalogue, best first; never empty. All after the first are fallbacks.
    pub ranked: Vec<usize>,
    /// The name of the rule that matched, `objective`, or `pinned`.
    pub route: String,
    /// Why the first is first, for people.
    pub reason: String,
    /// One for each model, in the catalogue's order.
    pub verdicts: Vec<Verdict>,
    /// Place of the model that savings are counted against.
    pub baseline: usize,
    /// The share of the baseline's quality that was wanted.
    pub quality: f64,
    /// λ: what a dollar weighed, in quality.
    pub price_of_money: f64,
    /// Probability with which the first was taken: 1 unless the decision explores, 0 where it cannot be told.
    pub propensity: f64,
    /// Whether the first is first because an earlier decision holds.
    pub kept: bool,
    /// What it was weighed by.
    #[serde(skip)]
    pub(crate) terms: Terms,
    /// What was left to chance.
    #[serde(skip)]
    pub(crate) chance: Chance,
}

/// What candidates of one request are weighed by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    /// The tolerated gap below the baseline's p(good).
    pub(crate) gap: f64,
    /// The same as the policy's bound on losses alone has it, where there is one.
    pub(crate) bound: Option<f64>,
    /// μ, in quality for a missed deadline.
    pub(crate) latency_weight: f64,
}

impl Decision {
    /// Vectors were asked for by the model's name: it goes first, and what comes after is the same model elsewhere. There is
    /// nothing that they were saved against.
    pub fn embed(&mut self, model: &str) {
        if let Some(rank) = self.ranked.iter().position(|place| self.verdicts[*place].model == model) {
            let asked = self.ranked.remove(rank);
            self.ranked.insert(0, asked);
            self.reason = format!("{model} was asked for by name");
        } else {
            let first = &self.verdicts[self.ranked[0]].model;
            self.reason = format!("{first} is the same model as {model}, which may not answer");
        }
        self.baseline = self.ranked[0];
    }

    /// Puts a model first that an earlier decision chose, as long as it may answer.
    pub fn keep(&mut self, model: &str, what: &str) {
        let Some(rank) = self.ranked.iter().position(|place| self.verdicts[*place].model == model) else {
            return;
        };
        let kept = self.ranked.remove(rank);
        self.ranked.insert(0, kept);
        self.reason = format!("{model} goes on: it began this {what}");
        self.kept = true;
    }

    /// The decision as far as abilities decide it.
    #[must_use]
    pub fn choice(&self, score: &Score) -> Choice {
        let candidate = |verdict: &Verdict| Candidate {
            model: verdict.model.clone(),
            cost: verdict.cost,
            p_late: verdict.p_late,
        };
        let Terms { gap, bound, latency_weight } = self.terms;
        let places = (0..self.verdicts.len()).filter(|place| self.might_answer(*place));
        let admitted = places.map(|place| &self.verdicts[place]);
        Choice {
            gap,
            bound,
            price_of_money: self.price_of_money,
            latency_weight,
            baseline: self
                .verdicts
                .get(self.baseline)
                .map(|verdict| verdict.model.clone())
                .unwrap_or_default(),
            candidates: admitted.map(candidate).collect(),
            each: self.least_propensity(),
            ..Choice::of(score)
        }
    }
}

/// No model may answer this request.
#[derive(Clone, Debug, thiserror::Error, Serialize)]
#[error("no model can answer this request: {reason}")]
pub struct NoCandidate {
    /// One for each model, in the catalogue's order, all refused.
    pub verdicts: Vec<Verdict>,
    /// The objection to the candidate that came nearest.
    pub kind: RefusalKind,
    /// That objection in words, with the model's name.
    pub reason: String,
}
