//! Policy files, prices, exact money and budget arithmetic.
//!
//! Pure: no I/O, no clock, no async. Callers hand in texts and the time; everything here is
//! deterministic. Money is integer nanodollars from the file to the receipt, and a policy that
//! exists as a value has been checked in full.

pub mod budget;
pub mod condition;
pub mod diagnostic;
pub mod document;
pub mod money;
pub mod policy;
pub mod price;
pub mod service_tier;

pub use budget::{
    AccountId, AccountState, BudgetSpec, Budgets, Elsewhere, Hold, KeptPace, OnExhausted, Pace, Quiet,
    Refusal, RefusalKind, Remaining, RunLeft, Scope, Shape, Spender, Subject, Want, Window, run_of,
    run_subject,
};
pub use condition::{Condition, ConditionError, DOMAINS, FACTS, Fact, FactKind, Facts};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use document::{Document, Table};
pub use money::{ParseUsdError, Usd};
pub use policy::{
    Decide, Escalate, Known, Learn, OBJECTIVE_ROUTE, Objective, Policy, Rule, Stick, check, json_schema,
    shipped,
};
pub use price::{PerToken, Price, Rates, Tariff, Tier, TokenPrice, Usage};
pub use service_tier::ServiceTier;
