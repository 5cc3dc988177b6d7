//! Reads a chat-completion request: every field that matters is checked and named when wrong, what the engine cannot
//! do is refused by name rather than ignored, and unknown fields are left alone.

mod fields;
mod format;
mod inputs;
mod lora;
mod messages;
mod prompts;
mod sampling;
mod tokens;
mod tools;

use super::error::ApiError;
use crate::sample::Sampling;
use crate::template::{Message, Turn};
use crate::tools::Tools;
use fields::Fields;
pub(crate) use format::Format;
pub(crate) use inputs::EmbeddingRequest;
pub(crate) use lora::Lora;
pub(crate) use prompts::Prompt;
use serde_json::{Map, Value};
pub(crate) use tokens::TokensRequest;

/// Answers to one request at most, as OpenAI has it.
const MOST_ANSWERS: i64 = 128;

/// A checked request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChatRequest {
    pub(crate) model: Option<String>,
    pub(crate) lora: Option<Lora>,
    /// The conversation; empty where bare prompts are to be continued.
    pub(crate) messages: Vec<Message>,
    /// Bare prompts to be continued (`/v1/completions`).
    pub(crate) prompts: Vec<Prompt>,
    /// `None` = as many as the context has room for.
    pub(crate) max_tokens: Option<usize>,
    pub(crate) sampling: Sampling,
    pub(crate) stops: Vec<String>,
    /// How many answers.
    pub(crate) count: usize,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Whether the model may not end the answer itself, for load tests (`ignore_eos`, as llama.cpp and vLLM call it).
    pub(crate) ignore_eos: bool,
    /// Whether an earlier prompt's KV cells may serve (llama.cpp's `cache_prompt`).
    pub(crate) reuse: bool,
    /// Whether to say how likely each token was, and so many alternatives.
    pub(crate) logprobs: Option<usize>,
    /// What the answer's text must be.
    pub(crate) format: Format,
    pub(crate) tools: Tools,
    /// Whether thoughts are told apart from the answer (`reasoning_format`, as llama.cpp's server calls it).
    pub(crate) thoughts_apart: bool,
    /// Variables of the chat template.
    pub(crate) variables: Option<Map<String, Value>>,
    /// What the answer begins after.
    pub(crate) turn: Turn,
}

impl ChatRequest {
    /// Parses a chat's body.
    pub(crate) fn parse(body: &[u8]) -> Result<ChatRequest, ApiError> {
        let object = object(body)?;
        let fields = Fields::new(&object);
        Ok(ChatRequest {
            messages: messages::parse(&fields)?,
            logprobs: sampling::logprobs(&fields)?,
            format: format::parse(&fields)?,
            tools: tools::parse(&fields)?,
            thoughts_apart: thoughts_apart(&fields)?,
            variables: variables(&fields)?,
            turn: turn(&fields)?,
            ..Self::common(&fields)?
        })
    }

    /// Parses the body of a request to continue bare prompts.
    pub(crate) fn parse_prompts(body: &[u8]) -> Result<ChatRequest, ApiError> {
        let object = object(body)?;
        let fields = Fields::new(&object);
        let mut request = Self::common(&fields)?;
        request.prompts = prompts::parse(&fields)?;
        request.max_tokens = request.max_tokens.or(Some(prompts::USUAL_TOKENS));
        Ok(request)
    }

