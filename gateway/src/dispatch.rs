//! Sending: the best candidate first, and on a failure before its first byte the next that can be paid.

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use tollgate_router::Decision;

use crate::app::App;
use crate::booking::Booking;
use crate::plan::Plan;
use crate::request::Ask;
use crate::upstream::{Failure, Upstream};
use crate::wire::error::Fault;
use crate::wire::openai::Chat;

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
}

/// An engine's answer, its head only.
#[derive(Debug)]
pub struct Answer {
    /// Head and unread body.
    pub response: Response<Incoming>,
    /// Name of the engine.
    pub engine: String,
    /// Longest pause tolerated in its body.
    pub idle: std::time::Duration,
    /// What went wrong before, if this is not the model selected.
    pub fallback: Option<String>,
}

/// Sends the request to the candidates in turn until one answers.
///
/// # Errors
/// [`Fault::Upstream`] with the last failure; [`Fault::Budget`] if what is left of the candidates cannot be paid.
pub async fn send(route: &Route<'_>, body: &Bytes, booking: &mut Booking, id: &str) -> Result<Answer, Fault> {
    let mut told: Option<String> = None;
    let mut last = None;
    for (rank, &place) in route.decision.ranked.iter().enumerate() {
        let upstream = &route.app.upstreams[place];
        if rank > 0
            && let Err(fault) =
                booking.move_to(place, route.ask, route.plan.worst_cost(route.decision, place)).await
        {
            tracing::info!(model = route.decision.verdicts[place].model, error = %fault, "this fallback cannot be paid");
            last.get_or_insert(fault);
            continue;
        }
        match attempt(route, body, booking, (place, upstream), id).await {
            Ok(response) => {
                let (engine, idle) = (upstream.name().to_owned(), upstream.idle_timeout());
                return Ok(Answer { response, engine, idle, fallback: told });
            }
            Err(failure) => {
                booking.unsent();
                if !failure.may_fall_back() {
                    return Err(Fault::Upstream(failure));
                }
                let model = &route.decision.verdicts[place].model;
                tracing::warn!(model, engine = upstream.name(), error = %failure, "trying the next candidate");
                route.app.metrics.fell_back(failure.reason());
                told.get_or_insert_with(|| format!("{model} failed ({})", failure.reason()));
                last = Some(Fault::Upstream(failure));
            }
        }
    }
    Err(last.unwrap_or(Fault::Internal(crate::wire::error::Defect::Catalogue)))
}

async fn attempt(
    route: &Route<'_>,
    body: &Bytes,
    booking: &mut Booking,
    (place, upstream): (usize, &Upstream),
    id: &str,
) -> Result<Response<Incoming>, Failure> {
    let model = &route.app.catalog.models()[place];
    let bound = route.decision.verdicts[place].output_cap;
    let rewritten = route.chat.rewrite(body, &model.upstream_model, Some(bound));
    booking.sending();
    let answer = upstream.chat(rewritten, id).await;
    booking.answered();
    answer
}
