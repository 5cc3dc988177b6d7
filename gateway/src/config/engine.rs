//! `[[engine]]`: where answers come from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate_engine::adapters::Adapter;
use tollgate_engine::loading::{CacheType, Loading, Pooling};
use tollgate_policies::Table;

use super::adapters;
use super::command::{self, CommandEngine, Managed, managed};
use super::read::secret;
use super::secret::SecretRef;

/// One engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// The name models refer to; also a metric label.
    pub name: String,
    /// What it is.
    pub kind: EngineKind,
    /// Whether requests may have fields by which it chooses another model, provider or price.
    pub routing: bool,
}

/// What an engine is.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineKind {
    /// A llama.cpp worker that Tollgate starts and supervises.
    Embedded(EmbeddedEngine),
    /// A server of the OpenAI dialect that runs already.
    OpenAi(OpenAiEngine),
    /// A server of the OpenAI dialect that Tollgate starts and supervises.
    Command(CommandEngine),
}

impl EngineKind {
    /// How its process is managed, if it has one.
    #[must_use]
    pub fn managed(&self) -> Option<&Managed> {
        match self {
            EngineKind::Embedded(engine) => Some(&engine.managed),
            EngineKind::Command(engine) => Some(&engine.managed),
            EngineKind::OpenAi(_) => None,
        }
    }
}

/// `kind = "embedded"`.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedEngine {
    /// A known model's name, a path, or `hf:owner/repo/file.gguf`.
    pub model: String,
    /// Compute threads; `None` = the worker chooses.
    pub threads: Option<usize>,
    /// Tokens of context for each request.
    pub context: u32,
    /// Requests worked on at once.
    pub parallel: u32,
    /// LoRA adapters loaded with it.
    pub adapters: Vec<Adapter>,
    /// How llama.cpp loads it.
    pub loading: Loading,
    /// Most megabytes of warm prefixes that are kept on disk while it does not run; `None` = none are.
    pub slot_save_mb: Option<u32>,
    /// How its process is managed.
    pub managed: Managed,
}

/// `kind = "openai"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAiEngine {
    /// Up to and including `/v1`, without a slash at the end.
    pub base_url: String,
    /// Where its API key is, if it wants one.
    pub api_key: Option<SecretRef>,
    /// Between two looks at its health; `None` = it is not looked at.
    pub probe: Option<Duration>,
}

#[derive(Clone, Copy)]
enum Word {
    Embedded,
    OpenAi,
    Command,
}

const KINDS: &[(&str, Word)] =
    &[("embedded", Word::Embedded), ("openai", Word::OpenAi), ("command", Word::Command)];

/// Keys of any kind of engine.
const KEYS: [&str; 27] = [
    "adapters",
    "allow_routing_fields",
    "api_key",
    "base_url",
    "cache_type_k",
    "cache_type_v",
    "command",
    "context",
    "cpu_moe",
    "cpu_tensors",
    "embeddings",
    "env",
    "flash_attention",
    "gpu_layers",
    "health",
    "idle_unload_s",
    "kind",
    "memory_mb",
    "model",
    "name",
    "parallel",
    "pooling",
    "probe_s",
    "ready_timeout_s",
    "slot_save_mb",
    "start",
    "threads",
];
/// Between two looks at the health of a server that runs already, seconds.
const PROBE_S: i64 = 5;

/// Reads every `[[engine]]`; problems go to the document.
pub(super) fn engines(root: &Table<'_>, base: &Path, ceiling: bool) -> Vec<Engine> {
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
            Some(Word::Embedded) => embedded(&table, name.as_deref(), base),
            Some(Word::OpenAi) => openai(&table),
            Some(Word::Command) => command::command(&table, ceiling).map(EngineKind::Command),
            None => {
                // Which keys belong depends on the kind: with that wrong, none of them is.
                for key in KEYS {
                    table.has(key);
                }
                None
            }
        };
        // A worker of Tollgate's own knows no such fields.
        let routing = match kind {
            None | Some(EngineKind::Embedded(_)) => true,
            Some(_) => table.opt_bool("allow_routing_fields").unwrap_or_default(),
        };
        table.finish();
        if let (Some(name), Some(kind)) = (name, kind) {
            engines.push(Engine { name, kind, routing });
        }
    }
    engines
}

fn embedded(table: &Table<'_>, name: Option<&str>, base: &Path) -> Option<EngineKind> {
    let threads = table.opt_integer("threads", 1..=1024).and_then(|count| usize::try_from(count).ok());
    let context = table.opt_integer("context", 64..=1_048_576).unwrap_or(4096);
    let parallel = table.opt_integer("parallel", 1..=256).unwrap_or(4);
    let slot_save_mb = table.opt_integer("slot_save_mb", 1..=1_000_000).and_then(|mb| u32::try_from(mb).ok());
    let (loading, managed) = (loading(table), managed(table));
    let adapters = adapters::adapters(table, name, base);
    let model = table.string("model")?;
    Some(EngineKind::Embedded(EmbeddedEngine {
        model: beside(&model, base),
        threads,
        context: u32::try_from(context).unwrap_or(4096),
        parallel: u32::try_from(parallel).unwrap_or(4),
        adapters,
        loading,
        slot_save_mb,
        managed,
    }))
}