    /// What both kinds of request have.
    fn common(fields: &Fields<'_>) -> Result<ChatRequest, ApiError> {
        refuse_unsupported(fields)?;
        Ok(ChatRequest {
            model: fields.text("model")?.map(str::to_owned),
            lora: lora::parse(fields)?,
            messages: Vec::new(),
            prompts: Vec::new(),
            max_tokens: sampling::max_tokens(fields)?,
            sampling: sampling::parse(fields)?,
            stops: sampling::stops(fields)?,
            count: count(fields)?,
            stream: fields.flag("stream")?.unwrap_or(false),
            include_usage: match fields.object("stream_options")? {
                Some(options) => options.flag("include_usage")?.unwrap_or(false),
                None => false,
            },
            ignore_eos: fields.flag("ignore_eos")?.unwrap_or(false),
            reuse: fields.flag("cache_prompt")?.unwrap_or(true),
            logprobs: None,
            format: Format::Text,
            tools: Tools::default(),
            thoughts_apart: false,
            variables: None,
            turn: Turn::New,
        })
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let value = serde_json::from_slice::<Value>(body)
        .map_err(|error| ApiError::malformed(format!("The request body is not valid JSON: {error}")))?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(ApiError::malformed("The request body must be a JSON object.")),
    }
}

fn thoughts_apart(fields: &Fields<'_>) -> Result<bool, ApiError> {
    match fields.text("reasoning_format")? {
        None | Some("auto" | "deepseek") => Ok(true),
        Some("none") => Ok(false),
        Some(_) => Err(ApiError::invalid(
            "reasoning_format",
            "reasoning_format must be one of auto, deepseek and none.",
        )),
    }
}

fn variables(fields: &Fields<'_>) -> Result<Option<Map<String, Value>>, ApiError> {
    fields.object("chat_template_kwargs")?;
    Ok(fields.value("chat_template_kwargs").and_then(Value::as_object).cloned())
}

/// `add_generation_prompt` and `continue_final_message`, as vLLM and llama.cpp have them.
fn turn(fields: &Fields<'_>) -> Result<Turn, ApiError> {
    let (begin, go_on) = (fields.flag("add_generation_prompt")?, fields.flag("continue_final_message")?);
    match (begin, go_on.unwrap_or(false)) {
        (Some(true), true) => Err(ApiError::invalid(
            "continue_final_message",
            "continue_final_message and add_generation_prompt cannot both be true.",
        )),
        (_, true) => {
            let last = fields.value("messages").and_then(Value::as_array).and_then(|list| list.last());
            if last.and_then(|last| last.get("role")).and_then(Value::as_str) != Some("assistant") {
                let message = "continue_final_message needs a last message of role assistant.";
                return Err(ApiError::invalid("continue_final_message", message));
            }
            Ok(Turn::Continued)
        }
        (Some(false), false) => Ok(Turn::Bare),
        (_, false) => Ok(Turn::New),
    }
}

fn count(fields: &Fields<'_>) -> Result<usize, ApiError> {
    let count = fields.integer("n", 1..=MOST_ANSWERS)?.unwrap_or(1);
    Ok(usize::try_from(count).unwrap_or(1))
}

