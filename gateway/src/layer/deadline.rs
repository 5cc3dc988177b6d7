//! The caller's deadline: everything until the response's head must fit into it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Response;

use super::Inner;
use crate::call::Call;
use crate::headers::DEADLINE;
use crate::request::Body;
use crate::wire::error::Fault;

/// Reads the deadline, and drops the call when it passes; what it held is given back or settled by the drop.
///
/// # Errors
/// [`Fault::Invalid`] for a header that is no number of milliseconds, [`Fault::Deadline`], or the inner service's.
pub async fn deadline<S: Inner>(mut call: Call, mut next: S) -> Result<Response<Body>, Fault> {
    let Some(text) = call.header(DEADLINE) else { return next.call(call).await };
    let ms: u64 = text.trim().parse().ok().filter(|ms| *ms > 0).ok_or_else(|| {
        let message = format!("`{DEADLINE}` is a whole number of milliseconds of at least 1, not {text:?}");
        Fault::invalid(DEADLINE, "invalid_header", message)
    })?;
    let all = Duration::from_millis(ms);
    call.deadline = Some(all);
    let left = all.saturating_sub(call.began.elapsed());
    let fate = Arc::clone(&call.fate);
    let mut answer = pin!(next.call(call));
    tokio::select! {
        outcome = &mut answer => outcome,
        () = tokio::time::sleep(left) => {
            // Said before the drop, so that what it settles is put down to the deadline and not to the client.
            fate.pass_deadline();
            Err(Fault::Deadline { ms })
        }
    }
}
