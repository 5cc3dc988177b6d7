//! Observation: a span for the log, and the request's id on its response.

use std::convert::Infallible;

use http::{HeaderName, HeaderValue, Response};
use tower::Service;
use tracing::Instrument;

use crate::call::Call;
use crate::request::Body;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-request-id");

/// Logs the request and names it to the client.
///
/// # Errors
/// None: what is inside has rendered its faults.
pub async fn observe<S>(call: Call, mut next: S) -> Result<Response<Body>, Infallible>
where
    S: Service<Call, Response = Response<Body>, Error = Infallible, Future: Send> + Send,
{
    let (id, began) = (HeaderValue::from_str(&call.id), call.began);
    let span = tracing::info_span!("request", id = call.id);
    let (method, path) = (call.parts.method.clone(), call.parts.uri.path().to_owned());
    async move {
        let mut response = next.call(call).await?;
        if let Ok(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        tracing::debug!(%method, path, status = response.status().as_u16(), ms, "answered");
        Ok(response)
    }
    .instrument(span)
    .await
}
