//! The end of an agent run's money: dear steps give way so that one more answer stays affordable, reasoning takes less effort, and the
//! answer that takes the last of it says so.
//!
//! For policies that pace, and budgets of runs that downgrade. Money gets dearer on the way there, as [`tollgate_policies::Budgets`]
//! has it.

use tollgate_policies::{RunLeft, Usd};
use tollgate_router::Decision;

use crate::plan::Plan;

/// Below this share of a run's money reasoning takes less effort.
const EFFORT_SHARE: f64 = 0.25;
/// The next step's prompt is longer than this one's: its worst case is taken to be larger by one in so many.
const GROWTH: i64 = 4;

/// How far a run's money has gone.
#[derive(Debug, Clone, Copy, Default)]
pub struct WindDown {
    /// Reasoning takes less effort.
    pub low_effort: bool,
    /// No further answer like this one is affordable.
    pub last: bool,
    /// The most that this answer may come to so that another stays affordable, if there is one.
    pub spare: Option<Usd>,
}

/// The decision that leaves enough for one more answer, or the one that takes the last of the money.
#[must_use]
pub fn wind_down(plan: &Plan<'_>, decision: Decision, left: Option<RunLeft>) -> (Decision, WindDown) {
    let Some(RunLeft { left, share }) = left else { return (decision, WindDown::default()) };
    let mut wind = WindDown { low_effort: share < EFFORT_SHARE, ..WindDown::default() };
    let worst = |decision: &Decision| plan.worst_cost(decision, decision.ranked[0]);
    let cheapest =
        decision.ranked.iter().map(|place| plan.worst_cost(&decision, *place)).min().unwrap_or(Usd::ZERO);
    let reserve = cheapest.saturating_add(Usd::from_nanos(cheapest.nanos() / GROWTH));
    let spare = left.saturating_sub(reserve);
    wind.spare = Some(spare);
    if worst(&decision) <= spare {
        return (decision, wind);
    }
    let whole = |cheaper: &Decision| {
        let place = cheaper.ranked[0];
        cheaper.verdicts[place].output_cap >= decision.verdicts[place].output_cap
    };
    // A step that leaves too little for another is only worth its money if it is not cut short itself.
    let step = (spare > Usd::ZERO).then(|| plan.decide(Some(spare)).ok()).flatten().filter(whole);
    if let Some(step) = step {
        return (step, wind);
    }
    (wind.last, wind.spare) = (true, Some(Usd::ZERO));
    let last = (left > Usd::ZERO).then(|| plan.decide(Some(left)).ok()).flatten();
    (last.unwrap_or(decision), wind)
}