/// Refuses by name what would change the answer but is not done here.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), ApiError> {
    let refuse = |name: &str, what: &str| {
        Err(ApiError::unsupported(name, format!("{what} not supported by this engine; leave {name} out.")))
    };
    for (name, what) in [
        ("audio", "Audio is"),
        ("grammar", "Grammars are"),
        ("prediction", "Predicted output is"),
        ("web_search_options", "Searching the web is"),
    ] {
        if fields.value(name).is_some() {
            return refuse(name, what);
        }
    }
    if let Some(Value::Array(kinds)) = fields.value("modalities")
        && kinds.iter().any(|kind| kind.as_str() != Some("text"))
    {
        return refuse("modalities", "Output other than text is");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(body: serde_json::Value) -> Result<ChatRequest, ApiError> {
        ChatRequest::parse(body.to_string().as_bytes())
    }

    /// A request with one extra field.
    fn with(name: &str, value: serde_json::Value) -> Result<ChatRequest, ApiError> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body[name] = value;
        parse(body)
    }

    #[test]
    fn defaults() {
        let request = with("ignored_field", json!({"a": 1})).unwrap();
        assert_eq!(request.messages, [Message::said("user", "hi")]);
        assert_eq!((request.max_tokens, request.stream, request.reuse), (None, false, true));
        assert!(!request.ignore_eos);
        assert_eq!(request.sampling, Sampling::default());
        assert!(with("temperature", json!(null)).is_ok(), "null counts as absent");
    }

    #[test]
    fn everything_set() {
        let request = parse(json!({
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 7, "max_completion_tokens": 5, "temperature": 0, "top_p": 0.5, "top_k": -1, "seed": -1,
            "stop": ["a", "b"], "stream": true, "stream_options": {"include_usage": true}, "n": 1,
            "logprobs": true, "top_logprobs": 2, "tools": [], "response_format": {"type": "text"}, "cache_prompt": false, "ignore_eos": true,
        }))
        .unwrap();
        assert_eq!((request.max_tokens, request.logprobs), (Some(5), Some(2)));
        assert_eq!(request.sampling.seed, Some(u64::MAX));
        assert_eq!((request.sampling.temperature, request.sampling.top_k), (0.0, 0));
        assert_eq!(request.stops, ["a", "b"]);
        assert!(request.stream && request.include_usage && !request.reuse && request.ignore_eos);
    }

    #[test]
    fn wrong_values_name_their_field() {
        let cases = [
            ("temperature", json!(3), "temperature must be a number from 0 to 2."),
            ("temperature", json!("hot"), "temperature must be a number from 0 to 2."),
            ("max_tokens", json!(0), "max_tokens must be an integer from 1 to 2147483647."),
            ("max_tokens", json!(1.5), "max_tokens must be an integer from 1 to 2147483647."),
            ("top_logprobs", json!(3), "top_logprobs needs logprobs to be true."),
            ("top_logprobs", json!(21), "top_logprobs must be an integer from 0 to 20."),
            ("stream", json!("yes"), "stream must be true or false."),
            ("n", json!(0), "n must be an integer from 1 to 128."),
            ("logit_bias", json!([5]), "logit_bias must be an object of biases by token number."),
            ("logit_bias", json!({"cat": 5}), "logit_bias: \"cat\" is no token number."),
            ("logit_bias", json!({"5": 101}), "logit_bias.5 must be a number from -100 to 100."),
            ("repeat_penalty", json!(0), "repeat_penalty must be a number from 0.01 to 10."),
            ("reasoning_format", json!("xml"), "reasoning_format must be one of auto, deepseek and none."),
            ("chat_template_kwargs", json!(5), "chat_template_kwargs must be an object."),
            ("stop", json!([1]), "stop must be a string or an array of strings."),
            ("stop", json!(vec!["x"; 17]), "stop may hold 16 strings at most."),
            ("model", json!(5), "model must be a string."),
            ("stream_options", json!(true), "stream_options must be an object."),
            (
                "stream_options",
                json!({"include_usage": 1}),
                "stream_options.include_usage must be true or false.",
            ),
        ];
        for (name, value, message) in cases {
            let error = with(name, value).unwrap_err();
            assert_eq!(error.message, message);
            assert!(error.param.as_deref().unwrap().starts_with(name));
            assert_eq!(error.code, Some("invalid_value"));
        }
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        let cases = [
            ("functions", json!([{}])),
            ("audio", json!({"voice": "a"})),
            ("grammar", json!("root ::= \"a\"")),
            ("modalities", json!(["text", "audio"])),
        ];
        for (name, value) in cases {
            let error = with(name, value).unwrap_err();
            assert_eq!((error.code, error.param.as_deref()), (Some("unsupported_parameter"), Some(name)));
            assert!(error.message.contains("not supported by this engine"), "{}", error.message);
        }
    }

    #[test]
    fn bodies_that_are_no_object() {
        assert!(ChatRequest::parse(b"{\"a\": ").unwrap_err().message.contains("line 1"));
        assert_eq!(ChatRequest::parse(b"[]").unwrap_err().message, "The request body must be a JSON object.");
        assert_eq!(ChatRequest::parse(b"\"\xff\"").unwrap_err().code, Some("invalid_json"));
    }
}
