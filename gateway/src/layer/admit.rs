//! Admission: no more requests at once than configured, none while shutting down.
//!
//! Only what costs something is admitted; health, metrics and the model list always answer. The seat travels
//! with the call and, for a stream, into the response's body: it is freed when the last byte has gone.

use std::sync::Arc;

use http::{Method, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::Inner;
use crate::app::App;
use crate::call::Call;
use crate::metrics::Metrics;
use crate::request::Body;
use crate::wire::error::Fault;

/// A place among the requests being served.
pub struct Seat {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seat")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.ended();
    }
}

/// Gives the call a seat or turns it away.
///
/// # Errors
/// [`Fault::Draining`], [`Fault::Overloaded`], or the inner service's.
pub async fn admit<S: Inner>(app: Arc<App>, mut call: Call, mut next: S) -> Result<Response<Body>, Fault> {
    if call.parts.method == Method::POST {
        if app.draining() {
            return Err(Fault::Draining);
        }
        let permit = Arc::clone(&app.seats).try_acquire_owned().map_err(|_| Fault::Overloaded)?;
        app.metrics.begun();
        call.seat = Some(Seat { _permit: permit, metrics: Arc::clone(&app.metrics) });
    }
    next.call(call).await
}
