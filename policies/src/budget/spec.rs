//! What a budget limits: its scope, its window, and which of its counters a request falls into.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::budget::{Pace, Window};
use crate::money::Usd;

/// Whose spending a scope means: one by name, or each one apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Only this one.
    Named(String),
    /// Everyone, each with a counter and the whole limit of their own; `"*"` in files.
    Each,
}

/// What a budget's limit applies to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All requests together.
    Global,
    /// Requests made with a virtual key.
    Key(Subject),
    /// Requests of a team.
    Team(Subject),
    /// Requests that carry a tag with some value.
    Tag {
        /// The tag's name.
        name: String,
        /// The tag's value.
        value: Subject,
    },
    /// Each agent run on its own.
    Run,
    /// What a policy of this name spends to learn; files write it as `[learn] limit_usd`.
    Learning(Arc<str>),
}

/// What happens to a request that no longer fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnExhausted {
    /// Try again with models that still fit, cheapest worst case allowing; refuse if there is none.
    Downgrade,
    /// Refuse at once.
    Reject,
    /// Wait for requests in flight to give back what they hold, as long as the deadline allows.
    Queue,
}

/// One budget as written in a policy file.
#[derive(Clone, PartialEq, Debug)]
pub struct BudgetSpec {
    /// Its name; counters are kept under it, so renaming a budget starts it afresh.
    pub name: String,
    /// What it applies to.
    pub scope: Scope,
    /// The most that may be settled and held in one window.
    pub limit: Usd,
    /// How long until it starts from zero.
    pub window: Window,
    /// What happens to a request that no longer fits.
    pub on_exhausted: OnExhausted,
    /// Shares of the limit, ascending, each above 0 and at most 1, that are worth a warning.
    pub warn_at: Vec<f64>,
    /// How its money is spread over the window, for requests of policies that pace.
    pub pace: Pace,
}

/// Who spends: what budgets look at in a request.
#[derive(Clone, Copy, Debug)]
pub struct Spender<'a> {
    /// The virtual key's name.
    pub key: Option<&'a str>,
    /// The team.
    pub team: Option<&'a str>,
    /// The request's tags.
    pub tags: &'a BTreeMap<String, String>,
    /// The agent run, as [`super::run_subject`] names it.
    pub run: Option<&'a str>,
    /// The policy that spends to learn, if that is what it is for.
    pub learning: Option<&'a str>,
}

impl Subject {
    fn matching<'a>(&self, who: Option<&'a str>) -> Option<&'a str> {
        match self {
            Subject::Each => who,
            Subject::Named(name) => who.filter(|who| who == name),
        }
    }
}

impl BudgetSpec {
    /// The counter a request falls into, or `None` when the budget does not apply to it.
    ///
    /// A request that carries no key, team, tag or run is outside the budgets of that kind; an empty
    /// name counts as none, so that a client cannot share the counter of "nobody" by accident.
    pub fn subject<'a>(&self, who: &Spender<'a>) -> Option<&'a str> {
        let subject = match &self.scope {
            Scope::Global => return Some(""),
            Scope::Key(subject) => subject.matching(who.key),
            Scope::Team(subject) => subject.matching(who.team),
            Scope::Tag { name, value } => value.matching(who.tags.get(name).map(String::as_str)),
            Scope::Run => who.run,
            Scope::Learning(policy) => who.learning.filter(|who| **who == **policy),
        };
        subject.filter(|subject| !subject.is_empty())
    }

    /// Whether it is counted for each run, without an end in time.
    pub(super) fn is_of_runs(&self) -> bool {
        self.window == Window::Run
    }

    /// The only counter this budget can have, if it has but one.
    pub(super) fn sole_subject(&self) -> Option<&str> {
        match &self.scope {
            Scope::Global => Some(""),
            Scope::Learning(policy) => Some(policy),
            Scope::Key(Subject::Named(name)) | Scope::Team(Subject::Named(name)) => Some(name),
            Scope::Tag { value: Subject::Named(value), .. } => Some(value),
            _ => None,
        }
    }
}

/// The specs in force, shared with requests that are deciding.
pub(super) type Specs = Vec<Arc<BudgetSpec>>;
