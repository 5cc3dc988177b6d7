//! Why an engine did not answer, and what the caller hears of it.
//!
//! Addresses, keys and an engine's own error texts stay in the log; only where an engine refused the request
//! itself (a parameter it does not take) are its words passed on, for the caller alone can act on them.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::wire::error::{Notice, Origin, Retry};

/// One engine's failure, before its first byte or after.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("the engine {engine:?} cannot be reached")]
    Unreachable {
        /// The engine.
        engine: String,
    },
    /// The connection broke while waiting for, or in the middle of, an answer.
    #[error("the engine {engine:?} broke off")]
    Broken {
        /// The engine.
        engine: String,
    },
    /// Nothing came in time.
    #[error("the engine {engine:?} sent nothing for {} s", .waited.as_secs())]
    Slow {
        /// The engine.
        engine: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Its process does not run, or not yet.
    #[error("the engine {engine:?} is not ready: {why}")]
    NotReady {
        /// The engine.
        engine: String,
        /// Why, without anything that stays in the log.
        why: &'static str,
    },
    /// It has too much to do.
    #[error("the engine {engine:?} is at its limit")]
    Busy {
        /// The engine.
        engine: String,
    },
    /// It failed with a status of its own.
    #[error("the engine {engine:?} failed with status {}", .status.as_u16())]
    Status {
        /// The engine.
        engine: String,
        /// Its status.
        status: StatusCode,
    },
    /// It does not take this request.
    #[error("{message}")]
    Refused {
        /// The engine.
        engine: String,
        /// Its status.
        status: StatusCode,
        /// Its words.
        message: String,
        /// The field that it names.
        param: Option<String>,
    },
    /// The prompt does not fit the model's context.
    #[error("{message}")]
    TooLong {
        /// The engine.
        engine: String,
        /// Its words.
        message: String,
        /// The field that it names.
        param: Option<String>,
    },
    /// It lacks what the request asks for.
    #[error("{message}")]
    Unsupported {
        /// The engine.
        engine: String,
        /// Its words.
        message: String,
        /// The field that it names.
        param: Option<String>,
    },
    /// It failed at this request, which says nothing of others.
    #[error("the engine {engine:?} cannot answer this request")]
    Unable {
        /// The engine.
        engine: String,
    },
    /// What came is no answer.
    #[error("the engine {engine:?} sent something that is not an answer")]
    Garbled {
        /// The engine.
        engine: String,
    },
}

impl Failure {
    /// Whether another model may be tried: not when the request itself was refused, save for what others may take.
    #[must_use]
    pub fn may_fall_back(&self) -> bool {
        !matches!(self, Failure::Refused { .. })
    }

    /// Whether the engine may charge for it: it took the request, and what it did until it failed is not known. An engine
    /// that cannot be reached, is too busy, or answers with an error status does not charge.
    #[must_use]
    pub fn may_have_cost(&self) -> bool {
        match self {
            Failure::Broken { .. } | Failure::Slow { .. } | Failure::Garbled { .. } => true,
            Failure::Unreachable { .. }
            | Failure::NotReady { .. }
            | Failure::Busy { .. }
            | Failure::Status { .. }
            | Failure::Refused { .. }
            | Failure::TooLong { .. }
            | Failure::Unsupported { .. }
            | Failure::Unable { .. } => false,
        }
    }

    /// Whether it speaks against the engine's health.
    #[must_use]
    pub fn is_of_engine(&self) -> bool {
        !matches!(
            self,
            Failure::Refused { .. }
                | Failure::TooLong { .. }
                | Failure::Unsupported { .. }
                | Failure::Unable { .. }
                | Failure::Busy { .. }
                | Failure::NotReady { .. }
        )
    }

    /// A bounded word for metrics and reasons.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::Unreachable { .. } => "unreachable",
            Failure::Broken { .. } => "broken",
            Failure::NotReady { .. } => "not_ready",
            Failure::Slow { .. } => "timeout",
            Failure::Busy { .. } => "busy",
            Failure::Status { .. } => "status",
            Failure::Refused { .. } => "refused",
            Failure::TooLong { .. } => "context_length",
            Failure::Unsupported { .. } => "unsupported",
            Failure::Unable { .. } => "unable",
            Failure::Garbled { .. } => "garbled",
        }
    }

    /// How the caller sees it.
    #[must_use]
    pub fn notice(&self) -> Notice {
        let (status, kind, code, retry) = match self {
            Failure::Unreachable { .. } => (503, "server_error", "upstream_unreachable", Retry::After(1)),
            Failure::NotReady { .. } => (503, "server_error", "engine_not_ready", Retry::After(2)),
            Failure::Broken { .. } => (502, "server_error", "upstream_broken", Retry::Unsaid),
            Failure::Slow { .. } => (504, "server_error", "upstream_timeout", Retry::Unsaid),
            Failure::Busy { .. } => (503, "server_error", "upstream_busy", Retry::After(1)),
            Failure::Status { .. } => (502, "server_error", "upstream_error", Retry::Unsaid),
            Failure::Refused { status, .. } => {
                (status.as_u16(), "invalid_request_error", "upstream_refused", Retry::Never)
            }
            Failure::TooLong { .. } => (400, "invalid_request_error", TOO_LONG, Retry::Never),
            Failure::Unsupported { .. } => (400, "invalid_request_error", "upstream_refused", Retry::Never),
            Failure::Unable { .. } => (502, "server_error", "upstream_error", Retry::Unsaid),
            Failure::Garbled { .. } => (502, "server_error", "upstream_garbled", Retry::Unsaid),
        };
        let (param, origin) = match self {
            // The request is what was wrong, so it is the client's to mend and no failure of an engine.
            Failure::Refused { param, .. }
            | Failure::TooLong { param, .. }
            | Failure::Unsupported { param, .. } => (param.clone(), Origin::Client),
            _ => (None, Origin::Upstream),
        };
        Notice {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
            kind,
            code,
            param,
            message: self.to_string(),
            retry,
            origin,
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    error: Said,
}

#[derive(Deserialize)]
struct Said {
    message: String,
    #[serde(default)]
    param: Option<String>,
    /// Text with most, a number with some.
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// OpenAI's code for a prompt that does not fit.
const TOO_LONG: &str = "context_length_exceeded";

/// Whether an error body says that the prompt does not fit: by OpenAI's code, llama-server's type, or vLLM's and SGLang's words.
pub(super) fn is_too_long(body: &[u8]) -> bool {
    let Ok(Envelope { error }) = serde_json::from_slice::<Envelope>(body) else { return false };
    let code = error.code.as_ref().and_then(serde_json::Value::as_str);
    let words = error.message.to_ascii_lowercase();
    code == Some(TOO_LONG)
        || error.kind.as_deref() == Some("exceed_context_size_error")
        || words.contains("maximum context length")
        || words.contains("longer than the model's context length")
}

/// The message of an OpenAI-style error body and the field it names, or a plain sentence where there is none.
pub(super) fn words_of(body: &[u8]) -> (String, Option<String>) {
    match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { error }) => (error.message, error.param),
        Err(_) => ("the engine does not take this request".to_owned(), None),
    }
}

