//! The configuration where there is none: a local MoE, a larger local model, an SQLite ledger, the shipped policies.

use tollgate_engine::loading::Loading;
use tollgate_engine::models::{KnownModel, known};
use tollgate_policies::{PerToken, Price, TokenPrice};
use tollgate_router::{Ability, Capabilities, PART_TOKENS};

use super::command::{Managed, SharedMemory};
use super::engine::{EmbeddedEngine, Engine, EngineKind};
use super::model::ModelEntry;
use super::{Config, ConfigError, Overrides, PolicyFiles, Router, Server, default_data_dir};
use crate::content::ContentLog;

/// The ledger's url where none is configured.
pub(super) const LEDGER_URL: &str = "sqlite:tollgate.db";

/// Tokens of context of both demo models.
const CONTEXT: u32 = 4096;

/// One demo model: names, and prices in picodollars per token (a dollar per million tokens is a million of them).
struct Demo {
    model: &'static str,
    engine: &'static str,
    weights: &'static str,
    input: u64,
    output: u64,
    /// The general ability, then by domain; fitted to graded answers by `tollgate calibrate`, see docs/benchmarks.md.
    ability: f64,
    abilities: &'static [(&'static str, f64)],
}

const DEMO: [Demo; 2] = [
    Demo {
        model: "small-moe",
        engine: "moe",
        weights: "qwen-0.5b-moe",
        input: 50_000,
        output: 100_000,
        ability: -2.20,
        abilities: &[
            ("chat", -2.19),
            ("classification", -1.83),
            ("code", -1.27),
            ("knowledge", -2.18),
            ("math", -3.84),
            ("reading", -1.20),
            ("reasoning", -3.41),
            ("writing", -2.51),
        ],
    },
    Demo {
        model: "large",
        engine: "large",
        weights: "qwen-coder-1.5b",
        input: 300_000,
        output: 600_000,
        ability: -0.74,
        abilities: &[
            ("chat", -0.65),
            ("classification", -0.47),
            ("code", -0.28),
            ("knowledge", -0.65),
            ("math", -1.67),
            ("reading", -0.27),
            ("reasoning", -2.10),
            ("writing", -0.43),
        ],
    },
];

/// The embedded default, if the demo models are in the cache.
pub(super) fn config() -> Result<Config, ConfigError> {
    let missing: Vec<&KnownModel> = known()
        .iter()
        .filter(|model| DEMO.iter().any(|demo| demo.weights == model.name) && !model.present())
        .collect();
    if !missing.is_empty() {
        // A made model needs its source first; both come with one command each.
        let sources = missing.iter().filter_map(|model| model.made_from());
        let mut commands: Vec<String> =
            sources.map(|source| format!("tollgate models pull {source}")).collect();
        commands.extend(missing.iter().map(|model| model.command()));
        return Err(ConfigError::NoModels { commands: commands.join("\n        ") });
    }
    Ok(of_demo(default_data_dir()?))
}

/// The embedded default's catalogue, whether or not its models are in the cache.
#[must_use]
pub fn demo_models() -> Vec<ModelEntry> {
    let model = |demo: &Demo| ModelEntry {
        name: demo.model.to_owned(),
        engine: demo.engine.to_owned(),
        upstream_model: demo.weights.to_owned(),
        bits: Some(4),
        price: Price::Tokens(TokenPrice::new(
            PerToken::from_picos(demo.input),
            PerToken::from_picos(demo.output),
        )),
        context: u64::from(CONTEXT),
        can: Capabilities { tools: true, json: true, routing: true, ..Capabilities::default() },
        part_tokens: PART_TOKENS,
        regions: vec!["local".to_owned()],
        ability: Some(ability(demo)),
    };
    DEMO.iter().map(model).collect()
}

fn ability(demo: &Demo) -> Ability {
    let own = |ability: Ability, (domain, own): &(&str, f64)| ability.with(domain, *own).unwrap_or(ability);
    demo.abilities.iter().fold(Ability::from(demo.ability), own)
}

fn of_demo(data_dir: std::path::PathBuf) -> Config {
    let engine = |demo: &Demo| Engine {
        name: demo.engine.to_owned(),
        kind: EngineKind::Embedded(EmbeddedEngine {
            model: demo.weights.to_owned(),
            threads: None,
            context: CONTEXT,
            parallel: 4,
            adapters: Vec::new(),
            loading: Loading::default(),
            slot_save_mb: None,
            managed: Managed::default(),
        }),
        routing: true,
    };
    Config {
        server: Server::default(),
        data_dir,
        ledger_url: LEDGER_URL.to_owned(),
        keep_days: None,
        content: ContentLog::default(),
        router: Router::default(),
        engines: DEMO.iter().map(engine).collect(),
        shared: SharedMemory::default(),
        models: demo_models(),
        policies: PolicyFiles::default(),
        webhook: None,
        overrides: Overrides::default(),
    }
}
