//! `[escalate]`: the beginning of a smaller model's answer is looked at before the client sees any of it, and a better model
//! answers where it is unsure.
//!
//! The smaller model is asked for log probabilities. Its confidence is the geometric mean of the probabilities of its first tokens
//! (the inverse of their perplexity), the confidence that FrugalGPT and its kin go up by. An engine that tells none is trusted, and
//! counted. The first answer is kept until the better model has begun its own, so asking twice never loses an answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tollgate_policies::{Escalate, Usage, Usd};
use tollgate_router::Decision;

use crate::booking::Booking;
use crate::dispatch::{Answer, AnswerBody, Begun, Route, attempt};
use crate::request::Ask;
use crate::wire::openai::{Answer as Whole, Chat};
use crate::wire::sse::{BYTES_PER_TOKEN, Frames, data};

/// What has been heard of an answer.
#[derive(Debug, Default)]
struct Heard {
    logprobs: Vec<f64>,
    /// The usage that the engine reported, where the answer is whole.
    usage: Option<Usage>,
    /// Tokens as far as they can be told without it.
    tokens: u64,
}

impl Heard {
    /// The geometric mean of the first tokens' probabilities.
    fn confidence(&self, tokens: usize) -> Option<f64> {
        let first = &self.logprobs[..self.logprobs.len().min(tokens)];
        let mean = first.iter().sum::<f64>() / first.len() as f64;
        (!first.is_empty()).then(|| mean.exp())
    }
}

/// The model to go up to from the one at `place`: the baseline, which quality is measured by, or from there, or where it may not
/// answer, the candidate most likely to answer well, if that is likelier. `None` where the policy does not escalate, or the choice was
/// the caller's.
#[must_use]
pub fn above(ask: &Ask, chat: &Chat<'_>, decision: &Decision, place: usize) -> Option<usize> {
    let first = decision.ranked[0] == place;
    if ask.policy.escalate.is_none() || ask.pinned.is_some() || chat.choices != 1 || !first {
        return None;
    }
    let others = &decision.ranked[1..];
    if others.contains(&decision.baseline) {
        return Some(decision.baseline);
    }
    let p_good = |place: usize| decision.verdicts[place].p_good;
    let best = others.iter().copied().max_by(|one, other| p_good(*one).total_cmp(&p_good(*other)));
    best.filter(|best| p_good(*best) > p_good(place))
}

impl Route<'_> {
    /// The model to go up to from the one at `place`, see [`above`].
    #[must_use]
    pub fn above(&self, place: usize) -> Option<usize> {
        above(self.ask, self.chat, self.decision, place)
    }

    /// Whether the client sees likelihoods: always, unless only the gateway asked for them.
    #[must_use]
    pub fn tells_logprobs(&self) -> bool {
        self.chat.wants_logprobs || self.above(self.decision.ranked[0]).is_none()
    }
}

/// The same answer, or a better model's where the policy finds the first one too unsure and the budgets can pay it.
pub async fn escalate(
    route: &Route<'_>,
    body: &Bytes,
    booking: &mut Booking,
    answer: Answer,
    id: &str,
) -> Answer {
    let Some((above, policy)) = route.above(answer.place).zip(route.ask.policy.escalate.as_ref()) else {
        return answer;
    };
    let tokens = policy.hold_tokens as usize;
    booking.watch.wait();
    let (answer, heard) = listen(answer, tokens).await;
    booking.watch.answered();
    booking.produced(heard.usage.map_or(heard.tokens, |usage| usage.completion_tokens));
    let Some(confidence) = heard.confidence(tokens) else {
        route.app.metrics.failed_open("confidence");
        return answer;
    };
    if !is_unsure(route, policy, confidence) {
        return answer;
    }
    let spent = spent(route, booking, &answer, &heard);
    // Should the better model fail, the first answer goes on, and a stream may yet come to its worst case.
    let first = match answer.body {
        AnswerBody::Whole(_) => spent,
        AnswerBody::Stream(_) => route.plan.worst_cost(route.decision, answer.place).max(spent),
    };
    let worst = route.plan.worst_cost(route.decision, above).saturating_add(first.saturating_sub(spent));
    if route.is_too_dear(worst.saturating_add(spent).saturating_add(booking.receipt().lost())) {
        tracing::info!(
            "an unsure answer stays: with a better one the request may cost more than the caller allows"
        );
        return answer;
    }
    let sent = booking.watch.sent();
    if let Err(fault) = booking.go_up(above, worst, spent).await {
        tracing::info!(error = %fault, "an unsure answer stays: a better one cannot be paid");
        return answer;
    }
    let upstream = &route.app.upstreams[above];
    match attempt(route, body, booking, (above, upstream), id).await {
        Ok((content_type, better)) => {
            booking.went_up();
            let (engine, idle) = (upstream.name().to_owned(), upstream.idle_timeout());
            let model = &route.decision.verdicts[answer.place].model;
            let why = Some(format!("escalated: {model} was unsure (confidence {confidence:.2})"));
            let unsure = match answer.body {
                AnswerBody::Whole(body) => Some(body),
                AnswerBody::Stream(_) => None,
            };
            Answer { content_type, body: better, engine, idle, why, place: above, unsure }
        }
        Err(failure) => {
            tracing::warn!(engine = upstream.name(), error = %failure, "an unsure answer stays: the better model failed");
            let estimate = route.plan.expected_cost(route.decision, above);
            booking.stay((answer.place, sent), &failure, estimate);
            answer
        }
    }
}

