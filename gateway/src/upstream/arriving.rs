//! The body of an engine's answer, with the place that its request has in the engine's process.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tollgate_engine::supervisor::Lease;

use super::probe::Sent;

/// An answer on its way. While it is there, its engine is not stopped on purpose.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    _lease: Option<Lease>,
    /// It is counted among the requests in its engine meanwhile.
    _sent: Option<Sent>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, lease: Option<Lease>, sent: Option<Sent>) -> Arriving {
        Arriving { body, _lease: lease, _sent: sent }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
