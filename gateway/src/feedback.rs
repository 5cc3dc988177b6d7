//! `POST /v1/feedback`: a caller's verdict on an answer, by the id that came with it.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::app::App;
use crate::call::Call;
use crate::ledger::{Judged, LedgerError, Reader, Receipt, ReceiptStatus, Source, now_ms};
use crate::request::Body;
use crate::route::json;
use crate::wire::error::Fault;

/// Longest body read, bytes.
const LONGEST: usize = 4096;

#[derive(Debug, PartialEq)]
struct Verdict {
    request_id: String,
    good: bool,
}

#[derive(Serialize)]
struct Noted<'a> {
    object: &'static str,
    request_id: &'a str,
    model: &'a str,
    good: bool,
    /// Whether the router of now learns from it: see docs/learning.md for what it does not.
    learned: bool,
}

/// Puts a verdict on record; a later one on the same answer replaces it.
///
/// # Errors
/// [`Fault::Invalid`] naming the field; [`Fault::UnknownRequest`]; [`Fault::Ledger`].
pub async fn feedback(app: Arc<App>, mut call: Call) -> Result<Response<Body>, Fault> {
    let body = call.read(LONGEST).await?;
    let Verdict { request_id, good } = read(&body)?;
    let receipt = receipt(&app, &call, request_id).await?;
    // Of an answer by a model that was not chosen nobody knows how probable it was.
    let choice = receipt.choice.filter(|_| receipt.model == receipt.selected);
    let noted = Noted {
        object: "feedback",
        request_id: &receipt.request_id,
        model: &receipt.model,
        good,
        learned: choice.as_ref().is_some_and(|choice| choice.router == Some(app.scorer.router())),
    };
    let response = json(StatusCode::OK, &noted);
    app.learn(vec![Judged {
        request_id: receipt.request_id,
        at_ms: now_ms(),
        policy: receipt.policy_name,
        model: receipt.model,
        source: Source::Feedback,
        good,
        propensity: receipt.propensity,
        choice,
    }])
    .await
    .map_err(Fault::Ledger)?;
    Ok(response)
}

/// The receipt of an answered request of the caller's.
async fn receipt(app: &App, call: &Call, id: String) -> Result<Receipt, Fault> {
    let (path, asked) = (app.ledger.location().clone(), id.clone());
    let reading = tokio::task::spawn_blocking(move || Reader::open(&path)?.receipt(&asked));
    let found = reading.await.map_err(|_| Fault::Ledger(LedgerError::Closed))?.map_err(Fault::Ledger)?;
    let key = call.key.as_ref().map(|key| &key.id);
    // Another's receipt is as unknown as none: ids are not for finding out who asks what.
    let receipt = found.filter(|receipt| receipt.key.as_ref() == key);
    let receipt = receipt.ok_or_else(|| Fault::UnknownRequest { id: id.chars().take(100).collect() })?;
    match receipt.status {
        ReceiptStatus::Ok | ReceiptStatus::Fallback | ReceiptStatus::Escalated | ReceiptStatus::Cancelled => {
            Ok(receipt)
        }
        ReceiptStatus::Error | ReceiptStatus::Orphaned => Err(Fault::invalid(
            "request_id",
            "not_answered",
            format!("the request {id:?} failed, so there is no answer to judge"),
        )),
    }
}

/// `{"request_id": "req_…", "good": true}`.
fn read(body: &[u8]) -> Result<Verdict, Fault> {
    const SHAPE: &str = r#"send {"request_id": "…", "good": true}"#;
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        Fault::invalid("body", "invalid_json", format!("the body is no JSON object: {error}; {SHAPE}"))
    })?;
    if let Some(unknown) = fields.keys().find(|name| !["request_id", "good"].contains(&name.as_str())) {
        let message = format!("there is no field `{unknown}` in feedback; {SHAPE}");
        return Err(Fault::invalid(unknown.clone(), "unknown_parameter", message));
    }
    let missing = |name: &str| {
        Fault::invalid(name, "missing_required_parameter", format!("`{name}` is missing; {SHAPE}"))
    };
    let wrong = |name: &str, what: &str| {
        Fault::invalid(name, "invalid_type", format!("`{name}` must be {what}; {SHAPE}"))
    };
    let request_id = match fields.get("request_id").ok_or_else(|| missing("request_id"))? {
        Value::String(id) => id.clone(),
        _ => return Err(wrong("request_id", "the x-tollgate-request-id of a response, a string")),
    };
    let good = match fields.get("good").ok_or_else(|| missing("good"))? {
        Value::Bool(good) => *good,
        Value::Number(number) if number.as_u64() == Some(0) => false,
        Value::Number(number) if number.as_u64() == Some(1) => true,
        _ => return Err(wrong("good", "true or false (or 1 or 0)")),
    };
    Ok(Verdict { request_id, good })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_strictly() {
        let good = read(br#"{"request_id": "req_1", "good": 1}"#).unwrap();
        assert_eq!(good, Verdict { request_id: "req_1".to_owned(), good: true });
        let refused = |body: &str| read(body.as_bytes()).unwrap_err().notice();
        assert_eq!(refused(r#"{"good": true}"#).param.as_deref(), Some("request_id"));
        assert_eq!(refused(r#"{"request_id": "a"}"#).param.as_deref(), Some("good"));
        assert_eq!(refused(r#"{"request_id": "a", "good": 0.5}"#).param.as_deref(), Some("good"));
        assert_eq!(refused(r#"{"request_id": 7, "good": true}"#).param.as_deref(), Some("request_id"));
        assert_eq!(refused(r#"{"request_id": "a", "good": true, "sore": 1}"#).param.as_deref(), Some("sore"));
        assert!(refused("[1]").message.contains("JSON object"));
    }
}
