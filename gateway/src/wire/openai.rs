//! The OpenAI chat dialect, as far as the gateway must understand it.
//!
//! [`Chat::parse`] borrows what routing and pricing need and remembers where in the body it lies;
//! [`Chat::rewrite`] splices the few fields that must change. Everything else reaches the upstream byte for
//! byte. Sampling parameters are not checked here: the engine that answers knows best.

mod answer;
mod content;
mod embeddings;
mod fields;
mod render;
mod rewrite;
mod usage;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_policies::ServiceTier;
use tollgate_router::{Role, Turn};

use super::error::Fault;
use crate::operation::Operation;
use fields::{Fields, Message, ResponseFormat, StreamOptions};

pub use answer::Answer;
pub use render::{render, sse_error};
pub use rewrite::Wanted;
pub use usage::{Usages, usage_of};

/// Most choices one request may ask for.
const CHOICES: u64 = 128;

/// A chat request: what the gateway reads of it.
#[derive(Debug)]
pub struct Chat<'a> {
    /// What is wanted: an answer, or vectors of the turns' texts.
    pub operation: Operation,
    /// `model` as written.
    pub model: Cow<'a, str>,
    /// The conversation's text.
    pub turns: Vec<Turn<'a>>,
    /// Tokens that are given by their numbers.
    pub tokens: u64,
    /// Most tokens wanted for each choice, if said.
    pub max_tokens: Option<u64>,
    /// `n`: answers wanted, each of which costs.
    pub choices: u64,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the client asked for the usage chunk of a stream.
    pub wants_usage: bool,
    /// Whether the client asked how likely tokens were.
    pub wants_logprobs: bool,
    /// Whether tools (or functions) are offered.
    pub tools: bool,
    /// Parts that are not text: images, audio, files.
    pub images: u64,
    /// Whether the answer must be JSON.
    pub json: bool,
    /// The class of service wanted, if one is named.
    pub service_tier: Option<ServiceTier>,
    /// A field by which an engine may choose another model, provider or price than the one that is held for, if there is one.
    pub routing: Option<&'static str>,
    /// Bytes of everything that becomes prompt text: contents, names, thoughts, tool calls, tools, response format, and what else templates get.
    pub prompt_bytes: usize,
    /// Messages by the user, which is how many turns the conversation has had.
    pub user_turns: u64,
    text: &'a str,
    fields: Fields<'a>,
}

impl<'a> Chat<'a> {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`Fault::Invalid`] naming the field, or the place in the text.
    pub fn parse(body: &'a [u8]) -> Result<Chat<'a>, Fault> {
        let text = utf8(body)?;
        let mut fields: Fields<'a> = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
        let model = required(fields.model, "model", "the name of a model, or \"auto\"")?;
        let model: Cow<'a, str> = typed("model", model, "a string")?;
        let messages =
            fields.messages.take().ok_or_else(|| missing("messages", "the conversation, an array"))?;
        if messages.is_empty() {
            return Err(Fault::invalid(
                "messages",
                "empty_array",
                "`messages` is empty: send at least one message",
            ));
        }
        let limits = [
            whole("max_completion_tokens", fields.max_completion_tokens, u64::MAX)?,
            whole("max_tokens", fields.max_tokens, u64::MAX)?,
            // −1 stands for no limit there.
            fields.n_predict.and_then(|raw| raw.get().parse::<u64>().ok()).filter(|tokens| *tokens > 0),
        ];
        let choices = [whole("n", fields.n, CHOICES)?, whole("n_cmpl", fields.n_cmpl, CHOICES)?];
        let mut chat = Chat {
            operation: Operation::Chat,
            model,
            turns: Vec::with_capacity(messages.len()),
            tokens: 0,
            max_tokens: limits.into_iter().flatten().min(),
            choices: choices.into_iter().flatten().max().unwrap_or(1),
            stream: fields.stream.unwrap_or(false),
            wants_usage: include_usage(fields.stream_options)?,
            wants_logprobs: fields.logprobs.is_some_and(|raw| raw.get() == "true"),
            tools: [fields.tools, fields.functions].into_iter().flatten().any(|raw| raw.get() != "[]"),
            images: 0,
            json: wants_json(fields.response_format)?,
            service_tier: fields.service_tier.and_then(answer::tier_of),
            routing: fields.routing(),
            prompt_bytes: 0,
            user_turns: 0,
            text,
            fields,
        };
        for message in messages {
            chat.take(message);
        }
        let extras = [
            chat.fields.tools,
            chat.fields.functions,
            chat.fields.response_format,
            chat.fields.documents,
            chat.fields.chat_template,
            chat.fields.chat_template_kwargs,
        ];
        chat.prompt_bytes += extras.into_iter().flatten().map(|raw| raw.get().len()).sum::<usize>();
        Ok(chat)
    }

    fn take(&mut self, message: Message<'a>) {
        let role = role_of(&message.role);
        self.user_turns += u64::from(role == Role::User);
        self.images += message.content.others;
        let others = [
            message.tool_calls,
            message.function_call,
            message.tool_call_id,
            message.name,
            message.reasoning_content,
            message.reasoning,
            message.refusal,
        ];
        self.prompt_bytes += message.content.text.len()
            + message.role.len()
            + others.into_iter().flatten().map(|raw| raw.get().len()).sum::<usize>();
        self.turns.push(Turn { role, text: message.content.text });
    }
}

