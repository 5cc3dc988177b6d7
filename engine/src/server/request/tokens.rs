//! Reads requests about tokens alone.

use super::super::error::ApiError;
use super::fields::Fields;
use super::object;
use serde_json::Value;

/// Of which text the tokens are wanted, and how they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokensRequest {
    pub(crate) content: String,
    /// Whether the model's BOS comes first.
    pub(crate) add_special: bool,
    /// Whether each token's text is told beside its number.
    pub(crate) with_pieces: bool,
}

impl TokensRequest {
    /// Parses the body of `/tokenize`.
    pub(crate) fn parse_text(body: &[u8]) -> Result<TokensRequest, ApiError> {
        let object = object(body)?;
        let fields = Fields::new(&object);
        let content = fields.text("content")?;
        let missing = || ApiError::invalid("content", "content must be a string.");
        Ok(TokensRequest {
            content: content.ok_or_else(missing)?.to_owned(),
            add_special: fields.flag("add_special")?.unwrap_or(false),
            with_pieces: fields.flag("with_pieces")?.unwrap_or(false),
        })
    }

    /// Parses the body of `/detokenize`: the numbers of tokens.
    pub(crate) fn parse_tokens(body: &[u8]) -> Result<Vec<usize>, ApiError> {
        let object = object(body)?;
        let list = Fields::new(&object).value("tokens").and_then(Value::as_array);
        let number = |token: &Value| token.as_u64()?.try_into().ok();
        let tokens = list.and_then(|list| list.iter().map(number).collect());
        tokens.ok_or_else(|| ApiError::invalid("tokens", "tokens must be an array of token numbers."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let error = TokensRequest::parse_text(br#"{"content": 5}"#).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("content"));
        for body in [r"{}", r#"{"tokens": 1}"#, r#"{"tokens": [-1]}"#, r#"{"tokens": ["a"]}"#] {
            let error = TokensRequest::parse_tokens(body.as_bytes()).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("tokens"), "{body}");
        }
    }
}
