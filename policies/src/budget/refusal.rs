//! Why a request does not fit, in a form that tells its sender what to do.

use crate::budget::window::display_ms;
use crate::budget::{BudgetSpec, OnExhausted};
use crate::money::Usd;

/// Whether waiting inside the window can help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalKind {
    /// Even with nothing else in flight the request does not fit before the window resets.
    Exhausted,
    /// It does not fit now, but would once requests in flight give back what they hold.
    HeldInFlight,
}

/// A budget that a request does not fit into, and its state at that instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("budget {budget:?}{} {}: limit {limit} USD, settled {settled}, held by requests in flight {held}, needed {needed}{}",
    of_subject(.subject), what(*.kind), resets(*.resets_at_ms))]
pub struct Refusal {
    /// The budget's name.
    pub budget: String,
    /// Whose counter it is; empty for a global budget.
    pub subject: String,
    /// The budget's limit.
    pub limit: Usd,
    /// Spent in this window.
    pub settled: Usd,
    /// Held by requests in flight.
    pub held: Usd,
    /// The worst case of the request refused.
    pub needed: Usd,
    /// When the window ends, as Unix milliseconds; `None` if it never does.
    pub resets_at_ms: Option<u64>,
    /// Whether waiting inside the window can help.
    pub kind: RefusalKind,
    /// What the budget asks to be done now.
    pub on_exhausted: OnExhausted,
    /// Whether the limit has room as far as is known, and only a grant is missing: budgets are shared with others.
    pub unleased: bool,
}

impl Refusal {
    /// What could still be reserved in this budget.
    pub fn remaining(&self) -> Usd {
        self.limit.saturating_sub(self.settled).saturating_sub(self.held).max(Usd::ZERO)
    }

    pub(super) fn new(spec: &BudgetSpec, subject: &str, spent: (Usd, Usd), needed: Usd, now_ms: u64) -> Self {
        let (settled, held) = spent;
        let fits_alone = settled.saturating_add(needed) <= spec.limit;
        Refusal {
            budget: spec.name.clone(),
            subject: subject.to_owned(),
            limit: spec.limit,
            settled,
            held,
            needed,
            resets_at_ms: spec.window.end_ms(now_ms),
            kind: if fits_alone { RefusalKind::HeldInFlight } else { RefusalKind::Exhausted },
            on_exhausted: spec.on_exhausted,
            unleased: false,
        }
    }

    pub(super) fn unleased(self, unleased: bool) -> Refusal {
        Refusal { unleased, ..self }
    }

    /// Whether this is the better one of two to report: one that waiting cannot help first, then the tighter.
    pub(super) fn outranks(&self, other: &Refusal) -> bool {
        let rank = |refusal: &Refusal| {
            (refusal.unleased, refusal.kind == RefusalKind::HeldInFlight, refusal.remaining())
        };
        rank(self) < rank(other)
    }
}

fn of_subject(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!(" of {subject:?}") }
}

fn what(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Exhausted => "is spent",
        RefusalKind::HeldInFlight => "is held by requests in flight",
    }
}

fn resets(at_ms: Option<u64>) -> String {
    at_ms.map_or_else(|| ", never resets".to_owned(), |ms| format!(", resets at {}", display_ms(ms)))
}
