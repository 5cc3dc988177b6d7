//! Errors answered over HTTP, in the OpenAI shape: a message for people, the field at fault, a code for programs.

use crate::scheduler::{Failure, Full};
use hyper::StatusCode;
use serde_json::json;
use std::time::Duration;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The request's field at fault.
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
    /// When to try again.
    pub(crate) retry_after: Option<Duration>,
}

impl ApiError {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code, retry_after: None }
    }

    /// The field `param` cannot be used as it is.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(StatusCode::BAD_REQUEST, Some("invalid_value"), message)
        }
    }

    /// The field `param` asks for something this engine cannot do.
    pub(crate) fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(StatusCode::BAD_REQUEST, Some("unsupported_parameter"), message)
        }
    }

    /// The body is not JSON, or not an object.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalid_json"), message)
    }

    /// The prompt does not fit.
    pub(crate) fn too_long(param: &str, tokens: usize, context: usize) -> Self {
        let message = format!(
            "This engine's context is {context} tokens, but {param} is {tokens} tokens long, which leaves no room \
             for an answer. Shorten it, or start the engine with a larger context."
        );
        let error = Self::new(StatusCode::BAD_REQUEST, Some("context_length_exceeded"), message);
        Self { param: Some(param.to_owned()), ..error }
    }

    /// A text that is to become a vector does not fit.
    pub(crate) fn input_too_long(param: &str, tokens: usize, context: usize) -> Self {
        let message = format!(
            "{param} is {tokens} tokens long, and this engine takes {context}. Shorten it, split it, or start the \
             engine with a larger context if the model was trained on one."
        );
        let error = Self::new(StatusCode::BAD_REQUEST, Some("context_length_exceeded"), message);
        Self { param: Some(param.to_owned()), ..error }
    }

    /// The model does not do what is asked of it.
    pub(crate) fn other_kind(message: &str) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, Some("unsupported_capability"), message);
        Self { param: Some("model".to_owned()), ..error }
    }

    /// The model's chat template hangs or crashes; another model may do better.
    pub(crate) fn template_failed(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Some("template_failed"), message)
    }

    /// The body is larger than `limit` bytes.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("The request body is larger than {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large"), message)
    }

    /// The connection broke before the body was whole.
    pub(crate) fn cut_short(reason: &str) -> Self {
        Self::malformed(format!("The request body could not be read: {reason}"))
    }

    /// Nothing lives at this path.
    pub(crate) fn no_route(path: &str) -> Self {
        let message = format!("There is nothing at {path}. Try POST /v1/chat/completions.");
        Self::new(StatusCode::NOT_FOUND, Some("not_found"), message)
    }

    /// The path exists for another method.
    pub(crate) fn wrong_method(allowed: &str) -> Self {
        let message = format!("This path answers {allowed} only.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed"), message)
    }

    /// The model is still being loaded.
    pub(crate) fn loading() -> Self {
        let error =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, Some("loading"), "The model is still being loaded.");
        Self { retry_after: Some(Duration::from_secs(1)), ..error }
    }

    /// Something broke on this side.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Some("engine_error"), message)
    }

    /// The body in the OpenAI shape.
    pub(crate) fn body(&self) -> serde_json::Value {
        let kind = if self.status.is_client_error() { "invalid_request_error" } else { "server_error" };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        let message = "The engine's queue is full; try again later.";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, Some("engine_overloaded"), message);
        Self { retry_after: Some(full.retry_after), ..error }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        if failure == Failure::TooLate {
            let message = "The deadline in x-tollgate-deadline-ms passed while the request waited for a free slot; \
                           allow more time, or try again when the engine is less busy.";
            return Self::new(StatusCode::GATEWAY_TIMEOUT, Some("deadline_exceeded"), message);
        }
        if let Failure::Displaced { retry_after } = failure {
            let message = "The engine's queue is full, and most of what waits there is of this caller; try again later, or ask for \
                           less at once.";
            let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, Some("engine_overloaded"), message);
            return Self { retry_after: Some(retry_after), ..error };
        }
        let error = Self::internal(format!("The answer could not be written: {failure}"));
        match failure {
            // The request's form is at fault, and not the engine.
            Failure::TooComplex => Self { code: Some("grammar_too_complex"), ..error },
            _ => error,
        }
    }
}
