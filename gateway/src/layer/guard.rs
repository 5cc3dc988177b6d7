//! The panic guard: a defect costs one request, not the connection.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use http::Response;

use super::Inner;
use crate::call::Call;
use crate::request::Body;
use crate::wire::error::{Defect, Fault};

/// Turns a panic inside into a fault. What the request held is given back as it unwinds.
///
/// # Errors
/// [`Fault::Internal`] for a panic, or the inner service's.
pub async fn guard<S: Inner>(call: Call, mut next: S) -> Result<Response<Body>, Fault> {
    // Nothing the request shares is left half-changed by unwinding: shared state is behind short locks of its own.
    match AssertUnwindSafe(async move { next.call(call).await }).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Err(Fault::Internal(Defect::Panic(message(panic.as_ref())))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}
