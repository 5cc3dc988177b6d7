//! What a request's headers say about its turn: `x-tollgate-caller`, an opaque name, and `x-tollgate-deadline-ms`, the
//! time from now after which the answer is of no use. Nothing else is decided by them, so they are taken on trust; what
//! cannot be read counts as not said.

use crate::scheduler::Order;
use hyper::HeaderMap;
use std::time::{Duration, Instant};

/// Who asks.
const CALLER: &str = "x-tollgate-caller";
/// Milliseconds left.
const DEADLINE_MS: &str = "x-tollgate-deadline-ms";
/// Longer names are cut: they are kept while the request waits.
const LONGEST_CALLER: usize = 128;

/// The turn a request asks for.
pub(super) fn of(headers: &HeaderMap) -> Order {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let caller = text(CALLER).unwrap_or_default().chars().take(LONGEST_CALLER).collect();
    let left = text(DEADLINE_MS).and_then(|left| left.parse().ok()).map(Duration::from_millis);
    Order { caller, deadline: left.and_then(|left| Instant::now().checked_add(left)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn what_is_not_said_or_not_readable_changes_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), Order::default());
        headers.insert(CALLER, HeaderValue::from_static("team-a"));
        headers.insert(DEADLINE_MS, HeaderValue::from_static("60000"));
        let order = of(&headers);
        assert_eq!(order.caller, "team-a");
        let left = order.deadline.unwrap() - Instant::now();
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
        headers.insert(DEADLINE_MS, HeaderValue::from_static("soon"));
        headers.insert(CALLER, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(of(&headers), Order::default());
    }
}
