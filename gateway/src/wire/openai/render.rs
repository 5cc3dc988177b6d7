//! Errors in OpenAI's shape: the one place where a [`Notice`] becomes bytes.
//!
//! As a response before an answer has begun, as a terminal event inside a stream after it has.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Response, StatusCode};
use serde::Serialize;

use crate::request::Body;
use crate::wire::error::{Fault, Notice, Retry};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[derive(Serialize)]
struct Envelope<'a> {
    error: Shown<'a>,
}

#[derive(Serialize)]
struct Shown<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

fn json(notice: &Notice) -> Vec<u8> {
    let error = Shown {
        message: &notice.message,
        kind: notice.kind,
        param: notice.param.as_deref(),
        code: notice.code,
    };
    // Strings only: this cannot fail, and an empty body would still carry the status.
    serde_json::to_vec(&Envelope { error }).unwrap_or_default()
}

/// The response for a fault.
#[must_use]
pub fn render(fault: &Fault) -> Response<Body> {
    let notice = fault.notice();
    let mut response = Response::new(Body::full(json(&notice)));
    *response.status_mut() = notice.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match notice.retry {
        Retry::Never => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        Retry::After(seconds) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        Retry::Unsaid => {}
    }
    if let Fault::Method { allow } = fault {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if notice.status == StatusCode::UNAUTHORIZED {
        headers.insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The end of a stream that cannot go on: an error event, then the usual terminator.
#[must_use]
pub fn sse_error(notice: &Notice) -> Bytes {
    let mut event = b"data: ".to_vec();
    event.extend_from_slice(&json(notice));
    event.extend_from_slice(b"\n\ndata: [DONE]\n\n");
    Bytes::from(event)
}
