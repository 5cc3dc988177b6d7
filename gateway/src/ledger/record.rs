//! What the ledger keeps: a hold while a request is in flight, a receipt when it has ended.
//!
//! A receipt's JSON (fields in the order declared here, tags sorted, money as exact decimal text) is its
//! canonical form: the bytes stored, hashed into the chain, and exported are the same bytes. New fields are
//! therefore added at the end with `default` and `skip_serializing_if`, and none is renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_policies::{AccountId, Usage, Usd};
use tollgate_router::Choice;

use super::asked::Asked;
use super::error::LedgerError;

/// Money set aside for a request that has not ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HoldRow {
    /// The request.
    pub request_id: String,
    /// When the hold was taken, Unix milliseconds.
    pub at_ms: u64,
    /// Worst case set aside in every account.
    pub amount: Usd,
    /// Budget windows charged.
    pub accounts: Vec<Account>,
    /// Id of the virtual key, if any.
    pub key: Option<String>,
    /// Team charged, if any.
    pub team: Option<String>,
    /// Agent run, if any.
    pub run: Option<String>,
    /// The request's tags.
    pub tags: BTreeMap<String, String>,
    /// Policy that decided.
    pub policy_name: String,
    /// SHA-256 of that policy's text, hex.
    pub policy_sha: String,
    /// Rule name or `objective`.
    pub route: String,
    /// Model chosen by the decision.
    pub selected: String,
    /// Engine of that model.
    pub engine: String,
    /// Expected cost.
    pub estimate: Usd,
    /// Whether the answer is streamed.
    pub stream: bool,
}

impl HoldRow {
    /// The hold of a request that has no more of a receipt than its beginning.
    #[must_use]
    pub fn of(receipt: &Receipt) -> HoldRow {
        HoldRow {
            request_id: receipt.request_id.clone(),
            at_ms: receipt.at_ms,
            amount: receipt.held,
            accounts: receipt.accounts.clone(),
            key: receipt.key.clone(),
            team: receipt.team.clone(),
            run: receipt.run.clone(),
            tags: receipt.tags.clone(),
            policy_name: receipt.policy_name.clone(),
            policy_sha: receipt.policy_sha.clone(),
            route: receipt.route.clone(),
            selected: receipt.selected.clone(),
            engine: receipt.engine.clone(),
            estimate: receipt.estimate,
            stream: receipt.stream,
        }
    }
}

/// One budget window an amount is booked on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Account {
    /// Budget name.
    pub budget: String,
    /// Whose counter: a key, team, tag value or run; empty for a global budget.
    pub subject: String,
    /// Start of the window, Unix milliseconds.
    pub window_start_ms: u64,
}

impl From<&AccountId> for Account {
    fn from(id: &AccountId) -> Account {
        Account {
            budget: id.budget.to_string(),
            subject: id.subject.to_string(),
            window_start_ms: id.window_start_ms,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptStatus {
    /// Answered by the model selected.
    #[default]
    Ok,
    /// Answered, but by another model than the one selected.
    Fallback,
    /// Answered by a better model than the one selected, which was unsure.
    Escalated,
    /// Failed: no answer, or one cut short by the upstream.
    Error,
    /// The client went away.
    Cancelled,
    /// A crash left the hold behind; charged in full, for the money may have been spent.
    Orphaned,
}

impl ReceiptStatus {
    /// The word used in receipts, reports and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ReceiptStatus::Ok => "ok",
            ReceiptStatus::Fallback => "fallback",
            ReceiptStatus::Escalated => "escalated",
            ReceiptStatus::Error => "error",
            ReceiptStatus::Cancelled => "cancelled",
            ReceiptStatus::Orphaned => "orphaned",
        }
    }
}

/// A try at a model that failed, or whose answer was thrown away, before another was tried.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Attempt {
    /// Model that was tried.
    pub model: String,
    /// Its engine.
    pub engine: String,
    /// Why it failed: `unreachable`, `broken`, `timeout`, `busy`, `status`, `refused`, `garbled`; or `unsure`.
    pub reason: String,
    /// What it is taken to have cost; zero where an engine surely charged nothing.
    pub cost: Usd,
}

