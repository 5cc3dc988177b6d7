//! THE request function: a chat completion, or vectors of texts, from its body to its receipt.
//!
//! It reads as the architecture says: read, features, score, decide, reserve, send, escalate, settle, receipt. Each step
//! is a call; what can go wrong in it is a [`Fault`], rendered by a layer. Money is held by a [`Booking`] from
//! `reserve` on, so leaving this function at any `?` gives it back or settles it.

use std::sync::Arc;

use http::Response;

use crate::app::App;
use crate::booking::Booking;
use crate::call::Call;
use crate::content::Transcript;
use crate::learn::Shadow;
use crate::plan::Plan;
use crate::request::{Ask, Body};
use crate::reserve::Reserved;
use crate::wire::error::Fault;
use crate::wire::openai::Chat;
use crate::{decision, dispatch, escalate, headers, reply, reserve};

/// Answers a request for a chat completion or for vectors.
///
/// # Errors
/// [`Fault`]: the caller's mistake, a budget without room, or no engine that answers.
pub async fn complete(app: Arc<App>, mut call: Call) -> Result<Response<Body>, Fault> {
    headers::check(&call.parts.headers)?;
    let body = call.read(app.limits.body_bytes).await?;
    let chat = call.operation().read(&body)?;
    let ask = Ask::read(&app, &call, &chat)?;
    let plan = Plan::new(&app, &ask, &chat, call.time_left()).exploring(call.draw());
    let Reserved { decision, hold, wind } = reserve::reserve(&app, &ask, &plan, call.time_left()).await?;
    plan.stick(&decision);
    let mut booking = Booking::open(&app, &call, &ask, &chat, &plan, (&decision, hold)).await?;
    booking.listen(Transcript::begin(app.keep_content, &body, chat.stream));
    let deadline = call.deadline.and_then(|all| call.began.checked_add(all));
    let route = dispatch::Route {
        app: &app,
        ask: &ask,
        chat: &chat,
        plan: &plan,
        decision: &decision,
        wind,
        deadline,
    };
    let shadow = Shadow::draw(&app, &call, &route, &body);
    let answer = dispatch::send(&route, &body, &mut booking, &call.id).await;
    let answer = match answer {
        Ok(answer) => escalate::escalate(&route, &body, &mut booking, answer, &call.id).await,
        Err(fault) => {
            booking.abandon(&fault.notice());
            return Err(fault);
        }
    };
    reply::reply(reply::Head::new(&route, &answer), answer, booking, (call.seat, shadow)).await
}

/// Decides a chat completion request without calling a model: `POST /v1/decision`.
///
/// # Errors
/// As [`complete`], as far as it gets.
pub async fn decide(app: Arc<App>, mut call: Call) -> Result<Response<Body>, Fault> {
    headers::check(&call.parts.headers)?;
    let body = call.read(app.limits.body_bytes).await?;
    let chat = Chat::parse(&body)?;
    let ask = Ask::read(&app, &call, &chat)?;
    let plan = Plan::new(&app, &ask, &chat, call.time_left());
    let decision = plan.decide(None)?;
    decision::respond(&decision, &plan.score, &ask)
}
