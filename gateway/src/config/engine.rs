//! `[[engine]]`: where answers come from.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tollgate_policies::Table;

use super::read::secret;
use super::secret::SecretRef;

/// One engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// The name models refer to; also a metric label.
    pub name: String,
    /// What it is.
    pub kind: EngineKind,
}

/// What an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineKind {
    /// A llama.cpp worker that Tollgate starts and supervises.
    Embedded(EmbeddedEngine),
    /// A server of the OpenAI dialect that runs already.
    OpenAi(OpenAiEngine),
}

/// `kind = "embedded"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedEngine {
    /// A known model's name, a path, or `hf:owner/repo/file.gguf`.
    pub model: String,
    /// Compute threads; `None` = the worker chooses.
    pub threads: Option<usize>,
    /// Tokens of context for each request.
    pub context: u32,
    /// Requests worked on at once.
    pub parallel: u32,
}

/// `kind = "openai"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAiEngine {
    /// Up to and including `/v1`, without a slash at the end.
    pub base_url: String,
    /// Where its API key is, if it wants one.
    pub api_key: Option<SecretRef>,
}

#[derive(Clone, Copy)]
enum Word {
    Embedded,
    OpenAi,
    Command,
}

const KINDS: &[(&str, Word)] =
    &[("embedded", Word::Embedded), ("openai", Word::OpenAi), ("command", Word::Command)];

/// Reads every `[[engine]]`; problems go to the document.
pub(super) fn engines(root: &Table<'_>, base: &std::path::Path) -> Vec<Engine> {
    let mut names = BTreeSet::new();
    let mut engines = Vec::new();
    for table in root.tables("engine") {
        let name = table.string("name");
        if let Some(name) = &name {
            if name.is_empty() {
                table.problem("name", "an engine's name must not be empty", None);
            } else if !names.insert(name.clone()) {
                table.problem("name", format!("there is an engine {name:?} already"), None);
            }
        }
        let kind = match table.one_of("kind", KINDS) {
            Some(Word::Embedded) => embedded(&table, base),
            Some(Word::OpenAi) => openai(&table),
            Some(Word::Command) => {
                // Asked for so that the one message is about the kind and not about each of its keys too.
                table.has("command");
                let help = "start the server yourself and use kind = \"openai\" with its base_url".to_owned();
                table.problem("kind", "engines of kind \"command\" are not supported yet", Some(help));
                None
            }
            None => {
                // Which keys belong depends on the kind: with that wrong, none of them is.
                for key in ["model", "threads", "context", "parallel", "base_url", "api_key", "command"] {
                    table.has(key);
                }
                None
            }
        };
        table.finish();
        if let (Some(name), Some(kind)) = (name, kind) {
            engines.push(Engine { name, kind });
        }
    }
    engines
}

fn embedded(table: &Table<'_>, base: &std::path::Path) -> Option<EngineKind> {
    let threads = table.opt_integer("threads", 1..=1024).and_then(|count| usize::try_from(count).ok());
    let context = table.opt_integer("context", 64..=1_048_576).unwrap_or(4096);
    let parallel = table.opt_integer("parallel", 1..=256).unwrap_or(4);
    let model = table.string("model")?;
    Some(EngineKind::Embedded(EmbeddedEngine {
        model: beside(&model, base),
        threads,
        context: u32::try_from(context).unwrap_or(4096),
        parallel: u32::try_from(parallel).unwrap_or(4),
    }))
}

/// A path in the file is meant from the file's own folder; names and `hf:` references are left alone.
fn beside(model: &str, base: &std::path::Path) -> String {
    let path = PathBuf::from(model);
    let is_file = model.ends_with(".gguf") && !model.starts_with("hf:");
    if is_file && path.is_relative() {
        base.join(path).to_string_lossy().into_owned()
    } else {
        model.to_owned()
    }
}

fn openai(table: &Table<'_>) -> Option<EngineKind> {
    let api_key = table.opt_string("api_key").and_then(|text| secret(table, "api_key", "the key", &text));
    let base_url = table.string("base_url")?;
    let rest = base_url.strip_prefix("http://").or_else(|| base_url.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(char::is_whitespace))
    {
        let help = "for example \"http://127.0.0.1:8000/v1\"".to_owned();
        table.problem("base_url", format!("{base_url:?} is not an http:// or https:// address"), Some(help));
        return None;
    }
    let base_url = base_url.trim_end_matches('/').to_owned();
    Some(EngineKind::OpenAi(OpenAiEngine { base_url, api_key }))
}
