//! What the gateway reads of an answer: the model named, the usage, and how much text there is.
//!
//! Borrowed from the answer's bytes; [`Answer::relabel`] splices the model's name and changes nothing else.
//! A usage that is missing or makes no sense is `None`, and then counted from the text.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_policies::{ServiceTier, Usage};

use super::json_string;
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

/// Token counts as engines write them: OpenAI's, vLLM's and llama-server's chat answers; OpenAI's responses; Anthropic's messages.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Usages {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptParts>,
    completion_tokens_details: Option<CompletionParts>,
    input_tokens_details: Option<PromptParts>,
    output_tokens_details: Option<CompletionParts>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    prompt_cache_hit_tokens: Option<u64>,
    engine_us: Option<u64>,
    service_tier: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PromptParts {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    cache_creation_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CompletionParts {
    reasoning_tokens: Option<u64>,
}

/// No prompt and no answer has more tokens: a count above is an engine's mistake, and its cost would not fit any sum.
const MOST: u64 = 1 << 32;
/// No engine works longer on one answer, microseconds.
const A_DAY_US: u64 = 86_400_000_000;

/// The usage object of an answer; `None` unless it has both counts and they can be true: not both are zero, none is absurd.
///
/// OpenAI counts cached tokens among the prompt's, Anthropic beside them: here they are among them. Parts larger than their whole are
/// cut to it, so a confused engine cannot make a cost negative. `engine_us` is zero where the engine does not say.
#[must_use]
pub fn usage_of(raw: &str) -> Option<Usage> {
    serde_json::from_str(raw).ok().and_then(read)
}

fn read(usages: Usages) -> Option<Usage> {
    // Some servers write both dialects' fields side by side, one of them empty.
    let parts = usages.prompt_tokens_details.or(usages.input_tokens_details).unwrap_or_default();
    // OpenAI-compatible gateways before Anthropic models write both ways; what counts then is the prompt as a whole.
    let read = parts
        .cached_tokens
        .or(usages.cache_read_input_tokens)
        .or(usages.prompt_cache_hit_tokens)
        .unwrap_or(0);
    let written = parts.cache_write_tokens.or(parts.cache_creation_tokens);
    let written = written.or(usages.cache_creation_input_tokens).unwrap_or(0);
    let beside = usages.cache_read_input_tokens.is_some() || usages.cache_creation_input_tokens.is_some();
    let prompt = match (usages.prompt_tokens, usages.input_tokens) {
        (Some(prompt), _) => prompt,
        (None, Some(input)) if beside => input.saturating_add(read).saturating_add(written),
        (None, input) => input?,
    };
    let completion = usages.completion_tokens.or(usages.output_tokens)?;
    if prompt.saturating_add(completion) == 0 || prompt.max(completion) > MOST {
        return None;
    }
    let parts = usages.completion_tokens_details.or(usages.output_tokens_details);
    let reasoned = parts.and_then(|parts| parts.reasoning_tokens).unwrap_or(0);
    let cached = read.min(prompt);
    Some(Usage {
        prompt_tokens: prompt,
        cached_tokens: cached,
        cache_write_tokens: written.min(prompt - cached),
        completion_tokens: completion,
        reasoning_tokens: reasoned.min(completion),
        engine_us: usages.engine_us.filter(|us| *us <= A_DAY_US).unwrap_or(0),
        service_tier: usages.service_tier.as_deref().and_then(ServiceTier::read),
    })
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
        let mut usages: Usages = serde_json::from_str(self.usage?.get()).ok()?;
        if self.is_vectors() {
            // Nothing is written beside them.
            usages.completion_tokens = Some(0);
        }
        let usage = read(usages)?;
        Some(Usage { service_tier: self.service_tier.and_then(tier_of).or(usage.service_tier), ..usage })
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
    use tollgate_policies::{Price, TokenPrice};

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
    fn usage_that_cannot_be_true_is_none() {
        for raw in [
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
            r#"{"prompt_tokens":9223372036854775807,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1,"completion_tokens":18446744073709551615}"#,
            r#"{"prompt_tokens":null,"completion_tokens":4}"#,
        ] {
            assert!(usage_of(raw).is_none(), "{raw}");
        }
        let usage = usage_of(r#"{"prompt_tokens":1,"completion_tokens":0,"engine_us":18446744073709551615}"#);
        assert_eq!(usage.unwrap().engine_us, 0, "the gateway's own watch counts instead");
    }

    #[test]
    fn both_dialects_side_by_side_are_one_usage() {
        let usage = usage_of(
            r#"{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":60,"cache_creation_tokens":0,
            "cache_write_tokens":5},"completion_tokens_details":{"reasoning_tokens":7},"input_tokens":0,"output_tokens":0,
            "input_tokens_details":null,"output_tokens_details":{"reasoning_tokens":0}}"#,
        );
        let usage = usage.unwrap();
        assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens), (100, 60, 5));
        assert_eq!((usage.completion_tokens, usage.reasoning_tokens), (20, 7));
    }

    /// Usages as they came from each, with the cost worked out by hand at 3 in, 15 out, 0.30 cached, 3.75 written and 20 for
    /// reasoning, all USD per million tokens.
    #[test]
    fn recorded_usages_cost_what_they_should() {
        let rate = |text: &str| text.parse().unwrap();
        let mut price = TokenPrice::new(rate("3"), rate("15"));
        (price.rates.cached_input, price.rates.cache_write) = (Some(rate("0.30")), Some(rate("3.75")));
        price.rates.reasoning = Some(rate("20"));
        let price = Price::Tokens(price);
        for (what, usage, cost) in [
            (
                // (2006 − 1920) × 3 + 1920 × 0.30 + (300 − 128) × 15 + 128 × 20
                "OpenAI, cached and reasoning",
                r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,
                    "prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":128,
                    "audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
                "0.005974",
            ),
            (
                // 36 × 3 + 87 × 15
                "OpenAI responses",
                r#"{"input_tokens":36,"input_tokens_details":{"cached_tokens":0},"output_tokens":87,
                    "output_tokens_details":{"reasoning_tokens":0},"total_tokens":123}"#,
                "0.001413",
            ),
            (
                // 21 × 3 + 188086 × 0.30 + 2048 × 3.75 + 393 × 15: cached tokens stand beside the input
                "Anthropic, cache read and written",
                r#"{"input_tokens":21,"cache_creation_input_tokens":2048,"cache_read_input_tokens":188086,"output_tokens":393,
                    "service_tier":"standard"}"#,
                "0.0700638",
            ),
            (
                // 50 × 3 + 1000 × 0.30 + 200 × 3.75 + 10 × 15: the same tokens, once among the prompt and once beside it
                "Anthropic behind an OpenAI-compatible gateway",
                r#"{"prompt_tokens":1250,"completion_tokens":10,"total_tokens":1260,"prompt_tokens_details":{"cached_tokens":1000,
                    "cache_creation_tokens":200},"cache_creation_input_tokens":200,"cache_read_input_tokens":1000}"#,
                "0.001350",
            ),
            (
                // 40 × 3 + 60 × 0.30 + 5 × 15
                "DeepSeek",
                r#"{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_cache_hit_tokens":60,"prompt_cache_miss_tokens":40}"#,
                "0.000213",
            ),
            (
                // 12 × 3 + 7 × 15
                "vLLM",
                r#"{"prompt_tokens":12,"total_tokens":19,"completion_tokens":7,"prompt_tokens_details":null}"#,
                "0.000141",
            ),
            (
                // (30 − 25) × 3 + 25 × 0.30 + 4 × 15
                "llama-server",
                r#"{"completion_tokens":4,"prompt_tokens":30,"total_tokens":34,"prompt_tokens_details":{"cached_tokens":25}}"#,
                "0.0000825",
            ),
        ] {
            assert_eq!(price.cost(&usage_of(usage).unwrap()).to_string(), cost, "{what}");
        }
    }

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
