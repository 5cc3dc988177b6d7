//! How likely the tokens of an answer were: OpenAI's `logprobs`.
//!
//! Likelihoods are of the model's own distribution, before temperature, penalties and cut-offs bend it.

use crate::llama::{Model, Token};
use serde_json::{Value, json};

/// Alternatives at most, as OpenAI has it.
pub(crate) const MOST_ALTERNATIVES: usize = 20;

/// A token of the answer, with how likely it and its alternatives were.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Likelihood {
    picked: Entry,
    alternatives: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    bytes: Vec<u8>,
    logprob: f32,
}

impl Likelihood {
    /// Of a token picked from `logits`, with so many of the likeliest tokens beside it.
    pub(crate) fn of(model: &Model, logits: &[f32], picked: Token, alternatives: usize) -> Likelihood {
        let norm = log_sum_exp(logits);
        let entry = |token: usize| {
            let mut bytes = Vec::new();
            if let Ok(token) = i32::try_from(token) {
                model.piece(Token(token), &mut bytes);
            }
            Entry { bytes, logprob: logits.get(token).map_or(f32::NEG_INFINITY, |logit| logit - norm) }
        };
        Likelihood {
            picked: entry(usize::try_from(picked.0).unwrap_or(usize::MAX)),
            alternatives: likeliest(logits, alternatives).into_iter().map(entry).collect(),
        }
    }

    /// As OpenAI writes it.
    pub(crate) fn json(&self) -> Value {
        let mut value = self.picked.json();
        value["top_logprobs"] = self.alternatives.iter().map(Entry::json).collect();
        value
    }
}

impl Entry {
    fn json(&self) -> Value {
        // JSON knows no infinity; OpenAI writes what is impossible so.
        let logprob = if self.logprob.is_finite() { f64::from(self.logprob) } else { -9999.0 };
        json!({"token": String::from_utf8_lossy(&self.bytes), "logprob": logprob, "bytes": self.bytes})
    }
}

/// The logarithm of what the exponentials of all logits sum up to; those that are not numbers count for nothing.
fn log_sum_exp(logits: &[f32]) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 =
        logits.iter().map(|logit| f64::from(logit - most).exp()).filter(|part| part.is_finite()).sum();
    most + sum.ln() as f32
}

/// The numbers of the largest logits, largest first.
fn likeliest(logits: &[f32], count: usize) -> Vec<usize> {
    let count = count.min(logits.len());
    if count == 0 {
        return Vec::new();
    }
    let mut tokens: Vec<usize> = (0..logits.len()).collect();
    let descending = |one: &usize, other: &usize| logits[*other].total_cmp(&logits[*one]);
    tokens.select_nth_unstable_by(count - 1, descending);
    tokens.truncate(count);
    tokens.sort_unstable_by(descending);
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_sum_up_to_one() {
        let logits = [1.0, 3.0, -2.0, 0.5];
        let norm = log_sum_exp(&logits);
        let sum: f32 = logits.iter().map(|logit| (logit - norm).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f32.ln())).abs() < 1e-3, "no overflow");
        assert!(log_sum_exp(&[f32::NAN, 0.0]).abs() < 1e-6);
    }

    #[test]
    fn the_likeliest_come_first() {
        assert_eq!(likeliest(&[1.0, 3.0, -2.0, 0.5], 2), [1, 0]);
        assert_eq!(likeliest(&[1.0], 5), [0]);
        assert!(likeliest(&[1.0], 0).is_empty());
    }

    #[test]
    fn the_impossible_is_written_as_a_number() {
        let entry = Entry { bytes: vec![0xf0, 0x9f], logprob: f32::NEG_INFINITY };
        assert_eq!(entry.json(), json!({"token": "\u{fffd}", "logprob": -9999.0, "bytes": [240, 159]}));
    }
}
