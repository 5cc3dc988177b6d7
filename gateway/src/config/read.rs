//! Reading `tollgate.toml`: every problem at once, each at its place.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate_policies::{Diagnostics, Document, Table};

use super::price::PriceList;
use super::{
    Config, ConfigError, Overrides, PolicyFiles, Router, SecretRef, Server, SharedMemory, command,
    default_data_dir, embedded, engine, model,
};
use crate::content::{ContentLog, Keep};
use crate::keys::Auth;

/// Reads a file; relative paths in it are meant from its folder.
pub(super) fn file(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
        help: "--config names the configuration file; without it and without ./tollgate.toml the embedded default runs",
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    let raw = document(&path.to_string_lossy(), &text, base)?;
    Ok(Config {
        server: raw.server,
        data_dir: raw.data_dir.map_or_else(default_data_dir, Ok)?,
        ledger_url: raw.ledger_url.unwrap_or_else(|| embedded::LEDGER_URL.to_owned()),
        keep_days: raw.keep_days,
        content: raw.content,
        router: raw.router,
        engines: raw.engines,
        shared: raw.shared,
        models: raw.models,
        policies: raw.policies,
        webhook: raw.webhook,
        overrides: Overrides::default(),
    })
}

/// What the file says, before the defaults that depend on the machine.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) server: Server,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) ledger_url: Option<String>,
    pub(super) keep_days: Option<u64>,
    pub(super) content: ContentLog,
    pub(super) router: Router,
    pub(super) engines: Vec<engine::Engine>,
    pub(super) shared: SharedMemory,
    pub(super) models: Vec<model::ModelEntry>,
    pub(super) policies: PolicyFiles,
    pub(super) webhook: Option<SecretRef>,
}

/// Reads a text; `name` is what diagnostics call it.
pub(super) fn document(name: &str, text: &str, base: &Path) -> Result<Raw, Diagnostics> {
    let document = Document::parse(name, text)?;
    let root = document.root();
    let (server, data_dir) = server(&root, base);
    let (ledger_url, keep_days) = ledger(&root);
    let content = content(&root);
    let router = router(&root, base);
    let policies = policies(&root, base);
    let webhook = webhook(&root);
    let shared = shared(&root);
    let engines = engine::engines(&root, base, shared.memory_mb.is_some());
    let names: Vec<String> = root.tables("engine").iter().filter_map(named).collect();
    let prices = PriceList::read(&root, base);
    let models = model::models(&root, (&names, &engines), &prices);
    if root.tables("model").is_empty() {
        let help =
            "a [[model]] has a name, an engine and a price; tollgate.example.toml shows one".to_owned();
        document.problem(0..0, "there is no [[model]], so nothing could answer", Some(help));
    }
    root.finish();
    let problems = document.finish().err().unwrap_or_default().0;
    let problems: Vec<_> = problems.into_iter().chain(prices.problems).collect();
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    Ok(Raw {
        server,
        data_dir,
        ledger_url,
        keep_days,
        content,
        router,
        engines,
        shared,
        models,
        policies,
        webhook,
    })
}

/// `[engines]`: what engines with a process share.
fn shared(root: &Table<'_>) -> SharedMemory {
    let mut shared = SharedMemory::default();
    let Some(table) = root.opt_table("engines") else { return shared };
    shared.memory_mb = command::megabytes(&table);
    let seconds =
        table.opt_integer("min_resident_s", 0..=86_400).and_then(|seconds| u64::try_from(seconds).ok());
    shared.min_resident = seconds.map_or(shared.min_resident, Duration::from_secs);
    table.finish();
    shared
}

/// The name of an engine whether or not the rest of it is sound, so that one mistake is told once.
fn named(table: &Table<'_>) -> Option<String> {
    table.has("name").then(|| table.string("name")).flatten()
}

