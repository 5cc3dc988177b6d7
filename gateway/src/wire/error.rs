//! Every way a request can fail, and the one place that says how the caller sees it.
//!
//! A [`Fault`] knows its cause; [`Fault::notice`] turns it, by one exhaustive match, into status, code (also
//! the metric label), retry advice, origin and a public message. Causes further down go to the log only: no
//! message here carries a path, an upstream's address or a secret.

use std::fmt;

use http::StatusCode;
use tollgate_policies::{Refusal, RefusalKind};
use tollgate_router::NoCandidate;
use tollgate_router::RefusalKind as Objection;

use crate::keys::KeyError;
use crate::ledger::LedgerError;
use crate::upstream::Failure;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The body or a header is not what it must be.
    #[error("{0}")]
    Invalid(Invalid),
    /// The body is longer than the gateway reads.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// Longest body read, bytes.
        limit: usize,
    },
    /// The client went away, or broke the connection, while sending.
    #[error("the request body could not be read")]
    Unread(#[source] hyper::Error),
    /// No key, or not a good one.
    #[error(transparent)]
    Key(KeyError),
    /// The key may not use this model.
    #[error("this API key may not use the model `{model}`; it may use: {allowed}")]
    Forbidden {
        /// The model asked for.
        model: String,
        /// Those it may use.
        allowed: String,
    },
    /// `model` names nothing known.
    #[error("{message}")]
    UnknownModel {
        /// What was asked for and what there is.
        message: String,
    },
    /// Feedback on a request that has no receipt, or not one of this key's.
    #[error(
        "there is no answered request {id:?} of this key; send the x-tollgate-request-id of its response"
    )]
    UnknownRequest {
        /// The id sent.
        id: String,
    },
    /// No such path.
    #[error("there is nothing at {path}; {hint}")]
    NoRoute {
        /// The path asked for.
        path: String,
        /// Where to look instead.
        hint: &'static str,
    },
    /// The path is there, the method is not.
    #[error("this path takes {allow}")]
    Method {
        /// The method it takes.
        allow: &'static str,
    },
    /// A budget has no room.
    #[error("{0}")]
    Budget(Refusal),
    /// No model of the catalogue can take the request.
    #[error("{}", no_candidate(.0))]
    NoCandidate(NoCandidate),
    /// More requests in flight than the gateway takes.
    #[error("the gateway is at its limit of requests in flight")]
    Overloaded,
    /// It is shutting down.
    #[error("the gateway is shutting down")]
    Draining,
    /// The answer would come, or did come, too late.
    #[error("the request did not finish within {ms} ms")]
    Deadline {
        /// The time allowed, milliseconds.
        ms: u64,
    },
    /// Every engine that could answer failed.
    #[error("{0}")]
    Upstream(Failure),
    /// What a request spends could not be booked, so nothing is spent.
    #[error("the ledger cannot be written at the moment, so nothing that costs money is sent")]
    Ledger(#[source] LedgerError),
    /// A defect of the gateway.
    #[error("the gateway failed on this request")]
    Internal(#[source] Defect),
}

/// What is wrong with a request, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The field or header, in the caller's terms.
    pub param: Option<String>,
    /// Machine word for the kind of mistake.
    pub code: &'static str,
    /// What was wrong and what is right.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A defect of the gateway itself; only the log sees which.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// A panic was caught.
    #[error("panic: {0}")]
    Panic(String),
    /// A response could not be put together.
    #[error("response: {0}")]
    Response(#[from] http::Error),
    /// The classifier's catalogue and the gateway's do not agree.
    #[error("the decision named a model that is not in the catalogue")]
    Catalogue,
    /// A metric could not be encoded.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The request's.
    Client,
    /// The gateway's.
    Gateway,
    /// An engine's.
    Upstream,
}

/// What a client's retry should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// Whatever the client does by default.
    Unsaid,
    /// It may pass after this many seconds.
    After(u64),
}

/// A fault as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// HTTP status.
    pub status: StatusCode,
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// OpenAI's `code`; also the metric label.
    pub code: &'static str,
    /// OpenAI's `param`.
    pub param: Option<String>,
    /// What happened and what helps.
    pub message: String,
    /// Retry advice.
    pub retry: Retry,
    /// Whose fault.
    pub origin: Origin,
}

const INVALID: &str = "invalid_request_error";

