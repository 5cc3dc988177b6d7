//! Reads what `/v1/embeddings` is asked: texts or tokens, one or many, and how the vectors are written.

use super::super::error::ApiError;
use super::fields::Fields;
use super::object;
use super::prompts::{Prompt, tokens};
use serde_json::Value;

/// Inputs of one request at most, as OpenAI has it.
const MOST_INPUTS: usize = 2048;

/// A checked request for vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EmbeddingRequest {
    /// At least one, each with its name in the request; none is empty.
    pub(crate) inputs: Vec<(String, Prompt)>,
    /// Whether vectors are written as the base64 of their little-endian numbers.
    pub(crate) base64: bool,
}

impl EmbeddingRequest {
    /// Parses the body of `/v1/embeddings`.
    pub(crate) fn parse(body: &[u8]) -> Result<EmbeddingRequest, ApiError> {
        let object = object(body)?;
        let fields = Fields::new(&object);
        fields.text("model")?;
        fields.text("user")?;
        if fields.value("dimensions").is_some() {
            let message = "dimensions is not supported by this engine: its vectors come in the model's own \
                           length; leave it out.";
            return Err(ApiError::unsupported("dimensions", message));
        }
        let base64 = match fields.text("encoding_format")? {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => {
                let message = "encoding_format must be float or base64.";
                return Err(ApiError::invalid("encoding_format", message));
            }
        };
        Ok(EmbeddingRequest { inputs: inputs(fields.value("input"))?, base64 })
    }
}

fn inputs(value: Option<&Value>) -> Result<Vec<(String, Prompt)>, ApiError> {
    let expected = "a string, an array of token numbers, or an array of either";
    match value {
        Some(Value::Array(list)) if list.is_empty() => Err(empty("input")),
        Some(Value::Array(list)) if list.iter().all(Value::is_number) => {
            Ok(vec![("input".to_owned(), input("input", list.iter().as_slice())?)])
        }
        Some(Value::Array(list)) if list.len() > MOST_INPUTS => {
            let message = format!("input may hold {MOST_INPUTS} texts at most, not {}.", list.len());
            Err(ApiError::invalid("input", message))
        }
        Some(Value::Array(list)) => {
            let named = list.iter().enumerate().map(|(index, value)| (format!("input[{index}]"), value));
            named.map(|(name, value)| Ok((name.clone(), one(&name, value)?))).collect()
        }
        Some(text @ Value::String(_)) => Ok(vec![("input".to_owned(), one("input", text)?)]),
        _ => Err(ApiError::invalid("input", format!("input must be {expected}."))),
    }
}

fn one(name: &str, value: &Value) -> Result<Prompt, ApiError> {
    match value {
        Value::String(text) if text.is_empty() => Err(empty(name)),
        Value::String(text) => Ok(Prompt::Text(text.clone())),
        Value::Array(list) if list.is_empty() => Err(empty(name)),
        Value::Array(list) => input(name, list),
        _ => Err(ApiError::invalid(name, format!("{name} must be a string or an array of token numbers."))),
    }
}

fn input(name: &str, list: &[Value]) -> Result<Prompt, ApiError> {
    tokens(list)
        .ok_or_else(|| ApiError::invalid(name, format!("{name} must hold token numbers: integers from 0.")))
}

fn empty(name: &str) -> ApiError {
    ApiError::invalid(name, format!("{name} is empty: there is nothing to make a vector of."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(body: &Value) -> Result<EmbeddingRequest, ApiError> {
        EmbeddingRequest::parse(body.to_string().as_bytes())
    }

    #[test]
    fn texts_and_tokens_one_or_many() {
        let names =
            |input: Value| -> Vec<(String, Prompt)> { parse(&json!({"input": input})).unwrap().inputs };
        let text = |text: &str| Prompt::Text(text.to_owned());
        assert_eq!(names(json!("a")), [("input".to_owned(), text("a"))]);
        assert_eq!(names(json!([1, 2])), [("input".to_owned(), Prompt::Tokens(vec![1, 2]))]);
        let several = names(json!(["a", [3]]));
        assert_eq!(several[1], ("input[1]".to_owned(), Prompt::Tokens(vec![3])));
        let request = parse(&json!({"input": "a", "encoding_format": "base64", "user": "u"})).unwrap();
        assert!(request.base64);
    }

    #[test]
    fn mistakes_are_named() {
        for (input, param) in [
            (json!(null), "input"),
            (json!(5), "input"),
            (json!(""), "input"),
            (json!([]), "input"),
            (json!([1.5]), "input"),
            (json!([-1]), "input"),
            (json!(["a", ""]), "input[1]"),
            (json!(["a", []]), "input[1]"),
            (json!(["a", "b", 5]), "input[2]"),
            (json!([[1], [1, "b"]]), "input[1]"),
            (json!(vec!["a"; 2049]), "input"),
        ] {
            let error = parse(&json!({"input": input})).unwrap_err();
            assert_eq!((error.param.as_deref(), error.code), (Some(param), Some("invalid_value")), "{input}");
        }
        for (name, value) in [
            ("encoding_format", json!("hex")),
            ("user", json!(5)),
            ("model", json!(1)),
            ("dimensions", json!(8)),
        ] {
            let error = parse(&json!({"input": "a", name: value})).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(name));
        }
    }
}