/// Whether an error body is a worker's word that it has too much to do.
pub(super) fn is_overload(body: &[u8]) -> bool {
    has_code(body, &["engine_overloaded", "deadline_exceeded"])
}

/// Whether an error body says that the model or its server lacks what is asked, by OpenAI's codes.
pub(super) fn is_unsupported(body: &[u8]) -> bool {
    has_code(body, &["unsupported_parameter", "unsupported_value", "unsupported_capability"])
}

/// Whether an error body is a worker's word that it failed at this one request: at its template, or the grammar of its form.
pub(super) fn is_unable(body: &[u8]) -> bool {
    has_code(body, &["template_failed", "grammar_too_complex"])
}

fn has_code(body: &[u8], codes: &[&str]) -> bool {
    let code = serde_json::from_slice::<Envelope>(body).ok().and_then(|envelope| envelope.error.code);
    code.as_ref().and_then(serde_json::Value::as_str).is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_told_from_a_broken_engine() {
        assert!(is_overload(br#"{"error":{"message":"later","code":"engine_overloaded"}}"#));
        assert!(is_overload(br#"{"error":{"message":"too late","code":"deadline_exceeded"}}"#));
        assert!(!is_overload(br#"{"error":{"message":"loading","code":"loading"}}"#));
        assert!(!is_overload(br#"{"error":{"message":"odd","code":503}}"#));
        assert!(!is_overload(b"<html>"));
    }

    #[test]
    fn a_prompt_too_long_is_told_from_other_mistakes() {
        for body in [
            r#"{"error":{"message":"too long","code":"context_length_exceeded","param":"messages"}}"#,
            r#"{"error":{"code":400,"message":"request (9 tokens) exceeds","type":"exceed_context_size_error","n_ctx":8}}"#,
            r#"{"error":{"message":"This model's maximum context length is 16384 tokens. However, …","type":"BadRequestError","code":400}}"#,
        ] {
            assert!(is_too_long(body.as_bytes()), "{body}");
        }
        assert!(!is_too_long(br#"{"error":{"message":"`max_tokens` is too large","code":"invalid_value"}}"#));
        assert!(!is_too_long(b"maximum context length"));
        let (engine, message) = ("e".to_owned(), "too long".to_owned());
        let failure = Failure::TooLong { engine, message, param: None };
        assert!(failure.may_fall_back() && !failure.is_of_engine() && !failure.may_have_cost());
        assert_eq!((failure.notice().status, failure.notice().code), (StatusCode::BAD_REQUEST, TOO_LONG));
    }

    #[test]
    fn what_only_this_request_or_this_engine_is_to_blame_for_is_told_apart() {
        let body = |code: &str| format!(r#"{{"error":{{"message":"no","code":"{code}"}}}}"#);
        assert!(is_unsupported(body("unsupported_parameter").as_bytes()));
        assert!(!is_unsupported(body("invalid_value").as_bytes()));
        assert!(is_unable(body("template_failed").as_bytes()));
        assert!(!is_unable(body("engine_error").as_bytes()));
        let unsupported =
            Failure::Unsupported { engine: "e".to_owned(), message: "no".to_owned(), param: None };
        let unable = Failure::Unable { engine: "e".to_owned() };
        for (failure, status) in [(unsupported, 400), (unable, 502)] {
            assert!(failure.may_fall_back() && !failure.is_of_engine() && !failure.may_have_cost());
            assert_eq!(failure.notice().status.as_u16(), status);
        }
    }

    #[test]
    fn only_a_refusal_keeps_its_words() {
        assert_eq!(
            words_of(br#"{"error":{"message":"`top_p` must be in 0..1","param":"top_p"}}"#),
            ("`top_p` must be in 0..1".to_owned(), Some("top_p".to_owned()))
        );
        assert_eq!(words_of(b"<html>secret host</html>").0, "the engine does not take this request");
        let failure = Failure::Status { engine: "big".to_owned(), status: StatusCode::UNAUTHORIZED };
        assert_eq!(failure.notice().status, StatusCode::BAD_GATEWAY);
        assert!(failure.may_fall_back());
    }
}
