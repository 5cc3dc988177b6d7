//! Budgets: limits on spending, per scope and calendar window.
//!
//! A request reserves its worst case in every budget that matches it, all or none, before anything
//! is spent; the [`Hold`] it gets ends exactly once, by settling the real cost or by releasing.
//! So settled + held ≤ limit for every window at every instant, as long as nobody settles more than
//! they held. Pure arithmetic: the caller hands in the time as Unix milliseconds.

mod accounts;
mod hold;
mod lease;
mod pace;
mod pacers;
mod refusal;
mod run;
mod spec;
mod window;

pub use accounts::{AccountState, Budgets, Remaining};
pub use hold::{AccountId, Hold};
pub use lease::{Elsewhere, Quiet, Want};
pub use pace::{KeptPace, Pace, Shape};
pub use refusal::{Refusal, RefusalKind};
pub use run::{RunLeft, run_of, run_subject};
pub use spec::{BudgetSpec, OnExhausted, Scope, Spender, Subject};
pub use window::Window;

#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;
