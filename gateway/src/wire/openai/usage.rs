//! Token counts, as the engines of several makers report them, made one [`Usage`].
//!
//! A usage that is missing or makes no sense is `None`, and is then counted from the text.

use serde::Deserialize;
use tollgate_policies::{ServiceTier, Usage};

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
    cache_creation: Option<WrittenFor>,
    prompt_cache_hit_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    total_tokens: Option<u64>,
    engine_us: Option<u64>,
    service_tier: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PromptParts {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    cache_creation_tokens: Option<u64>,
    cache_creation_token_details: Option<WrittenFor>,
}

/// How long what was written to a cache stays there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WrittenFor {
    ephemeral_1h_input_tokens: Option<u64>,
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

impl Usages {
    /// Nothing is written beside vectors.
    pub(super) fn write_nothing(&mut self) {
        self.completion_tokens = Some(0);
    }
}

/// The usage object of an answer; `None` unless it has both counts and they can be true: not both are zero, none is absurd.
///
/// OpenAI counts cached tokens among the prompt's, Anthropic beside them: here they are among them. OpenAI counts reasoning among the
/// completion's tokens, xAI and Gemini beside them, which the total tells: here it is among them. Parts larger than their whole are
/// cut to it, so a confused engine cannot make a cost negative. `engine_us` is zero where the engine does not say.
#[must_use]
pub fn usage_of(raw: &str) -> Option<Usage> {
    serde_json::from_str(raw).ok().and_then(read)
}

/// The counts as one usage.
pub(super) fn read(usages: Usages) -> Option<Usage> {
    // Some servers write both dialects' fields side by side, one of them empty.
    let parts = usages.prompt_tokens_details.or(usages.input_tokens_details).unwrap_or_default();
    // OpenAI-compatible gateways before Anthropic models write both ways; what counts then is the prompt as a whole.
    let read = parts
        .cached_tokens
        .or(usages.cache_read_input_tokens)
        .or(usages.prompt_cache_hit_tokens)
        .or(usages.cached_tokens)
        .unwrap_or(0);
    let written = parts.cache_write_tokens.or(parts.cache_creation_tokens);
    let written = written.or(usages.cache_creation_input_tokens).unwrap_or(0);
    let written_for = parts.cache_creation_token_details.or(usages.cache_creation).unwrap_or_default();
    let beside = usages.cache_read_input_tokens.is_some() || usages.cache_creation_input_tokens.is_some();
    let prompt = match (usages.prompt_tokens, usages.input_tokens) {
        (Some(prompt), _) => prompt,
        (None, Some(input)) if beside => input.saturating_add(read).saturating_add(written),
        (None, input) => input?,
    };
    let completion = usages.completion_tokens.or(usages.output_tokens)?;
    let parts = usages.completion_tokens_details.or(usages.output_tokens_details);
    let reasoned = parts.and_then(|parts| parts.reasoning_tokens).unwrap_or(0);
    // What the total has beyond its parts: a cache's tokens beside the prompt, where there are just so many, else thoughts.
    let more = usages.total_tokens.unwrap_or(0).saturating_sub(prompt).saturating_sub(completion);
    let (prompt, completion, reasoned) = match more {
        0 => (prompt, completion, reasoned),
        more if beside && more == read.saturating_add(written) => {
            (prompt.saturating_add(more), completion, reasoned)
        }
        more => (prompt, completion.saturating_add(more), reasoned.max(more)),
    };
    if prompt.saturating_add(completion) == 0 || prompt.max(completion) > MOST {
        return None;
    }
    let cached = read.min(prompt);
    Some(Usage {
        prompt_tokens: prompt,
        cached_tokens: cached,
        cache_write_tokens: written.min(prompt - cached),
        cache_write_1h_tokens: written_for
            .ephemeral_1h_input_tokens
            .unwrap_or(0)
            .min(written.min(prompt - cached)),
        completion_tokens: completion,
        reasoning_tokens: reasoned.min(completion),
        engine_us: usages.engine_us.filter(|us| *us <= A_DAY_US).unwrap_or(0),
        service_tier: usages.service_tier.as_deref().and_then(ServiceTier::read),
    })
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
        (price.rates.reasoning, price.rates.cache_write_1h) = (Some(rate("20")), Some(rate("6")));
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
                // 21 × 3 + 500 × 0.30 + 300 × 3.75 + 1700 × 6 + 393 × 15
                "Anthropic, most of the cache for an hour",
                r#"{"input_tokens":21,"cache_creation_input_tokens":2000,"cache_read_input_tokens":500,"output_tokens":393,
                    "cache_creation":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":1700},"service_tier":"standard"}"#,
                "0.017433",
            ),
            (
                // 100 × 3 + 20 × 0.30 + 7 × 3.75 + 3 × 6 + 25 × 15
                "Anthropic behind LiteLLM",
                r#"{"prompt_tokens":130,"completion_tokens":25,"total_tokens":155,"prompt_tokens_details":{"text_tokens":100,"cached_tokens":20,
                    "cache_creation_tokens":10,"cache_creation_token_details":{"ephemeral_5m_input_tokens":7,"ephemeral_1h_input_tokens":3}},
                    "cache_creation_input_tokens":10,"cache_read_input_tokens":20}"#,
                "0.00072525",
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
                // (21 − 8) × 3 + 8 × 0.30 + 2 × 15 + 386 × 20: thoughts stand beside the answer
                "xAI, reasoning",
                r#"{"prompt_tokens":21,"completion_tokens":2,"total_tokens":409,"prompt_tokens_details":{"text_tokens":21,"audio_tokens":0,
                    "image_tokens":0,"cached_tokens":8},"completion_tokens_details":{"reasoning_tokens":386,"audio_tokens":0}}"#,
                "0.0077914",
            ),
            (
                // 20 × 3 + 198 × 15 + 405 × 20: and are told by the total alone
                "Gemini, reasoning",
                r#"{"completion_tokens":198,"prompt_tokens":20,"total_tokens":623}"#,
                "0.011130",
            ),
            (
                // 7 × 3 + 12 × 0.30 + 13 × 15
                "Moonshot",
                r#"{"prompt_tokens":19,"completion_tokens":13,"total_tokens":32,"cached_tokens":12}"#,
                "0.0002196",
            ),
            (
                // 21 × 3 + 1000 × 0.30 + 200 × 3.75 + 10 × 15: the total counts the cache, the prompt does not
                "Anthropic behind another gateway",
                r#"{"prompt_tokens":21,"completion_tokens":10,"total_tokens":1231,"cache_creation_input_tokens":200,
                    "cache_read_input_tokens":1000}"#,
                "0.001263",
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
}