impl Fault {
    /// A body or header that is not what it must be.
    #[must_use]
    pub fn invalid(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Fault {
        Fault::Invalid(Invalid { param: Some(param.into()), code, message: message.into() })
    }

    /// How the caller sees this fault.
    #[must_use]
    pub fn notice(&self) -> Notice {
        use Origin::{Client, Gateway};
        use Retry::{After, Never, Unsaid};
        let (status, kind, code, retry, origin) = match self {
            Fault::Invalid(invalid) => (400, INVALID, invalid.code, Never, Client),
            Fault::TooLarge { .. } => (413, INVALID, "request_too_large", Never, Client),
            Fault::Unread(_) => (400, INVALID, "body_incomplete", Unsaid, Client),
            Fault::Key(KeyError::Missing) => (401, "authentication_error", "missing_api_key", Never, Client),
            Fault::Key(KeyError::Expired { .. }) => {
                (401, "authentication_error", "api_key_expired", Never, Client)
            }
            Fault::Key(KeyError::Revoked { .. }) => {
                (401, "authentication_error", "api_key_revoked", Never, Client)
            }
            Fault::Key(_) => (401, "authentication_error", "invalid_api_key", Never, Client),
            Fault::Forbidden { .. } => (403, "permission_error", "model_not_allowed", Never, Client),
            Fault::UnknownModel { .. } => (404, INVALID, "model_not_found", Never, Client),
            Fault::UnknownRequest { .. } => (404, INVALID, "request_not_found", Never, Client),
            Fault::NoRoute { .. } => (404, INVALID, "not_found", Never, Client),
            Fault::Method { .. } => (405, INVALID, "method_not_allowed", Never, Client),
            Fault::Budget(refusal) => match refusal.kind {
                RefusalKind::Exhausted => (429, "insufficient_quota", "insufficient_quota", Never, Client),
                RefusalKind::HeldInFlight => (429, "rate_limit_error", "budget_held", After(1), Client),
            },
            Fault::NoCandidate(none) => return self.without_candidate(none),
            Fault::Overloaded => (503, "server_error", "overloaded", After(1), Gateway),
            Fault::Draining => (503, "server_error", "draining", After(1), Gateway),
            // The time the caller gave is over: an SDK that tries again by itself spends money on a late answer.
            Fault::Deadline { .. } => (504, "timeout_error", "deadline_exceeded", Never, Client),
            Fault::Upstream(failure) => return failure.notice(),
            Fault::Ledger(_) => (503, "server_error", "ledger_unavailable", After(1), Gateway),
            Fault::Internal(_) => (500, "server_error", "internal_error", Unsaid, Gateway),
        };
        self.say(status, kind, code, retry, origin)
    }

    fn without_candidate(&self, none: &NoCandidate) -> Notice {
        use Origin::{Client, Gateway};
        use Retry::{After, Never};
        let (status, kind, code, retry, origin) = match none.kind {
            Objection::Context => (400, INVALID, "context_length_exceeded", Never, Client),
            Objection::Capability | Objection::Routing => {
                (400, INVALID, "unsupported_capability", Never, Client)
            }
            Objection::NotAsked | Objection::NotAllowed => {
                (403, "permission_error", "model_not_allowed", Never, Client)
            }
            Objection::Rule | Objection::Region => {
                (403, "permission_error", "no_model_allowed", Never, Client)
            }
            Objection::Bits => (403, "permission_error", "precision_not_available", Never, Client),
            Objection::Down => (503, "server_error", "model_unavailable", After(2), Gateway),
            Objection::MaxCost => (400, INVALID, "max_cost_too_low", Never, Client),
            Objection::Deadline => (504, "timeout_error", "deadline_exceeded", Never, Client),
            Objection::Budget => (429, "insufficient_quota", "insufficient_quota", Never, Client),
        };
        self.say(status, kind, code, retry, origin)
    }

    fn say(
        &self,
        status: u16,
        kind: &'static str,
        code: &'static str,
        retry: Retry,
        origin: Origin,
    ) -> Notice {
        let param = match self {
            Fault::Invalid(invalid) => invalid.param.clone(),
            Fault::UnknownRequest { .. } => Some("request_id".to_owned()),
            Fault::UnknownModel { .. } | Fault::Forbidden { .. } => Some("model".to_owned()),
            _ => None,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Notice { status, kind, code, param, message: self.to_string(), retry, origin }
    }
}

/// What stood against every model, and what helps.
fn no_candidate(none: &NoCandidate) -> String {
    let mut message = "no model can answer this request".to_owned();
    for verdict in &none.verdicts {
        if let Some(why) = &verdict.refused {
            message.push_str(&format!("; {}: {why}", verdict.model));
        }
    }
    if none.kind == Objection::MaxCost {
        message.push_str(" (raise x-tollgate-max-cost-usd, or lower max_tokens)");
    }
    message
}
