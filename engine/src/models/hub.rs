//! Files of a model hub: `hf:owner/repo/file.gguf`, with `HF_ENDPOINT` and `HF_TOKEN` honoured.
//!
//! The hub announces the SHA-256 of large files in `x-linked-etag` on the answer that redirects to its storage,
//! so that answer is read before the redirect is followed. The token goes to the hub only, never to the storage.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use ureq::http::Response;
use ureq::{Agent, Body};
use url::Url;

use super::cache::{self, Cache, Stamp};
use super::download::Download;
use super::{ModelError, Progress, http};

const PUBLIC_HUB: &str = "https://huggingface.co";
const RENAMES_FOLLOWED: usize = 5;

/// A hub and who is asking.
#[derive(Clone)]
pub(crate) struct Hub {
    endpoint: String,
    token: Option<String>,
}

impl Hub {
    /// The hub of `HF_ENDPOINT`, asked with `HF_TOKEN` if it is set.
    pub(crate) fn of_user() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { endpoint: set("HF_ENDPOINT").unwrap_or_else(|| PUBLIC_HUB.to_owned()), token: set("HF_TOKEN") }
    }

    /// The hub at `endpoint`.
    #[cfg(test)]
    pub(crate) fn at(endpoint: &str, token: Option<&str>) -> Self {
        Self { endpoint: endpoint.to_owned(), token: token.map(str::to_owned) }
    }
}

/// One file of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubFile {
    owner: String,
    repo: String,
    file: String,
}

/// What the hub says about a file before sending it.
struct Announcement {
    url: Url,
    sha256: Option<String>,
    bytes: Option<u64>,
}

impl HubFile {
    /// Reads `hf:owner/repo/path/file.gguf`; `None` if the text does not begin with `hf:`.
    pub(crate) fn parse(reference: &str) -> Result<Option<Self>, ModelError> {
        let Some(path) = reference.strip_prefix("hf:") else { return Ok(None) };
        let mut segments = path.splitn(3, '/');
        let plain = |text: &&str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./+".contains(c))
                && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
        };
        let mut next = || segments.next().filter(plain).map(str::to_owned);
        match (next(), next(), next()) {
            (Some(owner), Some(repo), Some(file)) if file.ends_with(".gguf") => {
                Ok(Some(Self { owner, repo, file }))
            }
            _ => Err(ModelError::BadReference { reference: reference.to_owned() }),
        }
    }

    /// Where the file is or would be.
    pub(crate) fn path_in(&self, cache: &Cache) -> PathBuf {
        cache.model("hf").join(&self.owner).join(&self.repo).join(&self.file)
    }

    /// Fetches the file unless it is there already.
    pub(crate) fn pull(
        &self,
        cache: &Cache,
        hub: &Hub,
        progress: &dyn Progress,
    ) -> Result<PathBuf, ModelError> {
        let target = self.path_in(cache);
        if Stamp::valid(&target).is_some() {
            return Ok(target);
        }
        let lock = cache.lock(&format!("hf-{}-{}-{}", self.owner, self.repo, self.file.replace('/', "-")))?;
        if Stamp::valid(&target).is_some() {
            return Ok(target);
        }
        let agent = http::agent(None, None)?;
        let announced = self.announced(&agent, hub)?;
        if announced.sha256.is_none() {
            progress
                .note(&format!("the hub announces no SHA-256 for {}: only its length is checked", self.file));
        }
        let to = lock.folder().join("file.gguf");
        cache::require_space(lock.folder(), announced.bytes.unwrap_or(0))?;
        progress.begin(&self.file, announced.bytes.unwrap_or(0));
        let authorization = hub.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        let download = Download {
            agent: &agent,
            url: &announced.url,
            headers: &headers,
            to: &to,
            bytes: announced.bytes,
            sha256: announced.sha256.as_deref(),
            stop: &AtomicBool::new(false),
            progress,
        };
        if let Some(digest) = download.run()? {
            progress.finish();
            cache::publish(&to, &target)?;
            Stamp::write(&target, &digest, None);
            lock.clear()?;
        }
        Ok(target)
    }

    /// Asks the hub about the file, following renames of the repository but not the redirect to storage.
    fn announced(&self, agent: &Agent, hub: &Hub) -> Result<Announcement, ModelError> {
        let endpoint = hub.endpoint.trim_end_matches('/');
        let text = format!("{endpoint}/{}/{}/resolve/main/{}", self.owner, self.repo, self.file);
        let bad = |detail: String| ModelError::BadIndexPage { url: endpoint.to_owned(), detail };
        let mut url = Url::parse(&text).map_err(|e| bad(format!("HF_ENDPOINT: {e}")))?;
        for _ in 0..RENAMES_FOLLOWED {
            let response = head(agent, &url, hub.token.as_deref())?;
            let status = response.status().as_u16();
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let location = header("location");
            match (status, location) {
                (300..=399, Some(renamed)) if Url::parse(renamed).is_err() => {
                    url = url.join(renamed).map_err(|e| bad(e.to_string()))?;
                }
                (200..=399, _) => {
                    let linked = header("x-linked-etag").or_else(|| header("etag"));
                    let size = header("x-linked-size")
                        .or_else(|| header("content-length").filter(|_| status == 200));
                    let bytes = size.and_then(|text| text.parse().ok());
                    return Ok(Announcement { sha256: linked.and_then(sha256_of_etag), bytes, url });
                }
                _ => {
                    return Err(ModelError::Status {
                        url: http::redacted(&url),
                        status,
                        hint: hub_hint(status),
                    });
                }
            }
        }
        Err(bad("the repository was renamed too often".to_owned()))
    }
}

