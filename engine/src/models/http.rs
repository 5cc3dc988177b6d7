//! The HTTP client that files are fetched with: the system's TLS roots, the user's proxy, patient timeouts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Body, Proxy};
use url::Url;

use super::ModelError;

/// A transfer is cut and taken up again after this long, so that a stalled one cannot last for ever.
const BODY_AT_MOST: Duration = Duration::from_secs(120);
const PAGE_BYTES_AT_MOST: u64 = 64 * 1024 * 1024;

/// A client trusting the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` count) and `extra_roots`.
pub(crate) fn agent(extra_roots: Option<&Path>, proxy: Option<&str>) -> Result<Agent, ModelError> {
    let roots = roots(extra_roots)?;
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(roots))).build();
    let mut config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_recv_body(Some(BODY_AT_MOST));
    if let Some(proxy) = proxy {
        let proxy = Proxy::new(proxy)
            .map_err(|e| ModelError::NoIndex { detail: format!("pip's proxy setting: {e}") })?;
        config = config.proxy(Some(proxy));
    }
    Ok(config.build().new_agent())
}

fn roots(extra: Option<&Path>) -> Result<Vec<Certificate<'static>>, ModelError> {
    let mut found = rustls_native_certs::load_native_certs();
    if let Some(file) = extra {
        let more = rustls_native_certs::load_certs_from_paths(Some(file), None);
        found.certs.extend(more.certs);
        found.errors.extend(more.errors);
    }
    if found.certs.is_empty() {
        let detail =
            found.errors.first().map_or_else(|| "the system has none".to_owned(), ToString::to_string);
        return Err(ModelError::Certificates { detail });
    }
    found.certs.dedup();
    Ok(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}

/// A URL fit for messages: no user information, no query.
pub(crate) fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail only for URLs that cannot have user information in the first place.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// Sends one GET; the user information of the URL becomes basic authorization.
pub(crate) fn send(
    agent: &Agent,
    url: &Url,
    headers: &[(&str, &str)],
) -> Result<Response<Body>, ureq::Error> {
    let mut bare = url.clone();
    let mut request_headers: Vec<(&str, String)> =
        headers.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    if !url.username().is_empty() {
        request_headers.push(("authorization", basic_authorization(url)));
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
    }
    let mut request = agent.get(bare.as_str());
    for (name, value) in &request_headers {
        request = request.header(*name, value.as_str());
    }
    request.call()
}

fn basic_authorization(url: &Url) -> String {
    use base64::Engine;
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = format!("{}:{}", decode(url.username()), decode(url.password().unwrap_or_default()));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// Whether waiting and asking again may help.
pub(crate) fn worth_retrying(status: u16) -> bool {
    matches!(status, 408 | 425 | 429) || status >= 500
}

/// What a reader can do about a final status.
pub(crate) fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": the server wants authorization, or refuses yours",
        404 | 410 => ": there is no such file",
        407 => ": the proxy wants authorization",
        _ => "",
    }
}

/// A page of text and where it came from after redirects.
pub(crate) struct Page {
    pub(crate) text: String,
    pub(crate) content_type: String,
    pub(crate) url: Url,
}

/// Fetches a page of text; `None` if the server says there is none.
pub(crate) fn text_or_absent(
    agent: &Agent,
    url: &Url,
    headers: &[(&str, &str)],
) -> Result<Option<Page>, ModelError> {
    let mut failures = 0;
    loop {
        match send(agent, url, headers).and_then(|response| page(response, url)) {
            Ok((200, page)) => return Ok(Some(page)),
            Ok((404, _)) => return Ok(None),
            Ok((status, _)) if !worth_retrying(status) => {
                return Err(ModelError::Status { url: redacted(url), status, hint: hint(status) });
            }
            Ok((status, _)) => {
                failures += 1;
                if failures == ATTEMPTS {
                    return Err(ModelError::Status { url: redacted(url), status, hint: hint(status) });
                }
            }
            Err(source) => {
                failures += 1;
                if failures == ATTEMPTS {
                    return Err(ModelError::Network {
                        url: redacted(url),
                        attempts: ATTEMPTS,
                        source: Box::new(source),
                    });
                }
            }
        }
        std::thread::sleep(backoff(failures));
    }
}

fn page(response: Response<Body>, asked: &Url) -> Result<(u16, Page), ureq::Error> {
    use ureq::ResponseExt;
    let status = response.status().as_u16();
    let url = Url::parse(&response.get_uri().to_string()).unwrap_or_else(|_| asked.clone());
    let header = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = header.unwrap_or_default().to_owned();
    let text = response.into_body().into_with_config().limit(PAGE_BYTES_AT_MOST).read_to_string()?;
    Ok((status, Page { text, content_type, url }))
}

/// Failures in a row, none of which brought a byte, before giving up.
pub(crate) const ATTEMPTS: u32 = 5;

/// How long to wait after so many failures in a row: 0.25 s, doubling.
pub(crate) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(250) * 2u32.saturating_pow(failures.saturating_sub(1)).min(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_signatures_stay_out_of_messages() {
        let url = Url::parse("https://user:secret@index.example/simple/x/?sig=abc#frag").unwrap();
        assert_eq!(redacted(&url), "https://index.example/simple/x/");
        let escaped = Url::parse("https://us%40er:p%3Aw@index.example/").unwrap();
        assert_eq!(basic_authorization(&escaped), "Basic dXNAZXI6cDp3");
    }

    #[test]
    fn waiting_grows_and_is_bounded() {
        assert_eq!(backoff(1), Duration::from_millis(250));
        assert_eq!(backoff(3), Duration::from_secs(1));
        assert_eq!(backoff(60), Duration::from_secs(8));
    }
}
