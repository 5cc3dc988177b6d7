//! A decision as callers see it: `POST /v1/decision` and the header `x-tollgate-decision`.

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tollgate_router::{Decision, RouterId, Score, Verdict};

use crate::request::{Ask, Body};
use crate::wire::error::Fault;

#[derive(Serialize)]
struct Shown<'a> {
    model: &'a str,
    route: &'a str,
    reason: &'a str,
    policy: &'a str,
    policy_sha: &'a str,
    quality: f64,
    price_of_money: f64,
    baseline: &'a str,
    score: &'a Score,
    #[serde(skip_serializing_if = "Option::is_none")]
    router: Option<RouterId>,
    fallbacks: Vec<&'a str>,
    candidates: &'a [Verdict],
}

/// The decision as JSON.
#[must_use]
pub fn json(decision: &Decision, score: &Score, ask: &Ask) -> String {
    let name = |place: &usize| decision.verdicts[*place].model.as_str();
    let shown = Shown {
        model: name(&decision.ranked[0]),
        route: &decision.route,
        reason: &decision.reason,
        policy: &ask.policy.name,
        policy_sha: &ask.policy.sha,
        quality: decision.quality,
        price_of_money: decision.price_of_money,
        baseline: name(&decision.baseline),
        score,
        router: score.router,
        fallbacks: decision.ranked[1..].iter().map(name).collect(),
        candidates: &decision.verdicts,
    };
    // Strings and numbers only: this cannot fail.
    serde_json::to_string(&shown).unwrap_or_default()
}

/// The decision as a response.
///
/// # Errors
/// None today; a step of the request path returns what they all do.
pub fn respond(decision: &Decision, score: &Score, ask: &Ask) -> Result<Response<Body>, Fault> {
    let mut response = Response::new(Body::full(json(decision, score, ask)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
