//! What is left of an agent run's money.

use crate::budget::{BudgetSpec, Budgets, OnExhausted, Pace, Spender};
use crate::money::Usd;

/// What is left of a run's money.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RunLeft {
    /// Neither spent nor held.
    pub left: Usd,
    /// As a share of the limit, 0 to 1.
    pub share: f64,
}

impl Budgets {
    /// What is left of a run's money in the tightest of its budgets that downgrade, if it has one.
    pub fn run_left(&self, who: &Spender<'_>) -> Option<RunLeft> {
        who.run?;
        let state = self.state.lock();
        let winds = |spec: &BudgetSpec| {
            spec.is_of_runs() && spec.pace != Pace::Off && spec.on_exhausted == OnExhausted::Downgrade
        };
        let lefts = state.matching(who, 0).filter(|(spec, _)| winds(spec)).map(|(spec, id)| {
            let (settled, held) = state.account(&id).taken();
            let left = spec.limit.saturating_sub(settled).saturating_sub(held).max(Usd::ZERO);
            RunLeft { left, share: left.as_f64() / spec.limit.as_f64().max(f64::MIN_POSITIVE) }
        });
        lefts.min_by_key(|left| left.left)
    }
}