fn head(agent: &Agent, url: &Url, token: Option<&str>) -> Result<Response<Body>, ModelError> {
    let mut failures = 0;
    loop {
        let mut request =
            agent.head(url.as_str()).config().max_redirects(0).max_redirects_will_error(false).build();
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        match request.call() {
            Ok(response) if !http::worth_retrying(response.status().as_u16()) => return Ok(response),
            Ok(response) => {
                failures += 1;
                let status = response.status().as_u16();
                if failures == http::ATTEMPTS {
                    return Err(ModelError::Status {
                        url: http::redacted(url),
                        status,
                        hint: hub_hint(status),
                    });
                }
            }
            Err(source) => {
                failures += 1;
                if failures == http::ATTEMPTS {
                    let (url, attempts) = (http::redacted(url), failures);
                    return Err(ModelError::Network { url, attempts, source: Box::new(source) });
                }
            }
        }
        std::thread::sleep(http::backoff(failures));
    }
}

fn hub_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            ": the repository is gated, private or does not exist; accept its terms on the hub and set HF_TOKEN to a token that may read it"
        }
        404 => ": the repository has no such file on its main branch",
        _ => "",
    }
}

/// The SHA-256 in an entity tag, if it is one: other tags are Git object names, which are shorter.
fn sha256_of_etag(tag: &str) -> Option<String> {
    let bare = tag.trim_start_matches("W/").trim_matches('"');
    (bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| bare.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_strictly() {
        let file = HubFile::parse("hf:Qwen/Qwen3-GGUF/q4/model.gguf").unwrap().unwrap();
        assert_eq!(
            (file.owner.as_str(), file.repo.as_str(), file.file.as_str()),
            ("Qwen", "Qwen3-GGUF", "q4/model.gguf")
        );
        assert_eq!(HubFile::parse("model.gguf").unwrap(), None);
        for bad in [
            "hf:",
            "hf:a/b",
            "hf:a/b/c.bin",
            "hf:a/../c.gguf",
            "hf:a/b/../../c.gguf",
            "hf:a/b/c?x.gguf",
            "hf://c.gguf",
        ] {
            assert!(HubFile::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_sha256_is_taken_for_one() {
        let sha = "a".repeat(64);
        assert_eq!(sha256_of_etag(&format!("\"{sha}\"")), Some(sha.clone()));
        assert_eq!(sha256_of_etag(&format!("W/\"{sha}\"")), Some(sha));
        assert_eq!(sha256_of_etag("\"0123456789012345678901234567890123456789\""), None);
    }
}
