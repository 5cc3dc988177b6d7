//! Request headers with a meaning here, and what is refused of them.
//!
//! What a header's value means is read where it is used; here stands that none is passed over in silence.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use tollgate_policies::diagnostic::nearest;

use crate::wire::error::Fault;

/// Tags, for rules and budgets.
pub(crate) const TAGS: &str = "x-tollgate-tags";
/// Most the request may cost.
pub(crate) const MAX_COST: &str = "x-tollgate-max-cost-usd";
/// Share of the baseline's quality wanted.
pub(crate) const QUALITY: &str = "x-tollgate-quality";
/// Whether the whole decision is sent back.
pub(crate) const EXPLAIN: &str = "x-tollgate-explain";
/// The agent run.
pub(crate) const RUN: &str = "x-tollgate-run";
/// What other gateways call it.
pub(crate) const SESSION: &str = "x-session-id";
/// Time the caller gives, milliseconds.
pub(crate) const DEADLINE: &str = "x-tollgate-deadline-ms";
/// Every request header with a meaning here.
const HEADERS: [&str; 7] = [TAGS, MAX_COST, QUALITY, EXPLAIN, RUN, SESSION, DEADLINE];

/// Refuses headers that would otherwise be passed over in silence: a limit that was misspelt is no limit.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Fault> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        let message = format!("the body must not be compressed, `content-encoding` is {encoding:?}");
        return Err(invalid(CONTENT_ENCODING.as_str(), message));
    }
    for (name, value) in headers {
        let name = name.as_str();
        if HEADERS.contains(&name) {
            if value.to_str().is_err() {
                return Err(invalid(name, format!("`{name}` may hold visible ASCII characters only")));
            }
            if headers.get_all(name).iter().nth(1).is_some() {
                return Err(invalid(name, format!("`{name}` was sent more than once")));
            }
        } else if name.starts_with("x-tollgate-")
            && let Some(meant) = misspelt(name)
        {
            let message = format!("there is no request header `{name}`; did you mean `{meant}`?");
            return Err(invalid(name, message));
        }
    }
    Ok(())
}

/// The header that an unknown one is most likely meant to be; what a response carries may be sent back unread.
fn misspelt(name: &str) -> Option<&'static str> {
    const OF_RESPONSES: [&str; 10] = [
        "request-id",
        "model",
        "route",
        "reason",
        "difficulty",
        "estimate-usd",
        "cost-usd",
        "saved-usd",
        "budget-remaining-usd",
        "overhead-us",
    ];
    let word = name.strip_prefix("x-tollgate-")?;
    let known = HEADERS.iter().filter_map(|header| header.strip_prefix("x-tollgate-"));
    let meant = nearest(word, known).filter(|_| !OF_RESPONSES.contains(&word))?;
    HEADERS.into_iter().find(|header| header.strip_prefix("x-tollgate-") == Some(meant))
}

/// A header that is not what it must be.
pub(crate) fn invalid(header: &str, message: String) -> Fault {
    Fault::invalid(header, "invalid_header", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_would_be_passed_over_are_refused() {
        let refused = |name: &'static str, value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_bytes(value).unwrap());
            check(&headers).err().map(|fault| fault.to_string()).unwrap_or_default()
        };
        assert!(refused("x-tollgate-max-cost", b"1").contains("did you mean `x-tollgate-max-cost-usd`?"));
        assert!(refused("x-tollgate-tag", b"team=a").contains("`x-tollgate-tags`"));
        assert!(refused("x-tollgate-deadline", b"5").contains("`x-tollgate-deadline-ms`"));
        assert!(refused("x-tollgate-tags", "team=Zürich".as_bytes()).contains("visible ASCII"));
        assert!(refused("content-encoding", b"gzip").contains("compressed"));
        assert_eq!(refused("content-encoding", b"identity"), "");
        for passed in
            ["x-tollgate-request-id", "x-tollgate-cost-usd", "x-tollgate-zzz", "x-other", "x-tollgate-run"]
        {
            assert_eq!(refused(passed, b"1"), "", "{passed}");
        }
        let mut twice = HeaderMap::new();
        twice.append(MAX_COST, http::HeaderValue::from_static("1"));
        twice.append(MAX_COST, http::HeaderValue::from_static("2"));
        assert!(check(&twice).unwrap_err().to_string().contains("more than once"));
    }
}
