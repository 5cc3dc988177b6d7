//! The JSON of answers: whole completions, stream chunks, the list of models.

use crate::scheduler::{Finish, FinishReason, Usage};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// What all parts of one answer share.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    id: String,
    created: u64,
    model: String,
}

/// What a chunk adds to the answer.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<&'a str>,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageBody>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: CachedTokens,
    engine_us: u64,
    engine_prefill_us: u64,
    engine_decode_us: u64,
}

#[derive(Serialize)]
struct CachedTokens {
    cached_tokens: usize,
}

const FINGERPRINT: &str = concat!("tollgate-", env!("CARGO_PKG_VERSION"));

impl Heading {
    /// A fresh identifier and the present time.
    pub(crate) fn new(model: &str) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        Self { id: format!("chatcmpl-{:032x}", rand::random::<u128>()), created, model: model.to_owned() }
    }

    /// A whole answer.
    pub(crate) fn completion(&self, text: &str, tokens: Option<Vec<Value>>, finish: &Finish) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": tokens.map(logprobs),
                "finish_reason": word(finish.reason),
            }],
            "usage": UsageBody::from(finish.usage),
        })
    }

    /// Appends a chunk as a server-sent event. With `usage_follows` every chunk but the last says `"usage": null`.
    pub(crate) fn push_chunk(
        &self,
        out: &mut Vec<u8>,
        delta: Delta<'_>,
        tokens: Option<Vec<Value>>,
        reason: Option<FinishReason>,
        usage_follows: bool,
    ) {
        let logprobs = tokens.map(logprobs);
        let choice = Choice { index: 0, delta, logprobs, finish_reason: reason.map(word) };
        self.push(out, &[choice], usage_follows.then_some(None));
    }

    /// Appends the chunk that carries the usage alone.
    pub(crate) fn push_usage(&self, out: &mut Vec<u8>, usage: Usage) {
        self.push(out, &[], Some(Some(usage.into())));
    }

    fn push(&self, out: &mut Vec<u8>, choices: &[Choice<'_>], usage: Option<Option<UsageBody>>) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        };
        push_event(out, &chunk);
    }
}

/// Appends any JSON as a server-sent event.
pub(crate) fn push_event(out: &mut Vec<u8>, data: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    // Writing plain structures to memory cannot fail; should it ever, the event is empty rather than half written.
    let begun = out.len();
    if serde_json::to_writer(&mut *out, data).is_err() {
        out.truncate(begun);
    }
    out.extend_from_slice(b"\n\n");
}

fn logprobs(tokens: Vec<Value>) -> Value {
    json!({"content": tokens, "refusal": null})
}

fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: CachedTokens { cached_tokens: usage.cached_tokens },
            engine_us: usage.reading_us + usage.writing_us,
            engine_prefill_us: usage.reading_us,
            engine_decode_us: usage.writing_us,
        }
    }
}
