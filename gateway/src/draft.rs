//! A receipt before there is an answer: what is known once a request has been decided.

use tollgate_policies::Hold;
use tollgate_router::Decision;

use crate::app::App;
use crate::call::Call;
use crate::escalate::above;
use crate::ledger::{Account, Asked, Receipt, Timings};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::request::Ask;
use crate::wire::openai::Chat;

/// The receipt of a request that has been decided and not yet sent.
#[must_use]
pub fn draft(
    app: &App,
    call: &Call,
    ask: &Ask,
    chat: &Chat<'_>,
    plan: &Plan<'_>,
    decision: &Decision,
    hold: &Hold,
) -> Receipt {
    let selected = decision.ranked[0];
    let model = &app.catalog.models()[selected];
    let score = &plan.score;
    // Vectors are of the model that was named: nothing was weighed, and nothing can be weighed again.
    let weighed = chat.operation == Operation::Chat;
    Receipt {
        request_id: call.id.clone(),
        at_ms: call.at_ms,
        key: ask.key_id.clone(),
        team: ask.team.clone(),
        run: ask.run.clone(),
        tags: ask.tags.clone(),
        policy_name: ask.policy.name.clone(),
        policy_sha: ask.policy.sha.clone(),
        price_version: app.price_version.clone(),
        route: decision.route.clone(),
        reason: decision.reason.clone(),
        domain: if weighed { score.domain.to_owned() } else { String::new() },
        difficulty: weighed.then_some(f64::from(score.difficulty)),
        p_small: weighed.then_some(f64::from(score.p_small)),
        p_large: weighed.then_some(f64::from(score.p_large)),
        propensity: decision.propensity,
        selected: model.name.clone(),
        model: model.name.clone(),
        engine: model.engine.clone(),
        http_status: 200,
        stream: chat.stream,
        estimate: plan.expected_cost(decision, selected),
        held: hold.amount(),
        accounts: hold.accounts().iter().map(Account::from).collect(),
        timings: Timings { score_us: u64::from(score.elapsed_us), ..Timings::default() },
        choice: teaches(ask, chat, decision).then(|| decision.choice(score)),
        asked: weighed.then(|| asked(app, ask, chat, plan)),
        ..Receipt::default()
    }
}

/// Whether verdicts on the answer say something of the model selected. What was kept from before, or left by a draw that could
/// not be had, has no probability. And where an unsure answer goes up, callers see of the model's own answers those that it was
/// sure of: their verdicts would make it abler than it is, by as much as its confidence tells good from bad, which nothing
/// here knows. What is asked twice is drawn before it is answered, and judged either way (`learn/shadow.rs`).
fn teaches(ask: &Ask, chat: &Chat<'_>, decision: &Decision) -> bool {
    let weighed = chat.operation == Operation::Chat && ask.policy.learn.is_some();
    weighed && decision.teaches() && above(ask, chat, decision, decision.ranked[0]).is_none()
}

/// What the decision was made from.
fn asked(app: &App, ask: &Ask, chat: &Chat<'_>, plan: &Plan<'_>) -> Asked {
    let output = plan.score.output;
    Asked {
        model: chat.model.clone().into_owned(),
        prompt_tokens: plan.prompt_tokens,
        prompt_tokens_upper: plan.prompt_tokens_upper,
        parts: chat.images,
        max_tokens: chat.max_tokens.unwrap_or(app.limits.default_max_tokens),
        choices: chat.choices,
        turns: chat.user_turns,
        tools: chat.tools,
        images: chat.images > 0,
        json: chat.json,
        familiar: plan.score.familiar,
        output_tokens: (output.p50, output.p90),
        deadline_ms: plan.deadline_ms,
        max_cost: ask.max_cost,
        quality: ask.quality,
        service_tier: chat.service_tier,
        allowed: ask.allowed.clone(),
    }
}
