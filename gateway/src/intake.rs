//! Reading a request's body, once, up to a limit.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::wire::error::Fault;

/// The whole body. A body that states a length over the limit is refused before any of it is read.
///
/// # Errors
/// [`Fault::TooLarge`]; [`Fault::Unread`] if the client breaks off.
pub async fn read(body: &mut Incoming, limit: usize) -> Result<Bytes, Fault> {
    let stated = body.size_hint().lower();
    if stated > limit as u64 {
        return Err(Fault::TooLarge { limit });
    }
    let Some(first) = next(body).await? else { return Ok(Bytes::new()) };
    if first.len() as u64 == stated && body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len().max(usize::try_from(stated).unwrap_or(0)));
    whole.extend_from_slice(&first);
    while let Some(more) = next(body).await? {
        if whole.len() + more.len() > limit {
            return Err(Fault::TooLarge { limit });
        }
        whole.extend_from_slice(&more);
    }
    if whole.len() > limit { Err(Fault::TooLarge { limit }) } else { Ok(whole.freeze()) }
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Fault::Unread)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
