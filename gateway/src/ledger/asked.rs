//! What a request asked for, as far as decisions look at it: enough to decide it again under another policy. Never its text.

use serde::{Deserialize, Serialize};
use tollgate_policies::{ServiceTier, Usd};

/// What a decision was made from, beside what the receipt says anyway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// `model` as written: `auto`, `auto:NAME` or a catalogue name.
    pub model: String,
    /// Prompt tokens, as expected.
    pub prompt_tokens: u64,
    /// Prompt tokens, at most, of what is text; in receipts without `parts`, of all of it.
    pub prompt_tokens_upper: u64,
    /// Pictures, recordings and files in the prompt.
    #[serde(default, skip_serializing_if = "is_none")]
    pub parts: u64,
    /// Most tokens wanted for each choice.
    pub max_tokens: u64,
    /// Answers wanted.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub choices: u64,
    /// Messages by the user.
    pub turns: u64,
    /// Whether tools are offered.
    #[serde(default, skip_serializing_if = "is_not")]
    pub tools: bool,
    /// Whether the prompt has images.
    #[serde(default, skip_serializing_if = "is_not")]
    pub images: bool,
    /// Whether the answer must be JSON.
    #[serde(default, skip_serializing_if = "is_not")]
    pub json: bool,
    /// Whether the task looks like the classifier's training prompts.
    pub familiar: bool,
    /// Tokens of the answer, as predicted: half of such answers have no more, nine in ten have no more.
    pub output_tokens: (u32, u32),
    /// Time left for the whole answer, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// Most the request may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<Usd>,
    /// Share of the baseline's quality wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    /// Models the key may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// The class of service named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(count: &u64) -> bool {
    *count == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_not(flag: &bool) -> bool {
    !flag
}
