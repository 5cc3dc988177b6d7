//! One HTTP request on its way through the layers, typed: what each layer has found out is a field.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use hyper::body::Incoming;

use crate::keys::KeyRecord;
use crate::layer::admit::Seat;
use crate::ledger::now_ms;

/// A request and what is known of it before its body is read.
#[derive(Debug)]
pub struct Call {
    /// Name of this request in headers, log and ledger.
    pub id: String,
    /// When it came in.
    pub began: Instant,
    /// The same as Unix time, milliseconds.
    pub at_ms: u64,
    /// Method, path, headers.
    pub parts: Parts,
    /// The body, unread.
    pub body: Incoming,
    /// The key it came with, once authenticated.
    pub key: Option<Arc<KeyRecord>>,
    /// Its place among the requests being served, once admitted.
    pub seat: Option<Seat>,
    /// Time it has in all, once read from its header.
    pub deadline: Option<Duration>,
}

impl Call {
    /// A request as it came in, with an id of its own.
    #[must_use]
    pub fn new(request: http::Request<Incoming>) -> Call {
        let (parts, body) = request.into_parts();
        let id = format!("req_{:032x}", rand::random::<u128>());
        Call {
            id,
            began: Instant::now(),
            at_ms: now_ms(),
            parts,
            body,
            key: None,
            seat: None,
            deadline: None,
        }
    }

    /// A header's text; `None` if it is absent or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Time left until the deadline; `None` if there is none.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|all| all.saturating_sub(self.began.elapsed()))
    }
}