fn server(root: &Table<'_>, base: &Path) -> (Server, Option<PathBuf>) {
    let mut server = Server::default();
    let Some(table) = root.opt_table("server") else { return (server, None) };
    if let Some(text) = table.opt_string("listen") {
        match text.parse::<SocketAddr>() {
            Ok(listen) => server.listen = listen,
            Err(_) => table.problem(
                "listen",
                format!("{text:?} is not an address and port"),
                Some("for example \"127.0.0.1:8080\", or \"0.0.0.0:8080\" for every interface".to_owned()),
            ),
        }
    }
    server.auth = table.opt_one_of("auth", &[("required", Auth::Required), ("optional", Auth::Optional)]);
    let bytes = table.opt_integer("max_body_bytes", 1024..=1_073_741_824);
    server.max_body_bytes = bytes.and_then(|n| usize::try_from(n).ok()).unwrap_or(server.max_body_bytes);
    let requests = table.opt_integer("max_in_flight", 1..=1_000_000);
    server.max_in_flight = requests.and_then(|n| usize::try_from(n).ok()).unwrap_or(server.max_in_flight);
    let tokens = table.opt_integer("default_max_tokens", 1..=1_048_576);
    server.default_max_tokens =
        tokens.and_then(|n| u64::try_from(n).ok()).unwrap_or(server.default_max_tokens);
    for (key, timeout) in [
        ("connect_timeout_ms", &mut server.connect_timeout),
        ("first_byte_timeout_ms", &mut server.first_byte_timeout),
        ("idle_timeout_ms", &mut server.idle_timeout),
        ("drain_timeout_ms", &mut server.drain_timeout),
    ] {
        if let Some(ms) = table.opt_integer(key, 1..=86_400_000).and_then(|ms| u64::try_from(ms).ok()) {
            *timeout = Duration::from_millis(ms);
        }
    }
    let data_dir = table.opt_string("data_dir").map(|path| base.join(path));
    table.finish();
    (server, data_dir)
}

/// Longest time that receipts can be kept whole, days.
const MOST_DAYS: i64 = 36_500;

/// The url, and for how many days receipts are kept whole.
fn ledger(root: &Table<'_>) -> (Option<String>, Option<u64>) {
    let Some(table) = root.opt_table("ledger") else { return (None, None) };
    let url = table.opt_string("url");
    let known = |url: &str| {
        let file = url.strip_prefix("sqlite:").is_some_and(|file| !file.is_empty());
        file || url.starts_with("postgres://")
            || url.starts_with("postgresql://")
            || SecretRef::parse(url).is_some()
    };
    if url.as_deref().is_some_and(|url| !known(url)) {
        let help = "write \"sqlite:FILE\", relative to the data directory, or \"postgres://…\", best as \"env:NAME\"";
        table.problem("url", "`url` is not that of a ledger", Some(help.to_owned()));
    }
    let keep_days = table.opt_integer("keep_days", 1..=MOST_DAYS).and_then(|days| u64::try_from(days).ok());
    table.finish();
    (url, keep_days)
}

/// Which prompts and answers are kept, and for how long.
fn content(root: &Table<'_>) -> ContentLog {
    let mut content = ContentLog::default();
    let Some(table) = root.opt_table("content") else { return content };
    let kinds = [("off", Keep::Nothing), ("escalated", Keep::Escalated), ("all", Keep::All)];
    content.keep = table.one_of("keep", &kinds).unwrap_or_default();
    let days = table.opt_integer("days", 1..=MOST_DAYS).and_then(|days| u64::try_from(days).ok());
    content.days = days.unwrap_or(content.days);
    table.finish();
    content
}

fn router(root: &Table<'_>, base: &Path) -> Router {
    let mut router = Router::default();
    let Some(table) = root.opt_table("router") else { return router };
    router.onnxruntime = table.opt_string("onnxruntime").map(|path| base.join(path));
    let sessions = table.opt_integer("sessions", 1..=256).and_then(|n| usize::try_from(n).ok());
    router.calibration = table.opt_string("calibration").map(|path| base.join(path));
    router.sessions = sessions.unwrap_or(router.sessions);
    let remember = table.opt_integer("remember", 0..=10_000_000).and_then(|n| usize::try_from(n).ok());
    router.remember = remember.unwrap_or(router.remember);
    table.finish();
    router
}

fn webhook(root: &Table<'_>) -> Option<SecretRef> {
    let table = root.opt_table("alerts")?;
    let webhook = table.string("webhook").and_then(|text| secret(&table, "webhook", "its address", &text));
    table.finish();
    webhook
}

/// Where a secret is, told if it is the secret itself.
pub(super) fn secret(table: &Table<'_>, key: &str, what: &str, text: &str) -> Option<SecretRef> {
    let reference = SecretRef::parse(text);
    if reference.is_none() {
        let help = "write \"env:NAME\" or \"file:PATH\": secrets do not belong in this file".to_owned();
        table.problem(key, format!("`{key}` must say where {what} is"), Some(help));
    }
    reference
}

fn policies(root: &Table<'_>, base: &Path) -> PolicyFiles {
    let Some(table) = root.opt_table("policies") else { return PolicyFiles::default() };
    let files = table.opt_strings("files").unwrap_or_default();
    let default = table.opt_string("default");
    table.finish();
    PolicyFiles { paths: files.iter().map(|file| base.join(file)).collect(), default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_sound() {
        let text = include_str!("../../../tollgate.example.toml");
        let raw = document("tollgate.example.toml", text, Path::new("")).unwrap();
        assert_eq!((raw.engines.len(), raw.models.len(), raw.policies.paths.len()), (2, 2, 1));
    }
}
