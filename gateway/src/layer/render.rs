//! Error rendering: the one place where a fault becomes a response, a log line and a count.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use http::Response;

use super::Inner;
use crate::app::App;
use crate::call::Call;
use crate::metrics::Done;
use crate::request::Body;
use crate::wire::error::{Fault, Origin};
use crate::wire::openai;

/// Renders the fault of what is inside, if it has one.
///
/// # Errors
/// None.
pub async fn render<S: Inner>(app: Arc<App>, call: Call, mut next: S) -> Result<Response<Body>, Infallible> {
    let (began, fate, paid) = (call.began, Arc::clone(&call.fate), call.is_paid());
    let operation = call.operation().name();
    let fault = match next.call(call).await {
        Ok(response) => return Ok(response),
        Err(fault) => fault,
    };
    let notice = fault.notice();
    // A fault after money was reserved has been counted by its booking, which knows the model and the waiting.
    if paid && fate.count() {
        let total = began.elapsed();
        let refused = Done { operation, status: notice.code, overhead: total, total, ..Done::default() };
        app.metrics.done(&refused);
    }
    let (status, code) = (notice.status.as_u16(), notice.code);
    let cause = chain(&fault);
    match notice.origin {
        Origin::Client => tracing::info!(status, code, cause, "refused"),
        Origin::Gateway | Origin::Upstream => tracing::error!(status, code, cause, "failed"),
    }
    Ok(openai::render(&fault))
}

/// The fault and its causes, for the log only.
fn chain(fault: &Fault) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
