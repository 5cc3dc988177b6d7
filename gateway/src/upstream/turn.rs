//! What a worker of Tollgate's own orders its waiting requests by: who asks, and how long the answer is of use.

use http::HeaderValue;
use http::request::Builder;
use std::time::Instant;

/// The worker gives callers their turn by this name.
const CALLER: &str = "x-tollgate-caller";
/// Milliseconds from now.
const DEADLINE_MS: &str = crate::headers::DEADLINE;

/// Whose turn a request takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn<'a> {
    /// Any name that is one caller's own; requests without share one.
    pub caller: Option<&'a str>,
    /// When the answer is of no use any more.
    pub deadline: Option<Instant>,
}

impl Turn<'_> {
    /// Says it in a request's headers.
    pub(super) fn put(self, mut request: Builder) -> Builder {
        if let Some(caller) = self.caller.and_then(|caller| HeaderValue::from_str(caller).ok()) {
            request = request.header(CALLER, caller);
        }
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            request = request.header(DEADLINE_MS, u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_known_is_said() {
        let nothing = Turn::default().put(http::Request::post("/")).body(()).unwrap();
        assert!(nothing.headers().is_empty());
        let deadline = Instant::now().checked_add(Duration::from_secs(5));
        let turn = Turn { caller: Some("key_1"), deadline };
        let request = turn.put(http::Request::post("/")).body(()).unwrap();
        assert_eq!(request.headers()[CALLER], "key_1");
        let left: u64 = request.headers()[DEADLINE_MS].to_str().unwrap().parse().unwrap();
        assert!((4_000..=5_000).contains(&left), "{left}");
    }
}
