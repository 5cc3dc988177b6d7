//! Whose an agent run is, and what is left of its money.
//!
//! Run ids are the caller's to choose, and easy to guess: a run's counter is that of the id and of who made it, so that nobody
//! spends or sees another's.

use crate::budget::{BudgetSpec, Budgets, OnExhausted, Pace, Spender};
use crate::money::Usd;

/// Between whose a run is and its id. No id has it: ids come in headers, which are ASCII.
const BEGAN: &str = " \u{203a} ";

/// The counter of a run: that of the team which the key belongs to, whose keys may share it, else the key's own. A run without a key
/// counts under its id alone.
pub fn run_subject(key: Option<&str>, team: Option<&str>, run: &str) -> String {
    match (team, key) {
        (Some(team), _) => format!("team {team}{BEGAN}{run}"),
        (None, Some(key)) => format!("key {key}{BEGAN}{run}"),
        (None, None) => run.to_owned(),
    }
}

/// A run's counter taken apart: the key that it is of, if it is a key's, and the run's id.
pub fn run_of(subject: &str) -> (Option<&str>, &str) {
    match subject.rsplit_once(BEGAN) {
        Some((whose, run)) => (whose.strip_prefix("key "), run),
        None => (None, subject),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_owners_share_a_run() {
        let owners = [
            (None, None),
            (Some("a"), None),
            (Some("b"), None),
            (Some("a"), Some("a")),
            (Some("b"), Some("a \u{203a} r")),
            (Some("key a \u{203a} r"), None),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for (key, team) in owners {
            for run in ["r", "r > r", "key a > r"] {
                let subject = run_subject(key, team, run);
                assert_eq!(run_of(&subject), (key.filter(|_| team.is_none()), run));
                assert!(seen.insert(subject), "{key:?} {team:?} {run}");
            }
        }
        assert_eq!(
            run_subject(Some("b"), Some("t"), "r"),
            run_subject(Some("a"), Some("t"), "r"),
            "a team's keys do"
        );
    }
}
