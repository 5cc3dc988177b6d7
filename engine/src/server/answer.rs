//! The JSON of answers: whole completions and stream chunks.

use crate::scheduler::{FinishReason, Usage};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// What kind of response it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a chat: messages.
    Chat,
    /// Of a bare prompt: text.
    Text,
}

/// What all parts of one response share.
#[derive(Clone, Debug)]
pub(crate) struct Heading {
    kind: Kind,
    id: String,
    created: u64,
    model: String,
}

/// What a chunk adds to an answer.
#[derive(Debug, Default, Serialize)]
pub(super) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_calls: Option<[CallDelta; 1]>,
}

/// What a chunk adds to a call.
#[derive(Debug, Serialize)]
pub(super) struct CallDelta {
    pub(super) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    pub(super) function: Function,
}

#[derive(Debug, Serialize)]
pub(super) struct Function {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) arguments: String,
}

impl Delta {
    /// Adds to a call.
    pub(super) fn call(call: CallDelta) -> Self {
        Self { tool_calls: Some([call]), ..Self::default() }
    }
}

/// Likelihoods of tokens, as OpenAI writes them.
#[derive(Debug)]
pub(super) struct Told(pub(super) Vec<Value>);

impl Told {
    fn json(self) -> Value {
        json!({"content": self.0, "refusal": null})
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) reason: FinishReason,
    /// Whether the answer holds calls.
    pub(super) called: bool,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageBody>>,
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
    pub(super) fn new(kind: Kind, model: &str) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let prefix = match kind {
            Kind::Chat => "chatcmpl",
            Kind::Text => "cmpl",
        };
        let id = format!("{prefix}-{:032x}", rand::random::<u128>());
        Self { kind, id, created, model: model.to_owned() }
    }

    /// Whether answers begin by saying whose they are.
    pub(super) fn names_roles(&self) -> bool {
        self.kind == Kind::Chat
    }

    /// A whole response.
    pub(super) fn completion(&self, choices: &[Value], usage: Usage) -> Value {
        json!({
            "id": self.id,
            "object": match self.kind {
                Kind::Chat => "chat.completion",
                Kind::Text => "text_completion",
            },
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
            "usage": UsageBody::from(usage),
        })
    }

    /// One of a whole response's answers.
    pub(super) fn choice(
        &self,
        index: usize,
        (message, told): (Value, Option<Told>),
        ending: Ending,
    ) -> Value {
        match self.kind {
            Kind::Chat => json!({
                "index": index,
                "message": message,
                "logprobs": told.map(Told::json),
                "finish_reason": ending.word(),
            }),
            Kind::Text => text_choice(index, message["content"].as_str().unwrap_or_default(), Some(ending)),
        }
    }

    /// Appends a chunk as a server-sent event. With `usage_follows` every chunk but the last says `"usage": null`.
    pub(super) fn push_chunk(
        &self,
        out: &mut Vec<u8>,
        index: usize,
        (delta, told): (Delta, Option<Told>),
        ending: Option<Ending>,
        usage_follows: bool,
    ) {
        let choice = match self.kind {
            Kind::Chat => json!({
                "index": index,
                "delta": delta,
                "logprobs": told.map(Told::json),
                "finish_reason": ending.map(Ending::word),
            }),
            Kind::Text => text_choice(index, &delta.content.unwrap_or_default(), ending),
        };
        self.push(out, &[choice], usage_follows.then_some(None));
    }

    /// Appends the chunk that says whose the answer is. Its content is null and not empty, as where a call follows:
    /// clients that take an empty text for the beginning of one are led astray by it.
    pub(super) fn push_role(&self, out: &mut Vec<u8>, index: usize, usage_follows: bool) {
        let delta = json!({"role": "assistant", "content": null});
        let choice = json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null});
        self.push(out, &[choice], usage_follows.then_some(None));
    }

    /// Appends the chunk that carries the usage alone.
    pub(super) fn push_usage(&self, out: &mut Vec<u8>, usage: Usage) {
        self.push(out, &[], Some(Some(usage.into())));
    }

    fn push(&self, out: &mut Vec<u8>, choices: &[Value], usage: Option<Option<UsageBody>>) {
        let chunk = Chunk {
            id: &self.id,
            object: match self.kind {
                Kind::Chat => "chat.completion.chunk",
                Kind::Text => "text_completion",
            },
            created: self.created,
            model: &self.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        };
        push_event(out, &chunk);
    }
}

fn text_choice(index: usize, text: &str, ending: Option<Ending>) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": ending.map(Ending::word)})
}

/// Appends any JSON as a server-sent event.
pub(super) fn push_event(out: &mut Vec<u8>, data: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    // Writing plain structures to memory cannot fail; should it ever, the event is empty rather than half written.
    let begun = out.len();
    if serde_json::to_writer(&mut *out, data).is_err() {
        out.truncate(begun);
    }
    out.extend_from_slice(b"\n\n");
}

impl Ending {
    fn word(self) -> &'static str {
        match self.reason {
            FinishReason::Stop if self.called => "tool_calls",
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        }
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
