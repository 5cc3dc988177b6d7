//! Recorded traffic through another policy: what it would have cost, how good it would have been, and whom it would have refused.
//!
//! Each receipt is decided again, in order, by what it says was asked and by the classifier's score of then; money is held
//! and settled in budgets of the policy's own, whose windows and prices of money pass on the receipts' clock. What cannot
//! be known is taken from the record: a request that keeps its model costs and takes what it did; one that moves uses as many tokens,
//! at the other model's price and speed. Queues, failures, kept turns and exploration are not replayed.

mod side;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tollgate_policies::{Budgets, Facts, Policy, Refusal, Shape, Spender, Usage, Usd, run_subject};
use tollgate_router::{
    Catalog, DOMAINS, Decision, Live, Needs, NoCandidate, OutputTokens, QualityTable, Score, decide,
};

use crate::keys::KeyRecord;
use crate::ledger::{Asked, Receipt, Speed};
use crate::reserve::afford;

pub use side::{Interval, Line, Pair, Side};

/// As often as the gateway moves the price of money.
const TICK_MS: u64 = 1_000;

/// What policies are replayed in.
#[derive(Debug)]
pub struct World {
    /// The models and prices of today.
    pub catalog: Catalog,
    /// How much worse than the baseline is tolerated.
    pub tolerance: Arc<QualityTable>,
    /// How fast the models have been.
    pub speeds: Vec<Speed>,
    /// Keys by their ids.
    pub keys: HashMap<String, KeyRecord>,
    /// How a day's requests are spread.
    pub daily: Shape,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The model that answers; `None` if the request is refused.
    pub model: Option<String>,
    /// What decided.
    pub route: String,
    /// What it costs.
    pub cost: Usd,
    /// Probability of a good answer; 0 if there is none.
    pub p_good: f64,
    /// Time to the end of the answer.
    pub latency_ms: f64,
    /// The budget that has no room, if that is why it is refused.
    pub short_of: Option<String>,
}

/// A policy on its way through a ledger's traffic.
#[derive(Debug)]
pub struct Replay<'w> {
    world: &'w World,
    policy: &'w Policy,
    live: Vec<Live>,
    budgets: Arc<Budgets>,
    /// Holds by when they end; the number keeps those of one moment apart.
    open: BTreeMap<(u64, usize), (tollgate_policies::Hold, Usd)>,
    taken: usize,
    paced_ms: u64,
}

impl<'w> Replay<'w> {
    /// A policy before its first request, with nothing spent.
    #[must_use]
    pub fn new(world: &'w World, policy: &'w Policy) -> Replay<'w> {
        let live = world.catalog.models().iter().map(|model| world.live(&model.name)).collect();
        let budgets = Budgets::new(policy.budgets.clone());
        Replay { world, policy, live, budgets, open: BTreeMap::new(), taken: 0, paced_ms: 0 }
    }

    /// What becomes of a request under this policy. Requests are to come in the order of their receipts.
    pub fn take(&mut self, receipt: &Receipt, asked: &Asked) -> Outcome {
        let now_ms = receipt.at_ms;
        self.settle(now_ms);
        if now_ms >= self.paced_ms + TICK_MS {
            self.paced_ms = now_ms;
            self.budgets.pace(&self.world.daily, now_ms);
        }
        let run = self.world.run_subject(receipt);
        let who = Spender { run: run.as_deref(), ..self.world.spender(receipt) };
        let score = self.world.score(receipt, asked);
        let again = |left: Option<Usd>| self.decide(receipt, asked, &score, (&who, left));
        let choices = i64::try_from(asked.choices).unwrap_or(i64::MAX).max(1);
        let times = |cost: Usd| Usd::from_nanos(cost.nanos().saturating_mul(choices));
        let share = |left: Usd| Usd::from_nanos(left.nanos() / choices);
        let decision = match again(None) {
            Ok(decision) => decision,
            Err(none) => return Outcome::refused(none.reason, None),
        };
        let worst = |decision: &Decision| times(decision.verdicts[decision.ranked[0]].worst_cost);
        let cheaper = |left| again(Some(share(left))).ok();
        let held = afford(&self.budgets, &who, now_ms, decision, worst, cheaper, |_unexplored| {});
        let (decision, hold) = match held {
            Ok(held) => held,
            Err(short) => {
                let Refusal { budget, .. } = short.refusal;
                return Outcome::refused(format!("budget {budget:?} has no room"), Some(budget));
            }
        };
        let place = decision.ranked[0];
        let verdict = &decision.verdicts[place];
        let (cost, latency_ms) = if verdict.model == receipt.model {
            (receipt.cost, receipt.timings.total_ms as f64)
        } else {
            self.moved(receipt, place, verdict.output_cap)
        };
        self.taken += 1;
        self.open.insert((now_ms + latency_ms as u64, self.taken), (hold, cost));
        let (model, p_good) = (Some(verdict.model.clone()), verdict.p_good);
        Outcome { model, route: decision.route, cost, p_good, latency_ms, short_of: None }
    }

    /// What a recorded answer costs and takes on another model.
    fn moved(&self, receipt: &Receipt, place: usize, output_cap: u64) -> (Usd, f64) {
        let live = &self.live[place];
        let Usage { prompt_tokens, completion_tokens, .. } = receipt.usage;
        let completion_tokens = completion_tokens.min(output_cap);
        let latency_ms = 1_000.0 * completion_tokens as f64 / live.tokens_per_second.max(f64::MIN_POSITIVE);
        // What was in one engine's cache is not in another's.
        let usage = Usage {
            prompt_tokens,
            completion_tokens,
            engine_us: (latency_ms * 1_000.0) as u64,
            service_tier: receipt.usage.service_tier,
            ..Usage::default()
        };
        (self.world.catalog.models()[place].price.cost(&usage), latency_ms)
    }

    fn decide(
        &self,
        receipt: &Receipt,
        asked: &Asked,
        score: &Score,
        (who, affordable): (&Spender<'_>, Option<Usd>),
    ) -> Result<Decision, NoCandidate> {
        let pinned =
            Some(asked.model.as_str()).filter(|model| *model != "auto" && !model.starts_with("auto:"));
        let needs = Needs {
            prompt_tokens: asked.prompt_tokens,
            prompt_tokens_upper: asked.prompt_tokens_upper,
            parts: asked.parts,
            max_tokens: Some(asked.max_tokens),
            tools: asked.tools,
            images: asked.images,
            json: asked.json,
            embeddings: None,
            deadline_ms: asked.deadline_ms,
            max_cost: asked.max_cost,
            quality: asked.quality,
            allowed: asked.allowed.as_deref(),
            pinned,
            affordable,
            service_tier: asked.service_tier,
            // It was let through then.
            routing: None,
        };
        let quality = asked.quality.unwrap_or(self.policy.objective.quality);
        let facts = Facts {
            tools: asked.tools,
            images: asked.images,
            json: asked.json,
            stream: receipt.stream,
            model: &asked.model,
            key: who.key.unwrap_or_default(),
            team: who.team.unwrap_or_default(),
            run: receipt.run.as_deref().unwrap_or_default(),
            turns: asked.turns,
            deadline_ms: asked.deadline_ms.unwrap_or(0),
            ..score.facts(asked.prompt_tokens, &receipt.tags, quality)
        };
        let paces = self.policy.objective.pace;
        let price = if paces { self.budgets.price_of_money(who, receipt.at_ms) } else { 0.0 };
        decide(self.policy, &self.world.catalog, &self.live, score, &facts, &needs, price)
    }

    fn settle(&mut self, now_ms: u64) {
        while let Some(first) = self.open.first_entry()
            && first.key().0 <= now_ms
        {
            let (hold, cost) = first.remove();
            hold.settle(cost);
        }
    }
}

