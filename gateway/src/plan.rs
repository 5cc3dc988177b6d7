//! From a request to a decision: the facts, the needs, and the router's answer.
//!
//! A plan can decide again under a tighter limit, when a budget refused what the first decision would cost.

use std::borrow::Cow;
use std::time::Duration;

use tollgate_policies::{Facts, Usd};
use tollgate_router::{
    Decision, Needs, RefusalKind, Score, Task, Verdict, decide, prompt_tokens, prompt_tokens_upper,
    text_tokens,
};

use crate::app::App;
use crate::ledger::now_ms;
use crate::operation::Operation;
use crate::request::Ask;
use crate::stick::Bond;
use crate::wire::error::Fault;
use crate::wire::openai::Chat;

/// Everything a decision is made from.
#[derive(Debug)]
pub struct Plan<'a> {
    app: &'a App,
    ask: &'a Ask,
    chat: &'a Chat<'a>,
    /// Time left when it was made, milliseconds.
    pub deadline_ms: Option<u64>,
    /// What the classifier says.
    pub score: Score,
    /// Prompt tokens, as expected.
    pub prompt_tokens: u64,
    /// Prompt tokens, at most, of what is text.
    pub prompt_tokens_upper: u64,
    /// What the request belongs to, if the policy keeps decisions.
    bond: Option<Bond>,
    /// What exploration draws, 0..1; `None` = it does not explore.
    draw: Option<f64>,
}

impl<'a> Plan<'a> {
    /// Scores the request and counts its tokens.
    ///
    /// A classifier that fails does not stop the request: it is decided as unfamiliar, and counted.
    pub fn new(app: &'a App, ask: &'a Ask, chat: &'a Chat<'a>, time_left: Option<Duration>) -> Plan<'a> {
        let deadline_ms = time_left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let bond = app.sticks.bond(ask, chat);
        if chat.operation == Operation::Embeddings {
            let (prompt_tokens, prompt_tokens_upper) = embedded_tokens(chat);
            // There is nothing to choose, so nothing to score.
            let score = Score::default();
            return Plan {
                app,
                ask,
                chat,
                deadline_ms,
                score,
                prompt_tokens,
                prompt_tokens_upper,
                bond,
                draw: None,
            };
        }
        let task = Task { messages: Cow::Borrowed(&chat.turns) };
        let score = app.scorer.score(&task).unwrap_or_else(|error| {
            tracing::error!(%error, "the classifier failed; deciding without it");
            app.metrics.failed_open("classifier");
            Score::default()
        });
        let took = Duration::from_micros(u64::from(score.elapsed_us));
        app.metrics.scored(f64::from(score.difficulty), took);
        let (prompt_tokens, prompt_tokens_upper) = counted_tokens(chat);
        Plan { prompt_tokens, prompt_tokens_upper, deadline_ms, app, ask, chat, score, bond, draw: None }
    }

    /// The same, with the draw that exploration goes by.
    #[must_use]
    pub fn exploring(self, draw: f64) -> Plan<'a> {
        Plan { draw: Some(draw), ..self }
    }

    /// The router's decision; `affordable` is what a budget has left, on a second try.
    ///
    /// # Errors
    /// [`Fault::NoCandidate`] with the verdict on every model.
    pub fn decide(&self, affordable: Option<Usd>) -> Result<Decision, Fault> {
        let share = |money: Usd| {
            Usd::from_nanos(money.nanos() / i64::try_from(self.chat.choices).unwrap_or(1).max(1))
        };
        let needs = Needs {
            prompt_tokens: self.prompt_tokens,
            prompt_tokens_upper: self.prompt_tokens_upper,
            parts: self.chat.images,
            max_tokens: Some(self.chat.max_tokens.unwrap_or(self.app.limits.default_max_tokens)),
            tools: self.chat.tools,
            images: self.chat.images > 0,
            json: self.chat.json,
            embeddings: self.embeds(),
            deadline_ms: self.deadline_ms,
            max_cost: self.ask.max_cost.map(share),
            quality: self.ask.quality,
            allowed: self.ask.allowed.as_deref(),
            pinned: self.ask.pinned.as_deref(),
            affordable: affordable.map(share),
            service_tier: self.chat.service_tier,
            routing: self.chat.routing,
        };
        let live = self.app.live();
        let learn = self.ask.policy.learn.as_ref();
        let promotes = learn.filter(|learn| learn.promote);
        let learned = promotes.and_then(|_| self.app.lessons.catalog(self.score.router));
        let catalog = learned.as_deref().unwrap_or(&self.app.catalog);
        let price = self.price_of_money();
        let decided = decide(&self.ask.policy, catalog, &live, &self.score, &self.facts(1.0), &needs, price);
        let mut decision = decided.map_err(|mut none| {
            // The router knows that an engine is down; what is wrong with it is known here.
            for (verdict, upstream) in none.verdicts.iter_mut().zip(&self.app.upstreams) {
                if let Some(why) = &mut verdict.refused
                    && why.ends_with(" is down")
                    && let Some(trouble) = upstream.trouble()
                {
                    *why = format!("engine {} {trouble}", upstream.name());
                }
            }
            if let (RefusalKind::Routing, Some(field)) = (none.kind, self.chat.routing) {
                return routed(field);
            }
            // Of a model asked for by name only its own trouble is news.
            if let Some(pinned) = &self.ask.pinned {
                none.verdicts.retain(|verdict| verdict.model == *pinned);
            }
            Fault::NoCandidate(none)
        })?;
        if let (Some(_), Some(pinned)) = (self.embeds(), &self.ask.pinned) {
            decision.embed(pinned);
        }
        if let Some((bond, model)) = self.bond.and_then(|bond| Some((bond, self.app.sticks.kept(bond)?))) {
            decision.keep(&model, bond.what);
        }
        Ok(decision)
    }

    /// Leaves the decision to chance as far as the policy explores, among the models that can be paid from `room`. Not a part of
    /// deciding: a budget may have other decisions made, and what was drawn before could not be told from what it left over.
    pub fn explore(&self, decision: &mut Decision, room: impl FnOnce() -> Option<Usd>) {
        let floor = self.ask.policy.learn.as_ref().map_or(0.0, |learn| learn.explore);
        let Some(draw) = self.draw.filter(|_| floor > 0.0 && decision.quality < 1.0 && !decision.kept) else {
            return;
        };
        let room = room();
        let pays = |verdict: &Verdict| room.is_none_or(|room| self.choices_times(verdict.worst_cost) <= room);
        decision.explore(floor, draw, pays);
    }

    /// Where vectors are wanted: what engines call the model they must be of.
    fn embeds(&self) -> Option<&str> {
        let model = || self.ask.pinned.as_ref().and_then(|pinned| self.app.catalog.find(pinned));
        let wanted = self.chat.operation == Operation::Embeddings;
        wanted.then(|| model().map_or("", |model| model.upstream_model.as_str()))
    }

    /// What a dollar weighs now, in quality, if the policy paces.
    fn price_of_money(&self) -> f64 {
        if !self.ask.policy.objective.pace {
            return 0.0;
        }
        self.app.budgets.price_of_money(&self.ask.spender(), now_ms())
    }

    /// The decision holds for what the request belongs to.
    pub fn stick(&self, decision: &Decision) {
        if let Some(bond) = self.bond {
            self.app.sticks.keep(bond, decision);
        }
    }

    /// The most the model at `place` can cost this request, all choices together.
    #[must_use]
    pub fn worst_cost(&self, decision: &Decision, place: usize) -> Usd {
        self.choices_times(decision.verdicts[place].worst_cost)
    }

    /// What the model at `place` is expected to cost this request.
    #[must_use]
    pub fn expected_cost(&self, decision: &Decision, place: usize) -> Usd {
        self.choices_times(decision.verdicts[place].cost)
    }

    /// Tokens that the model at `place` is expected to write, all choices together.
    #[must_use]
    pub fn expected_output(&self, decision: &Decision, place: usize) -> u64 {
        decision.verdicts[place].output_tokens.saturating_mul(self.chat.choices)
    }

    fn choices_times(&self, cost: Usd) -> Usd {
        Usd::from_nanos(cost.nanos().saturating_mul(i64::try_from(self.chat.choices).unwrap_or(i64::MAX)))
    }

    /// What conditions may ask about the request; `confidence` is that of an answer that has begun, and 1 before.
    #[must_use]
    pub fn facts(&self, confidence: f64) -> Facts<'_> {
        let quality = self.ask.quality.unwrap_or(self.ask.policy.objective.quality);
        Facts {
            confidence,
            tools: self.chat.tools,
            images: self.chat.images > 0,
            json: self.chat.json,
            stream: self.chat.stream,
            model: &self.chat.model,
            key: self.ask.key_name.as_deref().unwrap_or_default(),
            team: self.ask.team.as_deref().unwrap_or_default(),
            run: self.ask.run.as_deref().unwrap_or_default(),
            turns: self.chat.user_turns,
            deadline_ms: self.deadline_ms.unwrap_or(0),
            ..self.score.facts(self.prompt_tokens, &self.ask.tags, quality)
        }
    }
}

