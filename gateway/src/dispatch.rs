//! Sending: the best candidate first, and on a failure before its first byte the next that can be paid.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tollgate_policies::Usd;
use tollgate_router::Decision;

use crate::app::App;
use crate::booking::Booking;
use crate::operation::Operation;
use crate::plan::Plan;
use crate::request::Ask;
use crate::upstream::{Arriving, Failure, Turn, Upstream};
use crate::wind_down::WindDown;
use crate::wire::error::Fault;
use crate::wire::openai::{Answer as Whole, Chat, Wanted};

/// A decided request.
#[derive(Debug)]
pub struct Route<'a> {
    /// Engines and models.
    pub app: &'a App,
    /// Who asks.
    pub ask: &'a Ask,
    /// What is asked.
    pub chat: &'a Chat<'a>,
    /// What the decision was made from.
    pub plan: &'a Plan<'a>,
    /// The decision.
    pub decision: &'a Decision,
    /// How far the money of its run has gone.
    pub wind: WindDown,
    /// When the answer is of no use any more.
    pub deadline: Option<Instant>,
}

impl Route<'_> {
    /// Whether the request as a whole, failed tries and thrown away answers included, may not cost this much.
    #[must_use]
    pub fn is_too_dear(&self, cost: Usd) -> bool {
        self.ask.max_cost.is_some_and(|most| cost > most)
    }
}

/// Longest whole answer taken from an engine, bytes.
const LONGEST_ANSWER: usize = 64 << 20;

/// An engine's answer.
#[derive(Debug)]
pub struct Answer {
    /// What the engine says it is.
    pub content_type: Option<HeaderValue>,
    /// The answer itself.
    pub body: AnswerBody,
    /// Name of the engine.
    pub engine: String,
    /// Longest pause tolerated in its body.
    pub idle: Duration,
    /// Why it is another model's than the one selected, if it is.
    pub why: Option<String>,
    /// Place in the catalogue of the model that gave it.
    pub place: usize,
    /// The whole answer that was thrown away for it.
    pub unsure: Option<Bytes>,
}

/// An answer as it was asked for.
#[derive(Debug)]
pub enum AnswerBody {
    /// It is relayed as it comes.
    Stream(Begun),
    /// Read, and known to be a chat answer: until then another model can still be tried.
    Whole(Bytes),
}

/// A stream, unread but for what it may have been judged by.
#[derive(Debug)]
pub struct Begun {
    /// Read already, in order.
    pub held: Vec<Bytes>,
    /// The rest.
    pub rest: Arriving,
}

/// Sends the request to the candidates in turn until one answers.
///
/// # Errors
/// [`Fault::Upstream`] with the last failure; [`Fault::Budget`] if what is left of the candidates cannot be paid.
pub async fn send(route: &Route<'_>, body: &Bytes, booking: &mut Booking, id: &str) -> Result<Answer, Fault> {
    let mut told: Option<String> = None;
    let mut last = None;
    // The largest context that the prompt has turned out not to fit.
    let mut too_small = 0;
    for (rank, &place) in route.decision.ranked.iter().enumerate() {
        let upstream = &route.app.upstreams[place];
        let context = route.app.catalog.models()[place].context;
        if context <= too_small {
            continue;
        }
        let worst = route.plan.worst_cost(route.decision, place);
        if rank > 0 && route.is_too_dear(worst.saturating_add(booking.receipt().lost())) {
            let model = &route.decision.verdicts[place].model;
            tracing::info!(model, "this fallback may cost more than the caller allows beside what was lost");
            continue;
        }
        if rank > 0
            && let Err(fault) = booking.move_to(place, worst).await
        {
            tracing::info!(model = route.decision.verdicts[place].model, error = %fault, "this fallback cannot be paid");
            last.get_or_insert(fault);
            continue;
        }
        match attempt(route, body, booking, (place, upstream), id).await {
            Ok((content_type, body)) => {
                let (engine, idle) = (upstream.name().to_owned(), upstream.idle_timeout());
                let why = told.map(|told| format!("fallback: {told}"));
                return Ok(Answer { content_type, body, engine, idle, why, place, unsure: None });
            }
            Err(failure) => {
                booking.failed(&failure, route.plan.expected_cost(route.decision, place));
                if !failure.may_fall_back() {
                    return Err(Fault::Upstream(failure));
                }
                let model = &route.decision.verdicts[place].model;
                tracing::warn!(model, engine = upstream.name(), error = %failure, "trying the next candidate");
                route.app.metrics.fell_back(failure.reason());
                if matches!(failure, Failure::TooLong { .. }) {
                    too_small = context;
                }
                told.get_or_insert_with(|| format!("{model} failed ({})", failure.reason()));
                last = Some(Fault::Upstream(failure));
            }
        }
    }
    Err(last.unwrap_or(Fault::Internal(crate::wire::error::Defect::Catalogue)))
}

