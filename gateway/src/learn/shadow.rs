//! Asking twice: a share of what is answered below the baseline is also asked of the baseline, once the client has its
//! answer, and the two answers are compared.
//!
//! Who is asked twice is drawn before anything is answered, so the answers cannot decide it. A request is only asked twice
//! where the baseline was among the models that might have answered it: rules, keys and regions hold here as there.
//!
//! An unsure answer that went up to the baseline's has been asked twice already, so of the requests drawn these are compared as
//! they are, and nothing more is asked. Leaving them out would judge a model by the answers that it was sure of; taking the
//! others in that went up, which were not drawn, by those that it was not. An unsure stream was broken off, so where one
//! may go up none is drawn: whether a request streams does not depend on its answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use tollgate_policies::{Policy, ServiceTier, Usd};
use tollgate_router::Choice;

use super::compare::{Likeness, compare};
use super::errand::{Errand, Unanswered};
use super::judge::{Question, judge};
use crate::app::App;
use crate::call::Call;
use crate::dispatch::Route;
use crate::ledger::{Judged, ReceiptStatus, Source, now_ms};
use crate::said;

/// Longest answer that is compared, bytes of the stream.
const LONGEST: usize = 1 << 20;

/// A request that will be asked twice.
#[derive(Debug)]
pub struct Shadow {
    app: Arc<App>,
    policy: Arc<Policy>,
    judge: Option<usize>,
    request: String,
    domain: &'static str,
    choice: Choice,
    /// Of a request that is drawn: that the served model serves, and that any other than the baseline does.
    propensity: (f64, f64),
    served: String,
    baseline: usize,
    body: Bytes,
    service_tier: Option<ServiceTier>,
    output_cap: u64,
    worst: Usd,
    expected: Usd,
    /// Where the served answer stands before a judge.
    served_first: bool,
    seen: BytesMut,
    _slot: OwnedSemaphorePermit,
}

/// A request to ask twice, answered.
#[derive(Debug)]
pub struct Answered {
    shadow: Box<Shadow>,
    text: String,
    /// The baseline's answer, if there is one already.
    baseline: Option<String>,
}

impl Answered {
    /// Asks the second time.
    pub(super) async fn learn(self) {
        let result = self.shadow.learn(&self.text, self.baseline).await;
        self.shadow.app.metrics.asked_twice(result);
    }
}

impl Shadow {
    /// Draws whether a decided request is asked twice; `None` for most.
    #[must_use]
    pub fn draw(app: &Arc<App>, call: &Call, route: &Route<'_>, body: &Bytes) -> Option<Box<Shadow>> {
        let learn = route.ask.policy.learn.as_ref().filter(|learn| learn.share > 0.0)?;
        // Other digits of the draw than those that exploration used.
        let draw = (call.draw() * f64::from(1 << 20)).fract();
        if draw >= learn.share {
            return None;
        }
        let (decision, chat) = (route.decision, route.chat);
        let (selected, baseline) = (decision.ranked[0], decision.baseline);
        let judge = match learn.judge.as_deref() {
            Some(name) => Some(judge_of(app, route, name)?),
            None => None,
        };
        let plain = chat.choices == 1 && !chat.tools && chat.images == 0;
        let breaks_off = chat.stream && route.above(selected).is_some();
        let comparable = plain && !breaks_off && decision.teaches() && route.ask.pinned.is_none();
        if selected == baseline || !decision.ranked.contains(&baseline) || !comparable {
            return None;
        }
        let Some(slot) = app.lessons.slot().filter(|_| app.upstreams[baseline].live().queue_depth == 0)
        else {
            app.metrics.asked_twice("busy");
            return None;
        };
        let verdict = &decision.verdicts[baseline];
        Some(Box::new(Shadow {
            app: Arc::clone(app),
            policy: Arc::clone(&route.ask.policy),
            judge,
            request: call.id.clone(),
            domain: route.plan.score.domain,
            choice: decision.choice(&route.plan.score),
            propensity: (decision.propensity_of(selected)?, 1.0 - decision.propensity_of(baseline)?),
            served: decision.verdicts[selected].model.clone(),
            baseline,
            body: body.clone(),
            service_tier: unhurried(chat.service_tier),
            output_cap: verdict.output_cap,
            worst: verdict.worst_cost,
            expected: verdict.cost,
            served_first: (draw / learn.share) < 0.5,
            seen: BytesMut::new(),
            _slot: slot,
        }))
    }

    /// Takes a piece of the streamed answer.
    pub fn take(&mut self, piece: &[u8]) {
        if self.seen.len() <= LONGEST {
            self.seen.extend_from_slice(piece);
        }
    }

    /// The streamed answer has ended.
    pub fn streamed(mut self: Box<Self>, status: ReceiptStatus) {
        let seen = self.seen.split();
        let text = (seen.len() <= LONGEST).then(|| said::streamed(&seen)).flatten();
        self.answered(status == ReceiptStatus::Ok, text, None);
    }

    /// The whole answer is there, and the unsure one before it, if it is the baseline's instead of that.
    pub fn whole(self: Box<Self>, status: ReceiptStatus, body: &[u8], unsure: Option<&Bytes>) {
        match unsure.filter(|_| status == ReceiptStatus::Escalated) {
            Some(unsure) => {
                let (text, baseline) = (said::whole(unsure), said::whole(body));
                self.answered(baseline.is_some(), text, baseline);
            }
            None => self.answered(status == ReceiptStatus::Ok, said::whole(body), None),
        }
    }