impl World {
    /// What became of a request, as recorded.
    #[must_use]
    pub fn recorded(&self, receipt: &Receipt, asked: &Asked) -> Outcome {
        let score = self.score(receipt, asked);
        let place = self.catalog.position(&receipt.model);
        let p_good = place.map_or(0.0, |place| score.p_good(&self.catalog.models()[place].ability));
        Outcome {
            model: Some(receipt.model.clone()),
            route: receipt.route.clone(),
            cost: receipt.cost,
            p_good,
            latency_ms: receipt.timings.total_ms as f64,
            short_of: None,
        }
    }

    fn live(&self, model: &str) -> Live {
        let speed = self.speeds.iter().find(|speed| speed.model == model);
        let tokens_per_second = speed.map_or(0.0, |speed| speed.tokens_per_second);
        // A model that never answered is taken to be as fast as the slowest that did.
        let slowest = self.speeds.iter().map(|speed| speed.tokens_per_second).fold(f64::INFINITY, f64::min);
        let assumed = if slowest.is_finite() { slowest } else { 20.0 };
        let tokens_per_second = if tokens_per_second > 0.0 { tokens_per_second } else { assumed };
        // Reading the prompt is part of that speed.
        Live { tokens_per_second, prompt_tokens_per_second: f64::INFINITY, ..Live::default() }
    }

    fn spender<'a>(&'a self, receipt: &'a Receipt) -> Spender<'a> {
        Spender {
            key: self.key(receipt).map(|key| key.name.as_str()),
            team: receipt.team.as_deref(),
            tags: &receipt.tags,
            run: None,
            learning: None,
        }
    }

    fn key(&self, receipt: &Receipt) -> Option<&KeyRecord> {
        self.keys.get(receipt.key.as_ref()?)
    }

    /// Whose run it was.
    fn run_subject(&self, receipt: &Receipt) -> Option<String> {
        let key = self.key(receipt);
        let team = key.and_then(|key| key.team.as_deref());
        receipt.run.as_ref().map(|run| run_subject(key.map(|key| key.name.as_str()), team, run))
    }

    fn score(&self, receipt: &Receipt, asked: &Asked) -> Score {
        let domain = DOMAINS.iter().find(|domain| **domain == receipt.domain).unwrap_or(&DOMAINS[0]);
        let chance = |value: Option<f64>, default: f32| value.map_or(default, |value| value as f32);
        let nothing = Score::default();
        Score {
            difficulty: chance(receipt.difficulty, nothing.difficulty),
            domain,
            p_small: chance(receipt.p_small, nothing.p_small),
            p_large: chance(receipt.p_large, nothing.p_large),
            output: OutputTokens { p50: asked.output_tokens.0, p90: asked.output_tokens.1 },
            familiar: asked.familiar,
            elapsed_us: 0,
            tolerance: Arc::clone(&self.tolerance),
            router: None,
        }
    }
}

impl Outcome {
    fn refused(reason: String, short_of: Option<String>) -> Outcome {
        Outcome { model: None, route: reason, cost: Usd::ZERO, p_good: 0.0, latency_ms: 0.0, short_of }
    }
}

#[cfg(test)]
mod tests;
