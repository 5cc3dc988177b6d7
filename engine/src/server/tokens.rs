//! What a text or a conversation is to the model, without an answer: its tokens, their text, the rendered prompt.
//!
//! The paths and fields are llama-server's, which agents use to count what still fits.

use super::Service;
use super::error::ApiError;
use super::request::{ChatRequest, TokensRequest};
use crate::llama::Token;
use serde_json::{Value, json};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// A text's tokens.
    Tokenize,
    /// The text of tokens.
    Detokenize,
    /// How a conversation is written for the model.
    Prompt,
    /// How many tokens that is.
    Count,
}

impl Question {
    /// By the path, without its version.
    pub(super) fn of(path: &str) -> Option<Question> {
        match path {
            "/tokenize" => Some(Question::Tokenize),
            "/detokenize" => Some(Question::Detokenize),
            "/apply-template" => Some(Question::Prompt),
            "/chat/completions/input_tokens" => Some(Question::Count),
            _ => None,
        }
    }
}

impl Service {
    /// Answers a question about tokens. Blocks while it tokenises.
    pub(super) fn tell(&self, question: Question, body: &[u8], caller: &str) -> Result<Value, ApiError> {
        if matches!(question, Question::Prompt | Question::Count) {
            self.must_write()?;
        }
        match question {
            Question::Tokenize => TokensRequest::parse_text(body).map(|request| self.tokenize(&request)),
            Question::Detokenize => self.detokenize(&TokensRequest::parse_tokens(body)?),
            Question::Prompt => Ok(json!({"prompt": self.rendered(&ChatRequest::parse(body)?, caller)?})),
            Question::Count => {
                let prompt = self.rendered(&ChatRequest::parse(body)?, caller)?;
                Ok(json!({"object": "response.input_tokens", "input_tokens": self.tokens(&prompt).len()}))
            }
        }
    }

    fn tokenize(&self, request: &TokensRequest) -> Value {
        let mut tokens = self.model.tokens(&request.content);
        if let Some(bos) = self.model.bos().filter(|bos| request.add_special && tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        let told = tokens.into_iter().map(|token| match request.with_pieces {
            true => json!({"id": token.0, "piece": self.piece(token)}),
            false => token.0.into(),
        });
        json!({"tokens": told.collect::<Vec<Value>>()})
    }

    /// A token's text; where it is only part of a character, its bytes.
    fn piece(&self, token: Token) -> Value {
        match String::from_utf8(self.bytes(token)) {
            Ok(text) => text.into(),
            Err(error) => error.into_bytes().into(),
        }
    }

    fn bytes(&self, token: Token) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.model.piece(token, &mut bytes);
        if bytes.is_empty() {
            self.model.control_piece(token, &mut bytes);
        }
        bytes
    }

    fn detokenize(&self, tokens: &[usize]) -> Result<Value, ApiError> {
        let vocabulary = self.model.vocabulary();
        if let Some(token) = tokens.iter().find(|token| **token >= vocabulary) {
            let message = format!("tokens: there is no token {token}; this model has {vocabulary}.");
            return Err(ApiError::invalid("tokens", message));
        }
        let number = |token: &usize| Token(i32::try_from(*token).unwrap_or_default());
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| self.bytes(number(token))).collect();
        Ok(json!({"content": String::from_utf8_lossy(&bytes)}))
    }
}
