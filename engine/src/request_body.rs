//! A request's body as it comes in: read once, up to a limit, and never left in a client's way.
//!
//! A refused request is often answered while its client is still writing. To close the connection then would reset it,
//! and the client would see a broken pipe instead of the answer. So what is unread when the body is dropped is read
//! and thrown away for a while, and the connection serves on.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::EXPECT;
use hyper::http::request::Parts;
use thiserror::Error;
use tokio::runtime::Handle;

/// Time the rest of an unread body has to come in.
const REST_TIME: Duration = Duration::from_secs(5);
/// Bytes of it that are thrown away at most.
const REST_BYTES: usize = 64 << 20;

/// The body of a request, unread.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Option<Incoming>,
    /// The client waits to be told before it sends the body: the answer tells it not to.
    asks_first: bool,
}

/// Why a body was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It is larger than the limit.
    #[error("the request body is too large")]
    TooLarge,
    /// The client broke off.
    #[error("the request body could not be read: {0}")]
    Broken(#[source] hyper::Error),
}

impl RequestBody {
    /// What came in behind the head `parts`.
    #[must_use]
    pub fn new(parts: &Parts, incoming: Incoming) -> RequestBody {
        RequestBody { incoming: Some(incoming), asks_first: parts.headers.contains_key(EXPECT) }
    }

    /// The whole body; empty if it was read before. One that states a length over `limit` bytes is refused before any
    /// of it is read.
    ///
    /// # Errors
    /// [`ReadError`]
    pub async fn read(&mut self, limit: usize) -> Result<Bytes, ReadError> {
        let Some(incoming) = &mut self.incoming else { return Ok(Bytes::new()) };
        let whole = collect(incoming, limit).await?;
        self.incoming = None;
        Ok(whole)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|rest| !rest.is_end_stream() && !self.asks_first);
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(REST_TIME, discard(rest)));
        }
    }
}

async fn collect(incoming: &mut Incoming, limit: usize) -> Result<Bytes, ReadError> {
    let stated = incoming.size_hint().lower();
    if stated > limit as u64 {
        return Err(ReadError::TooLarge);
    }
    let Some(first) = next(incoming).await? else { return Ok(Bytes::new()) };
    if first.len() as u64 == stated && incoming.is_end_stream() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len().max(usize::try_from(stated).unwrap_or(0)));
    whole.extend_from_slice(&first);
    while let Some(more) = next(incoming).await? {
        if whole.len() + more.len() > limit {
            return Err(ReadError::TooLarge);
        }
        whole.extend_from_slice(&more);
    }
    if whole.len() > limit { Err(ReadError::TooLarge) } else { Ok(whole.freeze()) }
}

async fn discard(mut rest: Incoming) {
    let mut read = 0;
    while read <= REST_BYTES
        && let Ok(Some(bytes)) = next(&mut rest).await
    {
        read += bytes.len();
    }
}

async fn next(incoming: &mut Incoming) -> Result<Option<Bytes>, ReadError> {
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame.map_err(ReadError::Broken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
