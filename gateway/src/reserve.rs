//! Reserving: the worst case of a decision is held in every budget, or another decision is made that fits.

use std::time::{Duration, Instant};

use tollgate_policies::{Hold, OnExhausted, Refusal, RefusalKind, Usd};
use tollgate_router::Decision;

use crate::app::App;
use crate::ledger::now_ms;
use crate::plan::Plan;
use crate::request::Ask;
use crate::wire::error::Fault;

/// How often a request that waits for a budget asks again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// Decisions made under ever less money before giving up: other requests take from the same budget.
const TRIES: usize = 4;

/// Holds the worst case of the best candidate that the budgets can pay.
///
/// # Errors
/// [`Fault::Budget`] naming the budget; [`Fault::NoCandidate`] if no model can answer at any price.
pub async fn reserve(
    app: &App,
    ask: &Ask,
    plan: &Plan<'_>,
    time_left: Option<Duration>,
) -> Result<(Decision, Hold), Fault> {
    let began = Instant::now();
    let patience = time_left.unwrap_or(app.limits.queue_wait).min(app.limits.queue_wait);
    let mut decision = plan.decide(None)?;
    let mut tries = 0;
    loop {
        let refusal = match hold(app, ask, plan.worst_cost(&decision, decision.ranked[0])) {
            Ok(hold) => return Ok((decision, hold)),
            Err(refusal) => refusal,
        };
        match refusal.on_exhausted {
            OnExhausted::Downgrade if tries < TRIES => {
                tries += 1;
                decision = downgrade(plan, refusal)?;
            }
            OnExhausted::Queue if refusal.kind == RefusalKind::HeldInFlight && began.elapsed() < patience => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            OnExhausted::Downgrade | OnExhausted::Queue | OnExhausted::Reject => {
                return Err(Fault::Budget(refusal));
            }
        }
    }
}

/// Holds `amount` in every budget of the request, or in none.
fn hold(app: &App, ask: &Ask, amount: Usd) -> Result<Hold, Refusal> {
    app.budgets.reserve(&ask.spender(), amount, now_ms())
}

/// Decides again for what is left; where nothing can be had for it, the budget is what to tell.
fn downgrade(plan: &Plan<'_>, refusal: Refusal) -> Result<Decision, Fault> {
    let left = refusal.remaining();
    if left == Usd::ZERO {
        return Err(Fault::Budget(refusal));
    }
    plan.decide(Some(left)).map_err(|_| Fault::Budget(refusal))
}
