//! The `[learn]` section of a policy: how the router may learn from the traffic that this policy decides.

use std::sync::Arc;

use crate::budget::{BudgetSpec, OnExhausted, Pace, Scope, Window};
use crate::diagnostic::suggest;
use crate::document::Table;
use crate::money::Usd;
use crate::policy::Known;
use crate::policy::budgets::WINDOWS;

/// Largest share that may be asked twice, and largest floor of exploration: more would be another policy.
pub(super) const MOST_SHARE: f64 = 0.5;
pub(super) const MOST_EXPLORE: f64 = 0.2;

/// How a policy learns from its traffic.
#[derive(Clone, PartialEq, Debug)]
pub struct Learn {
    /// Share of the requests answered below the baseline that the baseline is asked too, 0 to 0.5.
    pub share: f64,
    /// The model that says which of two answers is good where they cannot simply be compared.
    pub judge: Option<String>,
    /// Share of the requests spread evenly over all models that may answer, 0 to 0.2.
    pub explore: f64,
    /// Whether abilities learned and found better are put in force.
    pub promote: bool,
}

/// The section, and the budget that what it spends is held in.
pub(super) fn learn(
    table: Table<'_>,
    known: Option<&Known<'_>>,
    policy: Option<&str>,
) -> Option<(Learn, Option<BudgetSpec>)> {
    let share = table.opt_float("share", 0.0..=MOST_SHARE).unwrap_or(0.0);
    let explore = table.opt_float("explore", 0.0..=MOST_EXPLORE).unwrap_or(0.0);
    let promote = table.opt_bool("promote").unwrap_or(false);
    let judge = table.opt_string("judge");
    if let (Some(judge), Some(known)) = (&judge, known)
        && !known.models.contains(&judge.as_str())
    {
        let help = suggest(judge, known.models.iter().copied());
        table.problem("judge", format!("no model is called `{judge}`"), help);
    }
    let limit = table.opt_usd("limit_usd");
    let window = table.opt_one_of("window", &WINDOWS).unwrap_or(Window::Day);
    if window == Window::Run {
        table.problem(
            "window",
            "what is learned belongs to no run",
            Some("write 1h, 1d, 1w or 1mo".to_owned()),
        );
    }
    if share > 0.0 && limit.is_none() {
        let help = "asking twice costs money: limit_usd = 1.0 is a dollar each window".to_owned();
        table.problem("share", "`share` needs a `limit_usd`", Some(help));
    }
    table.finish();
    let budget = limit.zip(policy).map(|(limit, policy)| budget(policy, limit, window));
    Some((Learn { share, judge, explore, promote }, budget))
}

fn budget(policy: &str, limit: Usd, window: Window) -> BudgetSpec {
    BudgetSpec {
        name: format!("learning of {policy}"),
        scope: Scope::Learning(Arc::from(policy)),
        limit,
        window,
        on_exhausted: OnExhausted::Reject,
        warn_at: Vec::new(),
        pace: Pace::Off,
    }
}