/// Where a request's time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Time in the gateway, not waiting for engines, microseconds.
    pub overhead_us: u64,
    /// Scoring alone, microseconds.
    pub score_us: u64,
    /// Waiting for a budget or a slot, milliseconds.
    pub queue_ms: u64,
    /// Sent upstream until the first token, milliseconds; `None` if no token came.
    pub ttft_ms: Option<u64>,
    /// Received until the last byte, milliseconds.
    pub total_ms: u64,
}

/// What one request cost, why, and what it would have cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// The request.
    pub request_id: String,
    /// When it was received, Unix milliseconds.
    pub at_ms: u64,
    /// Id of the virtual key, if any.
    pub key: Option<String>,
    /// Team charged, if any.
    pub team: Option<String>,
    /// Agent run, if any.
    pub run: Option<String>,
    /// The request's tags.
    pub tags: BTreeMap<String, String>,
    /// Policy that decided.
    pub policy_name: String,
    /// SHA-256 of that policy's text, hex.
    pub policy_sha: String,
    /// Which price list was in force (a hash of the catalogue's prices).
    pub price_version: String,
    /// Rule name or `objective`.
    pub route: String,
    /// The decision's reason in words.
    pub reason: String,
    /// Domain the classifier named.
    pub domain: String,
    /// Classifier's difficulty, 0..1; `None` if the request was not scored.
    pub difficulty: Option<f64>,
    /// Probability of a good answer from the small reference model.
    pub p_small: Option<f64>,
    /// Probability of a good answer from the large reference model.
    pub p_large: Option<f64>,
    /// Probability with which the policy took this choice: 1 when it does not explore, 0 where it cannot be told.
    pub propensity: f64,
    /// Model chosen by the decision.
    pub selected: String,
    /// Model that served.
    pub model: String,
    /// Engine that served.
    pub engine: String,
    /// How it ended.
    pub status: ReceiptStatus,
    /// HTTP status sent to the client.
    pub http_status: u16,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// Tokens and engine time used.
    pub usage: Usage,
    /// Whether `usage` is the gateway's estimate because the upstream reported none.
    pub usage_estimated: bool,
    /// Expected cost when decided.
    pub estimate: Usd,
    /// Amount held.
    pub held: Usd,
    /// Amount charged, failed attempts included.
    pub cost: Usd,
    /// What the baseline model would have cost for the same tokens.
    pub baseline_cost: Usd,
    /// `baseline_cost - cost`; negative when the dearer way was taken.
    pub saved: Usd,
    /// Budget windows charged.
    pub accounts: Vec<Account>,
    /// Where the time went.
    pub timings: Timings,
    /// Tries that failed, in order; their costs are part of `cost`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What was decided and what could have been; only where the policy learns from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// What was asked for, so that it can be decided again (`tollgate policy replay`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

impl Receipt {
    /// What the failed attempts cost together.
    #[must_use]
    pub fn lost(&self) -> Usd {
        self.attempts.iter().map(|attempt| attempt.cost).sum()
    }

    /// The canonical bytes: what is stored, hashed and exported.
    ///
    /// # Errors
    /// [`LedgerError::Receipt`] if JSON cannot hold it.
    pub fn canonical(&self) -> Result<String, LedgerError> {
        // Most fit, and none has to move to a larger place while it is written.
        let mut text = Vec::with_capacity(2048);
        serde_json::to_writer(&mut text, self)?;
        Ok(String::from_utf8(text).map_err(<serde_json::Error as serde::ser::Error>::custom)?)
    }

    /// The receipt of a hold that a crash left behind: charged in full, usage unknown.
    #[must_use]
    pub fn orphan(hold: HoldRow) -> Receipt {
        Receipt {
            request_id: hold.request_id,
            at_ms: hold.at_ms,
            key: hold.key,
            team: hold.team,
            run: hold.run,
            tags: hold.tags,
            policy_name: hold.policy_name,
            policy_sha: hold.policy_sha,
            route: hold.route,
            reason: "the gateway stopped before this request ended".to_owned(),
            propensity: 1.0,
            selected: hold.selected.clone(),
            model: hold.selected,
            engine: hold.engine,
            status: ReceiptStatus::Orphaned,
            stream: hold.stream,
            usage_estimated: true,
            estimate: hold.estimate,
            held: hold.amount,
            cost: hold.amount,
            baseline_cost: hold.amount,
            accounts: hold.accounts,
            ..Receipt::default()
        }
    }
}