/// No engine may be left to choose what is paid for.
fn routed(field: &str) -> Fault {
    let message = format!(
        "`{field}` may change the model, provider or price that money is held for: leave it out (`model` and policies choose here), \
         or have the operator set `allow_routing_fields = true` for the engine"
    );
    Fault::invalid(field, "unsupported_parameter", message)
}

/// Tokens of a conversation's text as a prompt, as expected and at most.
#[must_use]
pub fn counted_tokens(chat: &Chat<'_>) -> (u64, u64) {
    let texts: usize = chat.turns.iter().map(|turn| turn.text.len()).sum();
    // What is not text (tool definitions, schemas) is dense JSON: about three bytes a token.
    let extras = chat.prompt_bytes.saturating_sub(texts) as u64 / 3;
    let expected = prompt_tokens(chat.turns.iter().map(|turn| turn.text.as_ref())) + extras;
    (expected, prompt_tokens_upper(chat.prompt_bytes as u64, chat.turns.len() as u64))
}

/// Tokens that become vectors, as expected and at most: a byte is a token at worst, and two stand around each text.
fn embedded_tokens(chat: &Chat<'_>) -> (u64, u64) {
    let around = 2 * chat.turns.len() as u64;
    let texts: u64 = chat.turns.iter().map(|turn| text_tokens(&turn.text)).sum();
    let given = chat.tokens.saturating_add(around);
    (texts.saturating_add(given), (chat.prompt_bytes as u64).saturating_add(given))
}
