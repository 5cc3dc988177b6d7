//! What the gateway reads of an answer: the model named, the usage, and how much text there is.
//!
//! Borrowed from the answer's bytes; [`Answer::relabel`] splices the model's name and changes nothing else.
//! A usage that is missing or makes no sense is `None`, and then counted from the text.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_policies::Usage;

use super::json_string;
use crate::wire::splice::{Edits, range_in};

/// A whole answer, or one chunk of a streamed one.
#[derive(Debug, Deserialize)]
pub struct Answer<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// Token counts as engines write them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Usages {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Cached>,
    completion_tokens_details: Option<Reasoned>,
    engine_us: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cached {
    cached_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reasoned {
    reasoning_tokens: Option<u64>,
}

/// The usage object of an answer; `None` unless it has both counts.
///
/// Parts larger than their whole are cut to it, so a confused engine cannot make a cost negative.
/// `engine_us` is zero where the engine does not say.
#[must_use]
pub fn usage_of(raw: &str) -> Option<Usage> {
    let usages: Usages = serde_json::from_str(raw).ok()?;
    let (prompt, completion) = (usages.prompt_tokens?, usages.completion_tokens?);
    let cached = usages.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
    let reasoned = usages.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0);
    Some(Usage {
        prompt_tokens: prompt,
        cached_tokens: cached.min(prompt),
        completion_tokens: completion,
        reasoning_tokens: reasoned.min(completion),
        engine_us: usages.engine_us.unwrap_or(0),
    })
}

impl<'a> Answer<'a> {
    /// Reads an answer or a chunk; `None` if it is not a JSON object of that shape.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Answer<'a>> {
        serde_json::from_str(text).ok()
    }

    /// Whether this has the one thing every chat answer has.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.choices.is_some() && self.error.is_none()
    }

    /// The usage, where the engine reported one.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage.and_then(|raw| usage_of(raw.get()))
    }

    /// The usage object's text, where there is one.
    #[must_use]
    pub fn usage_text(&self) -> Option<&'a str> {
        self.usage.map(RawValue::get)
    }

    /// Whether the chunk has no choices, as the usage chunk of a stream.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.choices.as_ref().is_none_or(Vec::is_empty)
    }

    /// Whether a choice ends here.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.choices.iter().flatten().any(|choice| choice.finish_reason.is_some())
    }

    /// Bytes of the messages' JSON: an upper bound on the text, for counting where no usage came.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        self.choices.iter().flatten().filter_map(|choice| choice.message).map(|raw| raw.get().len()).sum()
    }

    /// The answer with the model named as the catalogue names it; the same bytes if it already is.
    #[must_use]
    pub fn relabel(&self, text: &'a str, body: &Bytes, model: &str) -> Bytes {
        let mut edits = Edits::default();
        let name = json_string(model);
        if let Some(raw) = self.model.filter(|raw| raw.get() != name) {
            edits.replace(range_in(text, raw.get()), name);
        }
        edits.apply(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_usage_in_full() {
        let usage = usage_of(
            r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":40,"x":1},
            "completion_tokens_details":{"reasoning_tokens":2},"engine_us":77}"#,
        )
        .unwrap();
        assert_eq!((usage.prompt_tokens, usage.cached_tokens), (10, 10));
        assert_eq!((usage.completion_tokens, usage.reasoning_tokens, usage.engine_us), (5, 2, 77));
        assert!(usage_of(r#"{"prompt_tokens":10}"#).is_none());
        assert!(usage_of(r#"{"prompt_tokens":-3,"completion_tokens":1}"#).is_none());
    }

    #[test]
    fn only_the_name_changes() {
        let text = r#"{"id":"x","model" : "inner/7b","choices":[{"message":{"content":"\"model\":\"no\""}}],"y":1.0}"#;
        let answer = Answer::read(text).unwrap();
        let body = Bytes::copy_from_slice(text.as_bytes());
        assert_eq!(answer.relabel(text, &body, "small"), text.replace("\"inner/7b\"", "\"small\""));
        assert_eq!(answer.relabel(text, &body, "inner/7b").as_ptr(), body.as_ptr());
    }

    #[test]
    fn an_error_is_no_answer() {
        assert!(!Answer::read(r#"{"error":{"message":"no"}}"#).unwrap().is_answer());
        assert!(Answer::read("<html>").is_none());
    }
}
