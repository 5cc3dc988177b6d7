//! Reserving: the worst case of a decision is held in every budget, or another decision is made that fits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_policies::{Budgets, Hold, OnExhausted, Refusal, RefusalKind, Spender, Usd};
use tollgate_router::Decision;

use crate::app::App;
use crate::ledger::now_ms;
use crate::plan::Plan;
use crate::request::Ask;
use crate::wind_down::{WindDown, wind_down};
use crate::wire::error::Fault;

/// How often a request that waits for a budget asks again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// How often a request asks for a lease: others may have taken what was free a moment ago.
const ASKS: usize = 3;
/// Decisions made under ever less money before giving up: other requests take from the same budget.
const TRIES: usize = 4;

/// A decision, with the money for it.
#[derive(Debug)]
pub struct Reserved {
    /// The decision.
    pub decision: Decision,
    /// Its worst case, held in every budget of the request.
    pub hold: Hold,
    /// How far the money of the request's run has gone.
    pub wind: WindDown,
}

/// Holds the worst case of the best candidate that the budgets can pay.
///
/// # Errors
/// [`Fault::Budget`] naming the budget; [`Fault::NoCandidate`] if no model can answer at any price; [`Fault::Ledger`] while nothing can be
/// leased of budgets that are shared.
pub async fn reserve(
    app: &App,
    ask: &Ask,
    plan: &Plan<'_>,
    time_left: Option<Duration>,
) -> Result<Reserved, Fault> {
    let (began, mut asked) = (Instant::now(), 0);
    let patience = time_left.unwrap_or(app.limits.queue_wait).min(app.limits.queue_wait);
    let left = ask.policy.objective.pace.then(|| app.budgets.run_left(&ask.spender())).flatten();
    let (mut decision, wind) = wind_down(plan, plan.decide(None)?, left);
    loop {
        let worst = |decision: &Decision| plan.worst_cost(decision, decision.ranked[0]);
        let again = |left| plan.decide(Some(left)).ok();
        let room = || {
            let left = app.budgets.remaining(&ask.spender(), now_ms()).map(|left| left.remaining);
            left.into_iter().chain(wind.spare).min()
        };
        let explore = |decision: &mut Decision| plan.explore(decision, room);
        let refusal = match afford(&app.budgets, &ask.spender(), now_ms(), decision, worst, again, explore) {
            Ok((decision, hold)) => return Ok(Reserved { decision, hold, wind }),
            Err(short) => {
                let Short { decision: refused, refusal } = *short;
                decision = refused;
                refusal
            }
        };
        if refusal.unleased && asked < ASKS {
            asked += 1;
            let worst = plan.worst_cost(&decision, decision.ranked[0]);
            let wants = app.budgets.wants(&ask.spender(), worst, now_ms());
            app.lease(wants).await.map_err(Fault::Ledger)?;
            continue;
        }
        let waits = refusal.on_exhausted == OnExhausted::Queue && refusal.kind == RefusalKind::HeldInFlight;
        if !waits || began.elapsed() >= patience {
            return Err(Fault::Budget(refusal));
        }
        tokio::time::sleep(ASK_AGAIN).await;
        asked = 0;
    }
}

/// A decision that no money was found for.
#[derive(Debug)]
pub struct Short {
    /// The decision.
    pub decision: Decision,
    /// The budget that has no room.
    pub refusal: Refusal,
}

/// Holds the worst case of a decision in every budget, or of one made `again` for what is left where the budget that
/// refused downgrades.
///
/// What may be left to chance is left to it by `explore`, once: as soon as the budgets can pay what was decided without. So a
/// model's probability to answer is that of being drawn. Should others take the money between the draw and the hold, what
/// comes then has none that could be told.
///
/// # Errors
/// [`Short`]
pub fn afford(
    budgets: &Arc<Budgets>,
    who: &Spender<'_>,
    now_ms: u64,
    mut decision: Decision,
    worst: impl Fn(&Decision) -> Usd,
    mut again: impl FnMut(Usd) -> Option<Decision>,
    mut explore: impl FnMut(&mut Decision),
) -> Result<(Decision, Hold), Box<Short>> {
    let mut tries = 0;
    loop {
        if !decision.is_drawn() {
            explore(&mut decision);
        }
        let refusal = match budgets.reserve(who, worst(&decision), now_ms) {
            Ok(hold) => return Ok((decision, hold)),
            Err(refusal) => refusal,
        };
        tries += 1;
        let left = refusal.remaining();
        let spent = !refusal.unleased && refusal.on_exhausted == OnExhausted::Downgrade;
        let downgrades = spent && left > Usd::ZERO && tries <= TRIES;
        match downgrades.then(|| again(left)).flatten() {
            Some(mut cheaper) => {
                if decision.is_drawn() {
                    cheaper.lose_chance();
                }
                decision = cheaper;
            }
            None => return Err(Box::new(Short { decision, refusal })),
        }
    }
}

#[cfg(test)]
mod tests;