/// Whether the policy finds an answer of this confidence too unsure.
fn is_unsure(route: &Route<'_>, policy: &Escalate, confidence: f64) -> bool {
    policy.when.eval(&route.plan.facts(confidence)).unwrap_or_else(|error| {
        tracing::warn!(policy = route.ask.policy.name, %error, "[escalate] when came to no answer");
        route.app.metrics.failed_open("confidence");
        false
    })
}

/// What the first answer costs if it is thrown away: a whole one's tokens; of one that is still being written, which goes on until the
/// better one has begun, what it was expected to.
fn spent(route: &Route<'_>, booking: &Booking, answer: &Answer, heard: &Heard) -> Usd {
    let counted = booking.served_cost(heard.usage.unwrap_or_else(|| booking.estimated(heard.tokens)));
    match answer.body {
        AnswerBody::Whole(_) => counted,
        AnswerBody::Stream(_) => counted.max(route.plan.expected_cost(route.decision, answer.place)),
    }
}

/// Reads until so many tokens have been heard or the answer has ended; what was read is part of the answer still.
async fn listen(answer: Answer, tokens: usize) -> (Answer, Heard) {
    let mut heard = Heard::default();
    let body = match answer.body {
        AnswerBody::Whole(body) => {
            if let Some(whole) = std::str::from_utf8(&body).ok().and_then(Whole::read) {
                heard.logprobs = whole.logprobs();
                heard.usage = whole.usage();
                heard.tokens = (whole.message_bytes() as u64).div_ceil(BYTES_PER_TOKEN);
            }
            AnswerBody::Whole(body)
        }
        AnswerBody::Stream(begun) => AnswerBody::Stream(hear(begun, tokens, answer.idle, &mut heard).await),
    };
    (Answer { body, ..answer }, heard)
}

async fn hear(mut begun: Begun, tokens: usize, idle: Duration, heard: &mut Heard) -> Begun {
    let (mut frames, mut ended) = (Frames::default(), false);
    while heard.logprobs.len() < tokens && !ended {
        // An engine that breaks off or falls silent is found out by whoever passes the answer on.
        let Ok(Some(Ok(frame))) = tokio::time::timeout(idle, begun.rest.frame()).await else { break };
        let Ok(bytes) = frame.into_data() else { continue };
        let cut = frames.push(&bytes, |frame| {
            let Some(data) = data(frame) else { return };
            ended |= data.as_ref() == b"[DONE]";
            if let Some(chunk) = std::str::from_utf8(&data).ok().and_then(Whole::read) {
                heard.logprobs.extend(chunk.logprobs());
                ended |= chunk.ends();
            }
        });
        begun.held.push(bytes);
        if cut.is_err() {
            break;
        }
    }
    heard.tokens = heard.logprobs.len() as u64;
    begun
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_the_geometric_mean_of_the_first_tokens() {
        let of = |chances: &[f64], tokens| {
            Heard { logprobs: chances.iter().map(|chance| chance.ln()).collect(), ..Heard::default() }
                .confidence(tokens)
        };
        assert!((of(&[0.5, 0.125], 8).unwrap() - 0.25).abs() < 1e-9);
        assert!((of(&[0.5, 0.5, 1e-9], 2).unwrap() - 0.5).abs() < 1e-9, "only the first count");
        assert_eq!(of(&[], 8), None);
    }
}
