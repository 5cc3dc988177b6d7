//! Authentication: the key of every call to the API; health and metrics are open.

use std::sync::Arc;

use http::Response;
use http::header::AUTHORIZATION;

use super::Inner;
use crate::app::App;
use crate::call::Call;
use crate::keys::{KeyError, PREFIX};
use crate::request::Body;
use crate::wire::error::Fault;

/// Looks up the key that came with the call; one that is not known may have been made a moment ago.
///
/// # Errors
/// [`Fault::Key`] for a missing key where one is needed and for a bad one; else the inner service's.
pub async fn authenticate<S: Inner>(
    app: Arc<App>,
    mut call: Call,
    mut next: S,
) -> Result<Response<Body>, Fault> {
    if call.parts.uri.path().starts_with("/v1/") {
        let presented = call.header("authorization").and_then(bearer).or_else(|| call.header("x-api-key"));
        let mut admitted = app.keys.admit(presented, call.at_ms);
        if matches!(admitted, Err(KeyError::Unknown)) && presented.is_some_and(|key| key.starts_with(PREFIX))
        {
            app.key_watch.look().await;
            admitted = app.keys.admit(presented, call.at_ms);
        }
        call.key = admitted.map_err(|error| match error {
            KeyError::Missing if call.parts.headers.contains_key(AUTHORIZATION) => {
                Fault::Key(KeyError::NotBearer)
            }
            error => Fault::Key(error),
        })?;
    }
    next.call(call).await
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_are_found() {
        assert_eq!(bearer("Bearer tg-1"), Some("tg-1"));
        assert_eq!(bearer(" bearer  tg-1 "), Some("tg-1"));
        assert_eq!(bearer("Basic eDp5"), None);
    }
}
