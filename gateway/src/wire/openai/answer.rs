//! What the gateway reads of an answer: the model named, the usage, and how much text there is.
//!
//! Borrowed from the answer's bytes; [`Answer::relabel`] splices the model's name and changes nothing else.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_policies::{ServiceTier, Usage};

use super::json_string;
use super::usage::{Usages, read};
use crate::operation::Operation;
use crate::wire::splice::{Edits, range_in};

/// A whole answer, or one chunk of a streamed one.
#[derive(Debug, Deserialize)]
pub struct Answer<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    /// Vectors, of an answer that has no choices.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    /// Where Moonshot's streams have it.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// A choice's likelihoods, as far as confidence needs them.
#[derive(Deserialize)]
struct Logprobs {
    #[serde(default)]
    content: Option<Vec<Logprob>>,
}

#[derive(Deserialize)]
struct Logprob {
    logprob: f64,
}

/// The class of service a field names.
pub(super) fn tier_of(raw: &RawValue) -> Option<ServiceTier> {
    serde_json::from_str(raw.get()).ok().and_then(ServiceTier::read)
}

impl<'a> Answer<'a> {
    /// Reads an answer or a chunk; `None` if it is not a JSON object of that shape.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Answer<'a>> {
        serde_json::from_str(text).ok()
    }

    /// Whether this has the one thing that every answer of this kind has.
    #[must_use]
    pub fn is_answer(&self, operation: Operation) -> bool {
        let has = match operation {
            Operation::Chat => self.choices.is_some(),
            Operation::Embeddings => self.is_vectors(),
        };
        has && self.error.is_none()
    }

    fn is_vectors(&self) -> bool {
        self.choices.is_none() && self.data.is_some_and(|data| data.get().starts_with('['))
    }

    /// The usage, where the engine reported one.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let mut usages: Usages = serde_json::from_str(self.usage_text()?).ok()?;
        if self.is_vectors() {
            // Nothing is written beside them.
            usages.write_nothing();
        }
        let usage = read(usages)?;
        Some(Usage { service_tier: self.service_tier.and_then(tier_of).or(usage.service_tier), ..usage })
    }

    /// The usage object's text, where there is one.
    #[must_use]
    pub fn usage_text(&self) -> Option<&'a str> {
        let own = || self.choices.as_deref().and_then(|choices| choices.first()?.usage);
        self.usage.or_else(own).map(RawValue::get)
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

    /// The logarithms of the tokens' probabilities, where the engine tells them.
    #[must_use]
    pub fn logprobs(&self) -> Vec<f64> {
        let told = self.choices.iter().flatten().filter_map(|choice| choice.logprobs);
        let read = told.filter_map(|raw| serde_json::from_str::<Logprobs>(raw.get()).ok());
        read.filter_map(|told| told.content).flatten().map(|token| token.logprob).collect()
    }

    /// The answer with the model named as the catalogue names it, and without likelihoods that nobody asked for; the same bytes if
    /// nothing has to change.
    #[must_use]
    pub fn relabel(&self, text: &'a str, body: &Bytes, model: &str, logprobs: bool) -> Bytes {
        let mut edits = Edits::default();
        let name = json_string(model);
        if let Some(raw) = self.model.filter(|raw| raw.get() != name) {
            edits.replace(range_in(text, raw.get()), name);
        }
        let told = self.choices.iter().flatten().filter_map(|choice| choice.logprobs);
        for raw in told.filter(|raw| !logprobs && raw.get() != "null") {
            edits.replace(range_in(text, raw.get()), "null");
        }
        edits.apply(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_changes() {
        let text = r#"{"id":"x","model" : "inner/7b","choices":[{"message":{"content":"\"model\":\"no\""},"logprobs":{"content":[]}}],"y":1.0}"#;
        let answer = Answer::read(text).unwrap();
        let body = Bytes::copy_from_slice(text.as_bytes());
        assert_eq!(answer.relabel(text, &body, "small", true), text.replace("\"inner/7b\"", "\"small\""));
        assert_eq!(answer.relabel(text, &body, "inner/7b", true).as_ptr(), body.as_ptr());
        let without = text.replace("{\"content\":[]}", "null");
        assert_eq!(answer.relabel(text, &body, "inner/7b", false), without);
    }

    #[test]
    fn an_error_is_no_answer() {
        let is = |text, operation| Answer::read(text).unwrap().is_answer(operation);
        assert!(!is(r#"{"error":{"message":"no"}}"#, Operation::Chat));
        let vectors =
            r#"{"data":[{"embedding":[1]}],"model":"up","usage":{"prompt_tokens":5,"total_tokens":5}}"#;
        assert!(is(vectors, Operation::Embeddings) && !is(vectors, Operation::Chat));
        assert!(
            !is(r#"{"data":"no"}"#, Operation::Embeddings) && !is(r#"{"choices":[]}"#, Operation::Embeddings)
        );
        let usage = Answer::read(vectors).unwrap().usage().unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (5, 0));
        assert!(Answer::read("<html>").is_none());
    }
}
