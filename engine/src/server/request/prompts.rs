//! Reads what `/v1/completions` is to continue: text or tokens, one or several.

use super::super::error::ApiError;
use super::fields::Fields;
use serde_json::Value;

/// Tokens of an answer where the request says nothing, as OpenAI has it.
pub(super) const USUAL_TOKENS: usize = 16;
/// Prompts at most.
const MOST_PROMPTS: usize = 128;

/// A text to be continued as it is, by no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    Text(String),
    /// By the model's own token numbers.
    Tokens(Vec<usize>),
}

/// The request's `prompt`; what would change the answer and is not done is refused by name.
pub(super) fn parse(fields: &Fields<'_>) -> Result<Vec<Prompt>, ApiError> {
    for (name, harmless) in [("echo", Value::Bool(false)), ("suffix", "".into()), ("best_of", 1.into())] {
        if fields.value(name).is_some_and(|value| *value != harmless) {
            let message = format!("{name} is not supported by this engine; leave it out.");
            return Err(ApiError::unsupported(name, message));
        }
    }
    if fields.value("logprobs").is_some_and(|value| *value != Value::Bool(false)) {
        let message = "logprobs is supported by this engine on /v1/chat/completions only.";
        return Err(ApiError::unsupported("logprobs", message));
    }
    let prompts = match fields.value("prompt") {
        Some(Value::String(text)) => Some(vec![Prompt::Text(text.clone())]),
        Some(Value::Array(list)) if list.iter().all(Value::is_number) => {
            tokens(list).map(|prompt| vec![prompt])
        }
        Some(Value::Array(list)) => list.iter().map(prompt).collect(),
        _ => None,
    };
    prompts.filter(|prompts| (1..=MOST_PROMPTS).contains(&prompts.len())).ok_or_else(|| {
        let expected = "a string, an array of token numbers, or an array of either, 128 at most";
        ApiError::invalid("prompt", format!("prompt must be {expected}."))
    })
}

fn prompt(value: &Value) -> Option<Prompt> {
    match value {
        Value::String(text) => Some(Prompt::Text(text.clone())),
        Value::Array(list) => tokens(list),
        _ => None,
    }
}

pub(super) fn tokens(list: &[Value]) -> Option<Prompt> {
    let numbers: Option<Vec<usize>> = list.iter().map(|token| token.as_u64()?.try_into().ok()).collect();
    numbers.filter(|numbers| !numbers.is_empty()).map(Prompt::Tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Vec<Prompt>, ApiError> {
        parse(&Fields::new(body.as_object().unwrap()))
    }

    #[test]
    fn texts_and_tokens() {
        let text = |text: &str| Prompt::Text(text.to_owned());
        assert_eq!(read(json!({"prompt": "a", "echo": false, "best_of": 1})).unwrap(), [text("a")]);
        assert_eq!(read(json!({"prompt": ["a", "b"]})).unwrap(), [text("a"), text("b")]);
        assert_eq!(read(json!({"prompt": [1, 2]})).unwrap(), [Prompt::Tokens(vec![1, 2])]);
        assert_eq!(read(json!({"prompt": [[1], "b"]})).unwrap(), [Prompt::Tokens(vec![1]), text("b")]);
    }

    #[test]
    fn mistakes_are_named() {
        for prompt in [json!(null), json!(5), json!([]), json!([-1]), json!([[]]), json!([{}])] {
            assert_eq!(read(json!({ "prompt": prompt })).unwrap_err().param.as_deref(), Some("prompt"));
        }
        for (name, value) in
            [("echo", json!(true)), ("suffix", json!("x")), ("logprobs", json!(3)), ("best_of", json!(2))]
        {
            let error = read(json!({"prompt": "a", name: value})).unwrap_err();
            assert_eq!((error.param.as_deref(), error.code), (Some(name), Some("unsupported_parameter")));
        }
    }
}