/// The conversation of a `messages` array alone, for scoring without a request around it.
///
/// # Errors
/// [`Fault::Invalid`] naming the field.
pub fn turns(messages: &RawValue) -> Result<Vec<Turn<'_>>, Fault> {
    let messages: Vec<Message<'_>> = typed("messages", messages, "an array of messages")?;
    if messages.is_empty() {
        return Err(Fault::invalid(
            "messages",
            "empty_array",
            "`messages` is empty: send at least one message",
        ));
    }
    Ok(messages
        .into_iter()
        .map(|message| Turn { role: role_of(&message.role), text: message.content.text })
        .collect())
}

fn role_of(role: &str) -> Role {
    match role {
        "system" | "developer" => Role::System,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        // Roles nobody here knows are the engine's to judge; for routing they are the user's words.
        _ => Role::User,
    }
}

/// Offset just after the `{` that opens the body.
fn after_brace(text: &str) -> usize {
    text.find('{').map_or(0, |brace| brace + 1)
}

/// `text` as a JSON string.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn utf8(body: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        bad_body("invalid_utf8", format!("the body is not valid UTF-8: the byte at offset {at} is wrong"))
    })
}

fn bad_body(code: &'static str, message: String) -> Fault {
    Fault::Invalid(super::error::Invalid { param: None, code, message })
}

/// Reads the text again, slowly, to say which field was wrong.
fn explain(text: &str, error: &serde_json::Error) -> Fault {
    if text.trim().is_empty() {
        return bad_body("empty_body", "the body is empty: send a JSON object".to_owned());
    }
    if text.starts_with('\u{feff}') {
        let message = "the body begins with a byte order mark: send UTF-8 without one".to_owned();
        return bad_body("invalid_json", message);
    }
    if !matches!(error.classify(), serde_json::error::Category::Data) {
        return bad_body("invalid_json", format!("the body is not valid JSON: {error}"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Fields<'_>>(&mut reader) {
        Err(found) if found.path().iter().next().is_some() => {
            let param = found.path().to_string();
            let message = format!("`{param}`: {}", in_json_words(&found.inner().to_string()));
            Fault::invalid(param, "invalid_type", message)
        }
        _ => bad_body("invalid_type", format!("the body must be a JSON object: {error}")),
    }
}

/// Serde speaks of its own types: to whoever wrote the JSON a map is an object and a sequence an array.
fn in_json_words(message: &str) -> String {
    let message = message.replacen("invalid type: map,", "invalid type: object,", 1);
    message.replacen("invalid type: sequence,", "invalid type: array,", 1).replacen(
        ", expected a sequence at line",
        ", expected an array at line",
        1,
    )
}

fn missing(name: &'static str, what: &str) -> Fault {
    Fault::invalid(name, "missing_required_parameter", format!("`{name}` is missing: it is {what}"))
}

fn required<'a>(raw: Option<&'a RawValue>, name: &'static str, what: &str) -> Result<&'a RawValue, Fault> {
    raw.filter(|raw| raw.get() != "null").ok_or_else(|| missing(name, what))
}

fn typed<'a, T: Deserialize<'a>>(name: &str, raw: &'a RawValue, what: &str) -> Result<T, Fault> {
    serde_json::from_str(raw.get()).map_err(|_| {
        Fault::invalid(name, "invalid_type", format!("`{name}` must be {what}, not {}", shown(raw)))
    })
}

fn whole(name: &str, raw: Option<&RawValue>, most: u64) -> Result<Option<u64>, Fault> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(None) };
    let number: u64 = typed(name, raw, "a whole number of at least 1")?;
    if number == 0 || number > most {
        let range = if most == u64::MAX { "at least 1".to_owned() } else { format!("1 to {most}") };
        return Err(Fault::invalid(name, "invalid_value", format!("`{name}` must be {range}, not {number}")));
    }
    Ok(Some(number))
}

fn include_usage(raw: Option<&RawValue>) -> Result<bool, Fault> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(false) };
    let options: StreamOptions<'_> =
        typed("stream_options", raw, "an object like {\"include_usage\": true}")?;
    let Some(said) = options.include_usage.filter(|said| said.get() != "null") else { return Ok(false) };
    typed("stream_options.include_usage", said, "true or false")
}

fn wants_json(raw: Option<&RawValue>) -> Result<bool, Fault> {
    let Some(raw) = raw else { return Ok(false) };
    let format: ResponseFormat<'_> = typed("response_format", raw, "an object with a `type`")?;
    Ok(format.kind != "text")
}

/// The start of a value, for messages.
fn shown(raw: &RawValue) -> String {
    let text = raw.get();
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(40).chain(['…']).collect() }
}

#[cfg(test)]
mod tests;
