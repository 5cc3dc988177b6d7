//! Policies: what a user's policy file means, once it has been checked in full.
//!
//! [`check`] turns a file's text into a [`Policy`] or into every problem it has. A rule narrows the
//! candidates or moves the quality wanted; the objective picks among what is left; the first rule whose
//! condition holds applies. What a value is for is written down in `docs/policies.md`.

mod budgets;
mod learn;
mod read;
mod schema;
mod shipped;

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::budget::BudgetSpec;
use crate::condition::Condition;
use crate::diagnostic::Diagnostics;
use crate::document::Document;

pub use learn::Learn;
pub use schema::json_schema;
pub use shipped::shipped;

/// The route of a request that no rule applied to; no rule may be called so.
pub const OBJECTIVE_ROUTE: &str = "objective";

/// A checked policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name: `auto:NAME` asks for it.
    pub name: String,
    /// SHA-256 of the file's text in hex: two policies with one hash decide alike.
    pub sha: String,
    /// The catalogue model that savings are counted against.
    pub baseline: String,
    /// What decides among the candidates.
    pub objective: Objective,
    /// First match wins.
    pub rules: Vec<Rule>,
    /// When to decide afresh within a conversation.
    pub stick: Stick,
    /// When to go up to a better model before the first byte.
    pub escalate: Option<Escalate>,
    /// How the router learns from what this policy decides; `None` = not at all.
    pub learn: Option<Learn>,
    /// Limits on spending, that of learning included.
    pub budgets: Vec<Arc<BudgetSpec>>,
}

/// What decides among the candidates that rules and hard limits leave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Objective {
    /// Share of the baseline's expected quality to keep on average, 0 to 1.
    pub quality: f64,
    /// The largest share of the requests sent below the baseline that may fail where the baseline would not have, 0 to 1;
    /// needs a calibration that bounds it.
    pub max_loss: Option<f64>,
    /// Whether to spend evenly over each budget window.
    pub pace: bool,
    /// What missing the deadline costs, as a share of quality: 1 = as bad as a bad answer.
    pub latency_weight: f64,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, told to callers as the route.
    pub name: String,
    /// When it applies.
    pub when: Condition,
    /// Only these catalogue models (`use` in files).
    pub models: Option<Vec<String>>,
    /// Only models with at least this many bits per weight; models that state none pass.
    pub min_bits: Option<u32>,
    /// Only models in one of these regions.
    pub regions: Option<Vec<String>>,
    /// The quality wanted here instead of the objective's.
    pub quality: Option<f64>,
}

/// How long a decision holds within a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decide {
    /// Every request decides afresh.
    Request,
    /// Tool results keep the model of the user turn they belong to.
    UserTurn,
    /// A run keeps the model it began with.
    Run,
}

/// When to decide afresh.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stick {
    /// How long a decision holds.
    pub decide: Decide,
}

/// When a small model's unsure beginning is thrown away for a larger model's answer.
#[derive(Clone, Debug)]
pub struct Escalate {
    /// Over the facts and `confidence`.
    pub when: Condition,
    /// Tokens held back from the caller while it is unknown.
    pub hold_tokens: u32,
}

/// The names a policy may refer to, where a configuration is at hand.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Catalogue names of models.
    pub models: &'a [&'a str],
    /// Regions that some model is in.
    pub regions: &'a [&'a str],
}

impl Policy {
    /// The first rule that applies to a request, or `None` for the objective alone.
    ///
    /// A condition that comes to no answer counts as not holding; the error is handed to `failed`, so
    /// that it can be counted and told, and the next rules are tried.
    pub fn rule_for(
        &self,
        facts: &crate::Facts<'_>,
        mut failed: impl FnMut(&Rule, crate::ConditionError),
    ) -> Option<&Rule> {
        self.rules.iter().find(|rule| match rule.when.eval(facts) {
            Ok(holds) => holds,
            Err(error) => {
                failed(rule, error);
                false
            }
        })
    }
}

/// Checks a policy file's text. Names of models and regions are checked when `known` is given.
///
/// # Errors
/// Every problem found, with positions in `file`.
///
/// # Examples
/// ```
/// let text = "[policy]\nname = \"mine\"\nbaseline = \"large\"\n\n[objective]\nquallity = 0.9\n";
/// let problems = tollgate_policies::check("mine.toml", text, None).unwrap_err();
/// assert_eq!(
///     problems.to_string(),
///     "mine.toml:6:1: error: unknown key `quallity` in [objective]\n    help: did you mean `quality`?"
/// );
/// ```
pub fn check(file: &str, text: &str, known: Option<&Known<'_>>) -> Result<Policy, Diagnostics> {
    let document = Document::parse(file, text)?;
    let policy = read::policy(&document, known, sha256_hex(text));
    document.finish()?;
    // Only a problem keeps the reader from making a policy, and then `finish` has returned it.
    policy.ok_or_else(Diagnostics::default)
}

fn sha256_hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