    /// Goes on apart, if the model decided on gave an answer that can be compared.
    fn answered(self: Box<Self>, comparable: bool, text: Option<String>, baseline: Option<String>) {
        let Some(text) = text.filter(|_| comparable) else {
            return self.app.metrics.asked_twice("incomparable");
        };
        let app = Arc::clone(&self.app);
        app.lessons.learn_from(Answered { shadow: self, text, baseline });
    }

    /// Compares with the baseline's answer, asked for if there is none yet, and puts the verdicts on record; what came of it, as
    /// a word for the metrics.
    async fn learn(&self, served: &str, baseline: Option<String>) -> &'static str {
        let baseline = match baseline {
            Some(baseline) => baseline,
            None => match self.ask_again().await {
                Ok(baseline) => baseline,
                Err(word) => return word,
            },
        };
        match (compare(self.domain, served, &baseline), self.judge) {
            // The baseline's answer stands for the right one: what it gets wrong, nobody here can tell.
            (Likeness::Same, _) => self.record(Source::Shadow, (true, true), "same").await,
            (_, Some(place)) => {
                let question = Question {
                    request: &self.request,
                    asked: conversation(&self.body),
                    served,
                    baseline: &baseline,
                    served_first: self.served_first,
                };
                match judge(&self.app, &self.policy, place, question).await {
                    Ok(Some(verdict)) => self.record(Source::Judge, verdict, "judged").await,
                    Ok(None) => "incomparable",
                    Err(unanswered) => word(unanswered),
                }
            }
            (Likeness::Different, None) => self.record(Source::Shadow, (false, true), "different").await,
            (Likeness::Unclear, None) => "incomparable",
        }
    }

    /// The baseline's answer.
    async fn ask_again(&self) -> Result<String, &'static str> {
        let upstream_model = &self.app.catalog.models()[self.baseline].upstream_model;
        let bounds = (self.output_cap, self.service_tier);
        let body = asked_whole(&self.body, upstream_model, bounds).ok_or("incomparable")?;
        let errand = Errand {
            app: &self.app,
            policy: &self.policy,
            request: &self.request,
            purpose: "shadow",
            place: self.baseline,
            body,
            service_tier: self.service_tier,
            worst: self.worst,
            expected: self.expected,
        };
        let answer = errand.run().await.map_err(word)?;
        said::whole(&answer).ok_or("incomparable")
    }

    /// Puts the verdicts on the served answer and the baseline's on record.
    async fn record(&self, source: Source, good: (bool, bool), word: &'static str) -> &'static str {
        let judged = |model: &str, good, propensity| Judged {
            request_id: self.request.clone(),
            at_ms: now_ms(),
            policy: self.policy.name.clone(),
            model: model.to_owned(),
            source,
            good,
            propensity,
            choice: Some(self.choice.clone()),
        };
        let baseline = &self.app.catalog.models()[self.baseline].name;
        let (served, asked_twice) = self.propensity;
        // Of what another model serves the baseline's answer is always judged.
        let verdicts = vec![judged(&self.served, good.0, served), judged(baseline, good.1, asked_twice)];
        match self.app.learn(verdicts).await {
            Ok(()) => word,
            Err(error) => {
                tracing::warn!(%error, "a verdict could not be put on record");
                "failed"
            }
        }
    }
}

const fn word(unanswered: Unanswered) -> &'static str {
    match unanswered {
        Unanswered::NoBudget => "no_budget",
        Unanswered::Failed => "failed",
    }
}

/// The judge, where the caller's key and rules do not rule it out: the request's text would go there, and without it the
/// baseline would count as right where the policy says otherwise.
fn judge_of(app: &App, route: &Route<'_>, name: &str) -> Option<usize> {
    let place = app.catalog.position(name)?;
    route.decision.ranked.contains(&place).then_some(place)
}

/// The class of service of a call that nobody waits for, instead of the one its request asks for: going ahead of others would be paid
/// for nothing. What is held covers it, for a class that is asked for may be denied.
fn unhurried(asked: Option<ServiceTier>) -> Option<ServiceTier> {
    asked.map(|tier| if tier == ServiceTier::Priority { ServiceTier::Standard } else { tier })
}

/// The same request for another model, whole; what the provider would keep of it is kept once.
fn asked_whole(body: &[u8], model: &str, (max_tokens, tier): (u64, Option<ServiceTier>)) -> Option<Bytes> {
    let mut fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    for field in ["stream", "stream_options", "store", "metadata"] {
        fields.remove(field);
    }
    if let Some(asked) = fields.get_mut("service_tier").filter(|asked| asked.as_str() == Some("priority"))
        && tier == Some(ServiceTier::Standard)
    {
        *asked = "default".into();
    }
    fields.insert("model".to_owned(), model.into());
    for bound in ["max_completion_tokens", "max_tokens", "n_predict"] {
        if let Some(said) = fields.get_mut(bound) {
            *said = max_tokens.into();
        }
    }
    if !fields.contains_key("max_completion_tokens") {
        fields.insert("max_tokens".to_owned(), max_tokens.into());
    }
    Some(Bytes::from(Value::Object(fields).to_string()))
}

/// The conversation for a judge to read.
fn conversation(body: &[u8]) -> String {
    let fields: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut text = String::new();
    for message in fields.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or("user");
        let content = match message.get("content") {
            Some(Value::String(content)) => content.clone(),
            Some(Value::Array(parts)) => {
                let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
                texts.collect::<Vec<_>>().join("\n")
            }
            _ => continue,
        };
        text.push_str(&format!("{role}: {content}\n"));
    }
    text
}
