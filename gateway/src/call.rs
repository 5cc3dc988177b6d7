//! One HTTP request on its way through the layers, typed: what each layer has found out is a field.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use hyper::body::Incoming;
use tollgate_engine::request_body::{ReadError, RequestBody};

use crate::keys::KeyRecord;
use crate::layer::admit::Seat;
use crate::ledger::now_ms;
use crate::operation::Operation;
use crate::wire::error::Fault;

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
    pub body: RequestBody,
    /// The key it came with, once authenticated.
    pub key: Option<Arc<KeyRecord>>,
    /// Its place among the requests being served, once admitted.
    pub seat: Option<Seat>,
    /// Time it has in all, once read from its header.
    pub deadline: Option<Duration>,
    /// How it ends, as far as that is known outside of the layer that knows.
    pub fate: Arc<Fate>,
}

/// What the layers and the booking of one request tell each other about its end, so that it is counted once and
/// under its true name.
#[derive(Debug, Default)]
pub struct Fate {
    counted: AtomicBool,
    too_late: AtomicBool,
}

impl Fate {
    /// Whether this is the first to count the request.
    #[must_use]
    pub fn count(&self) -> bool {
        !self.counted.swap(true, Ordering::Relaxed)
    }

    /// The deadline has passed: what is dropped from now on is dropped for that.
    pub fn pass_deadline(&self) {
        self.too_late.store(true, Ordering::Relaxed);
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn too_late(&self) -> bool {
        self.too_late.load(Ordering::Relaxed)
    }
}

impl Call {
    /// A request as it came in, with an id of its own.
    #[must_use]
    pub fn new(request: http::Request<Incoming>) -> Call {
        let (parts, body) = request.into_parts();
        let at_ms = now_ms();
        Call {
            id: request_id(at_ms),
            began: Instant::now(),
            at_ms,
            body: RequestBody::new(&parts, body),
            parts,
            key: None,
            seat: None,
            deadline: None,
            fate: Arc::default(),
        }
    }

    /// The whole body, once.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] if it is larger than `limit` bytes; [`Fault::Unread`] if the client breaks off.
    pub async fn read(&mut self, limit: usize) -> Result<Bytes, Fault> {
        self.body.read(limit).await.map_err(|error| match error {
            ReadError::TooLarge => Fault::TooLarge { limit },
            ReadError::Broken(error) => Fault::Unread(error),
        })
    }

    /// A header's text; `None` if it is absent or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Whether the call asks for an answer that costs money, which is what is counted.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        let path = self.parts.uri.path();
        let free = ["/v1/decision", "/v1/feedback"].contains(&path);
        self.parts.method == Method::POST && path.starts_with("/v1/") && !free
    }

    /// What is asked of a model.
    #[must_use]
    pub fn operation(&self) -> Operation {
        Operation::of(self.parts.uri.path())
    }

    /// A number in 0..1 that is this request's own: what is left to chance is drawn from its id, so that who knows the id
    /// can tell what was drawn.
    #[must_use]
    pub fn draw(&self) -> f64 {
        // The id ends in random hexadecimal digits; 13 of them are the 52 bits that a double can hold.
        let digits = self.id.get(self.id.len().saturating_sub(13)..).unwrap_or_default();
        u64::from_str_radix(digits, 16).map_or(0.0, |bits| bits as f64 / (1u64 << 52) as f64)
    }

    /// Time left until the deadline; `None` if there is none.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|all| all.saturating_sub(self.began.elapsed()))
    }
}

/// An id that no other request has. It begins with the time, so that the ledger's index grows at its end instead of all
/// over; 80 random bits follow.
fn request_id(at_ms: u64) -> String {
    let random: u128 = rand::random();
    format!("req_{at_ms:012x}{:020x}", random >> 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_one_length_and_in_the_order_of_time() {
        let (early, late) = (request_id(1_700_000_000_000), request_id(1_700_000_000_001));
        assert!(early < late && early.len() == 36 && late.len() == 36, "{early} {late}");
        assert_ne!(request_id(5), request_id(5));
    }
}
