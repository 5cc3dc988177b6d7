//! Harness for the integration tests: it runs the real `tollgate` binary in a directory of its own,
//! on a port of its own, in front of scripted upstreams, and speaks to it as a client would.
//!
//! Nothing here links the gateway: what a test sees is what a user sees. Every wait is for an event and
//! bounded by [`within`], so a fault ends as a message with the gateway's log, never as a hang.
#![expect(clippy::panic, reason = "a harness reports a failed expectation by panicking")]

pub mod client;
pub mod gateway;
pub mod home;
pub mod metrics;
pub mod parts;
pub mod postgres;
pub mod sse;
pub mod upstream;

use std::future::Future;
use std::time::Duration;

/// The longest any single wait of a test may take. It only bounds a hang: far above what a two-core machine needs that is busy with
/// much else.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Awaits `future`, or fails the test with `what` after [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}
