//! A request body's fields, as far as the gateway must understand them, borrowed from its text.
//!
//! Fields whose place in the text must be known even where they are `null` are read by [`present`].

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::Content;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) messages: Option<Vec<Message<'a>>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) max_completion_tokens: Option<&'a RawValue>,
    /// llama-server's own, which it heeds before the others.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) n_predict: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) n: Option<&'a RawValue>,
    /// llama-server's own, which it heeds before `n`.
    #[serde(borrow)]
    pub(super) n_cmpl: Option<&'a RawValue>,
    pub(super) stream: Option<bool>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) reasoning_effort: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) stream_options: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) functions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response_format: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) service_tier: Option<&'a RawValue>,
    /// What templates may put into the prompt beside the messages.
    #[serde(borrow)]
    pub(super) documents: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) chat_template: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) chat_template_kwargs: Option<&'a RawValue>,
    /// What a request for vectors is about.
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    // By these aggregators choose: OpenRouter's first, then LiteLLM's and Vercel's. OpenAI's API has none of them.
    #[serde(borrow)]
    models: Option<&'a RawValue>,
    #[serde(borrow)]
    provider: Option<&'a RawValue>,
    #[serde(borrow)]
    route: Option<&'a RawValue>,
    #[serde(borrow)]
    preset: Option<&'a RawValue>,
    #[serde(borrow)]
    plugins: Option<&'a RawValue>,
    #[serde(borrow)]
    fallbacks: Option<&'a RawValue>,
    #[serde(borrow)]
    context_window_fallbacks: Option<&'a RawValue>,
    #[serde(borrow)]
    content_policy_fallbacks: Option<&'a RawValue>,
    #[serde(borrow)]
    custom_llm_provider: Option<&'a RawValue>,
    #[serde(borrow)]
    user_config: Option<&'a RawValue>,
    #[serde(borrow)]
    extra_body: Option<&'a RawValue>,
    #[serde(borrow)]
    api_base: Option<&'a RawValue>,
    #[serde(borrow)]
    base_url: Option<&'a RawValue>,
    #[serde(borrow, rename = "providerOptions")]
    provider_options: Option<&'a RawValue>,
}

impl Fields<'_> {
    /// A field by which an engine may choose another model, provider or price, if there is one.
    pub(super) fn routing(&self) -> Option<&'static str> {
        let named = [
            ("models", self.models),
            ("provider", self.provider),
            ("route", self.route),
            ("preset", self.preset),
            ("plugins", self.plugins),
            ("fallbacks", self.fallbacks),
            ("context_window_fallbacks", self.context_window_fallbacks),
            ("content_policy_fallbacks", self.content_policy_fallbacks),
            ("custom_llm_provider", self.custom_llm_provider),
            ("user_config", self.user_config),
            ("extra_body", self.extra_body),
            ("api_base", self.api_base),
            ("base_url", self.base_url),
            ("providerOptions", self.provider_options),
        ];
        named.into_iter().find_map(|(name, raw)| raw.map(|_| name))
    }
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "a message, an object with `role` and `content`")]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) role: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) content: Content<'a>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) name: Option<&'a RawValue>,
    /// Thoughts of earlier turns, by either of their names, and what else templates put into prompts.
    #[serde(borrow)]
    pub(super) reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) refusal: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub(super) struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) include_usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
}

/// A field that is there, even as `null`: its place must be known so that an edit replaces it.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(from).map(Some)
}