/// Sends the request to one candidate.
///
/// # Errors
/// [`Failure`] naming the engine.
pub(crate) async fn attempt(
    route: &Route<'_>,
    body: &Bytes,
    booking: &mut Booking,
    (place, upstream): (usize, &Upstream),
    id: &str,
) -> Result<(Option<HeaderValue>, AnswerBody), Failure> {
    let model = &route.app.catalog.models()[place];
    let bound = route.decision.verdicts[place].output_cap;
    let wanted = Wanted {
        model: &model.upstream_model,
        max_tokens: Some(bound).filter(|_| route.chat.operation == Operation::Chat),
        logprobs: route.above(place).is_some(),
        low_effort: route.wind.low_effort,
    };
    let rewritten = route.chat.rewrite(body, &wanted);
    // What a whole answer comes to is told at its end: who leaves before pays for what was expected.
    let expected = route.plan.expected_output(route.decision, place);
    booking.produced(if route.chat.stream { 0 } else { expected });
    booking.watch.sending();
    let turn = Turn { caller: route.ask.key_id.as_deref(), deadline: route.deadline };
    let answer = booking.waiting_for(upstream.ask(route.chat.operation, rewritten, id, turn)).await;
    booking.watch.answered();
    let response = answer?;
    let content_type = response.headers().get(CONTENT_TYPE).cloned();
    if route.chat.stream {
        let begun = Begun { held: Vec::new(), rest: response.into_body() };
        return Ok((content_type, AnswerBody::Stream(begun)));
    }
    booking.watch.wait();
    let reading = read_whole(route.chat.operation, response, upstream, route.app.limits.answer_wait);
    let whole = booking.waiting_for(reading).await;
    booking.watch.answered();
    Ok((content_type, AnswerBody::Whole(whole?)))
}

/// Reads a whole answer; a body that is none is a failure of the engine's.
///
/// # Errors
/// [`Failure`] naming the engine.
pub(crate) async fn read_whole(
    operation: Operation,
    response: Response<Arriving>,
    upstream: &Upstream,
    wait: Duration,
) -> Result<Bytes, Failure> {
    let engine = || upstream.name().to_owned();
    let reading = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
    let body = match tokio::time::timeout(wait, reading).await {
        Err(_) => return Err(Failure::Slow { engine: engine(), waited: wait }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Failure::Garbled { engine: engine() });
        }
        Ok(Err(error)) => {
            tracing::warn!(engine = upstream.name(), %error, "the engine broke off in the middle of an answer");
            return Err(Failure::Broken { engine: engine() });
        }
        Ok(Ok(body)) => body.to_bytes(),
    };
    let answer = std::str::from_utf8(&body).ok().and_then(Whole::read);
    let is_answer = answer.is_some_and(|answer| answer.is_answer(operation));
    if is_answer { Ok(body) } else { Err(Failure::Garbled { engine: engine() }) }
}
