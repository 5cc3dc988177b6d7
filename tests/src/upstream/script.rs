//! What a scripted upstream can be told to do with one request.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

/// One request's fate.
#[derive(Clone, Debug)]
pub enum Script {
    /// A chat completion, streamed when the request asks for a stream.
    Chat(Box<Chat>),
    /// A status with a body, before any other byte.
    Status {
        /// The HTTP status.
        code: u16,
        /// Sent as `application/json`.
        body: String,
        /// Further headers.
        headers: Vec<(&'static str, &'static str)>,
    },
    /// Status 200 with these bytes, whatever was asked.
    Raw {
        /// The content type.
        content_type: &'static str,
        /// The body.
        body: String,
    },
    /// Reads the request and never answers.
    Hang,
    /// Closes the connection instead of answering.
    Hangup,
}

impl Script {
    /// An error status with a body in OpenAI's form.
    pub fn status(code: u16) -> Self {
        let body =
            json!({"error": {"message": "scripted", "type": "scripted_error", "code": null}}).to_string();
        Self::Status { code, body, headers: Vec::new() }
    }
}

impl From<Chat> for Script {
    fn from(chat: Chat) -> Self {
        Self::Chat(Box::new(chat))
    }
}

/// Token counts that an answer reports.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// All prompt tokens.
    pub prompt: u64,
    /// Those of the prompt read from cache.
    pub cached: u64,
    /// All completion tokens.
    pub completion: u64,
    /// Those of the completion spent on reasoning.
    pub reasoning: u64,
}

impl Tokens {
    /// Counts without cached or reasoning tokens.
    pub const fn new(prompt: u64, completion: u64) -> Self {
        Self { prompt, cached: 0, completion, reasoning: 0 }
    }

    pub(crate) fn json(self) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt, "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        });
        if self.cached > 0 {
            usage["prompt_tokens_details"] = json!({"cached_tokens": self.cached});
        }
        if self.reasoning > 0 {
            usage["completion_tokens_details"] = json!({"reasoning_tokens": self.reasoning});
        }
        usage
    }
}

/// Holds answers back until a test opens it, for good.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn passed(&self) {
        // Nobody ever adds permits: this ends when the gate is opened.
        let _ = self.0.acquire().await;
    }
}

/// A well-formed answer with the faults a test asks for.
#[derive(Clone, Debug)]
pub struct Chat {
    /// The text, in the pieces that a stream sends.
    pub pieces: Vec<String>,
    /// What it reports; `None` for a server that never reports usage.
    pub usage: Option<Tokens>,
    /// The answer's `model`.
    pub model: String,
    /// The answer's `finish_reason`.
    pub finish: &'static str,
    /// Further top-level fields of the answer, or of each chunk.
    pub extra: Map<String, Value>,
    /// Time before the first byte.
    pub delay: Duration,
    /// A gate, and how many pieces pass before it; 0 holds back the headers too.
    pub gate: Option<(usize, Gate)>,
    /// Breaks the connection after so many pieces.
    pub cut_after: Option<usize>,
    /// Sends a frame that is no JSON after so many pieces.
    pub garbage_after: Option<usize>,
    /// The logarithm of each piece's probability, told where it is asked for.
    pub logprob: Option<f64>,
}

impl Chat {
    /// Answers `text`, a piece a word, with the given usage.
    pub fn new(text: &str, prompt: u64, completion: u64) -> Self {
        Self {
            pieces: text.split_inclusive(' ').map(str::to_owned).collect(),
            usage: Some(Tokens::new(prompt, completion)),
            model: "scripted-upstream".to_owned(),
            finish: "stop",
            extra: Map::new(),
            delay: Duration::ZERO,
            gate: None,
            cut_after: None,
            garbage_after: None,
            logprob: None,
        }
    }

    /// Holds the stream back after `pieces` pieces until `gate` opens.
    pub fn gated(mut self, pieces: usize, gate: &Gate) -> Self {
        self.gate = Some((pieces, gate.clone()));
        self
    }

    /// Reports these tokens.
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.usage = Some(tokens);
        self
    }

    /// Never reports usage.
    pub fn without_usage(mut self) -> Self {
        self.usage = None;
        self
    }

    /// Breaks the connection after `pieces` pieces.
    pub fn cut_after(mut self, pieces: usize) -> Self {
        self.cut_after = Some(pieces);
        self
    }

    /// Sends a broken frame after `pieces` pieces.
    pub fn garbage_after(mut self, pieces: usize) -> Self {
        self.garbage_after = Some(pieces);
        self
    }

    /// Tells this logarithm of each piece's probability where it is asked for.
    pub fn likely(mut self, logprob: f64) -> Self {
        self.logprob = Some(logprob);
        self
    }

    /// Waits before the first byte.
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds an unknown field.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.extra.insert(field.to_owned(), value);
        self
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.pieces.concat()
    }
}