/// How llama.cpp loads a model.
fn loading(table: &Table<'_>) -> Loading {
    let loading = Loading {
        gpu_layers: table.opt_integer("gpu_layers", 0..=10_000).and_then(|count| u32::try_from(count).ok()),
        cpu_moe: table.opt_bool("cpu_moe").unwrap_or_default(),
        cache_type_k: table.opt_one_of("cache_type_k", &CacheType::NAMES).unwrap_or_default(),
        cache_type_v: table.opt_one_of("cache_type_v", &CacheType::NAMES).unwrap_or_default(),
        flash_attention: table.opt_bool("flash_attention"),
        cpu_tensors: table.opt_strings("cpu_tensors").unwrap_or_default(),
        embeddings: table.opt_bool("embeddings").unwrap_or_default(),
        pooling: table.opt_one_of("pooling", &Pooling::NAMES),
    };
    if let Some(contradiction) = loading.contradiction() {
        table.problem(
            "cache_type_v",
            contradiction,
            Some("leave flash_attention out, or set it to true".to_owned()),
        );
    }
    loading
}

/// A path in the file is meant from the file's own folder; names and `hf:` references are left alone.
fn beside(model: &str, base: &Path) -> String {
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
    let probe = table.opt_integer("probe_s", 0..=3600).unwrap_or(PROBE_S);
    let probe = u64::try_from(probe).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let base_url = table.string("base_url")?;
    let rest = base_url.strip_prefix("http://").or_else(|| base_url.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(char::is_whitespace))
    {
        let help = "for example \"http://127.0.0.1:8000/v1\"".to_owned();
        table.problem("base_url", format!("{base_url:?} is not an http:// or https:// address"), Some(help));
        return None;
    }
    let base_url = base_url.trim_end_matches('/').to_owned();
    Some(EngineKind::OpenAi(OpenAiEngine { base_url, api_key, probe }))
}

#[cfg(test)]
mod tests {
    use super::super::read::document;
    use super::*;

    fn read(engine: &str) -> Result<Vec<Engine>, String> {
        let model = "[[model]]\nname = \"m\"\nengine = \"e\"\nprice = { input = 1, output = 1 }\n";
        let text =
            format!("[[engine]]\nname = \"e\"\nkind = \"embedded\"\nmodel = \"m.gguf\"\n{engine}\n{model}");
        let read = document("t.toml", &text, Path::new(""));
        read.map(|raw| raw.engines).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_model_is_loaded_as_it_says() {
        let engines = read(
            "gpu_layers = 20\ncpu_moe = true\ncpu_tensors = [\"blk\\\\.1\"]\ncache_type_k = \"q8_0\"\ncache_type_v = \"q4_0\"\n\
             flash_attention = true\nembeddings = true\npooling = \"last\"\nready_timeout_s = 5\nmemory_mb = 6000\n\
             slot_save_mb = 64",
        );
        let engines = engines.unwrap();
        let EngineKind::Embedded(engine) = &engines[0].kind else { unreachable!() };
        let loading = Loading {
            gpu_layers: Some(20),
            cpu_moe: true,
            cache_type_k: CacheType::Q8_0,
            cache_type_v: CacheType::Q4_0,
            flash_attention: Some(true),
            cpu_tensors: vec!["blk\\.1".to_owned()],
            embeddings: true,
            pooling: Some(Pooling::Last),
        };
        assert_eq!(engine.loading, loading);
        assert_eq!(engine.slot_save_mb, Some(64));
        assert_eq!(
            (engine.managed.ready_timeout, engine.managed.memory_mb),
            (Duration::from_secs(5), Some(6000))
        );
    }

    #[test]
    fn who_may_choose_is_said_or_has_no_choice() {
        let routes = |text: &str| {
            let engine = format!("[[engine]]\nname = \"e\"\n{text}\n");
            let model = "[[model]]\nname = \"m\"\nengine = \"e\"\nprice = { input = 1, output = 1 }\n";
            let read = document("t.toml", &(engine + model), Path::new(""));
            read.map(|raw| raw.models[0].can.routing).map_err(|problems| problems.to_string())
        };
        let openai = "kind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"";
        assert_eq!(routes(openai), Ok(false));
        assert_eq!(routes(&format!("{openai}\nallow_routing_fields = true")), Ok(true));
        assert_eq!(routes("kind = \"command\"\ncommand = [\"x\", \"{port}\"]"), Ok(false));
        assert_eq!(routes("kind = \"embedded\"\nmodel = \"m.gguf\""), Ok(true), "it knows no such fields");
        let said =
            routes("kind = \"embedded\"\nmodel = \"m.gguf\"\nallow_routing_fields = true").unwrap_err();
        assert!(said.contains("allow_routing_fields"), "{said}");
    }

    #[test]
    fn a_setting_that_cannot_work_comes_with_what_does() {
        for (engine, part) in [
            ("cache_type_k = \"q8\"", "q8_0"),
            ("cache_type_v = \"q8_0\"\nflash_attention = false", "needs flash attention"),
            ("gpu_layer = 3", "gpu_layers"),
            ("slot_save_mb = 0", "slot_save_mb"),
            ("pooling = \"rank\"", "mean"),
            ("command = [\"x\"]", "command"),
        ] {
            let said = read(engine).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
    }
}
