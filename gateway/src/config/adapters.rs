//! `adapters` of an embedded engine, and which of them a model is.
//!
//! A worker with adapters knows itself by its engine's name, so that whatever the gateway asks it for is an adapter or the bare
//! model; what a caller may use and what it costs goes by the catalogue's names alone.

use std::path::Path;

use tollgate_engine::adapters::{Adapter, MOST_SCALE};
use tollgate_policies::Table;
use tollgate_policies::diagnostic::suggest;
use tollgate_policies::document::Kind;

use super::engine::{Engine, EngineKind};

/// Reads `adapters = { NAME = "FILE" }`, or `{ NAME = { path = "FILE", scale = 0.5 } }`, of an engine of this name.
pub(super) fn adapters(engine: &Table<'_>, name: Option<&str>, base: &Path) -> Vec<Adapter> {
    let Some(table) = engine.opt_table("adapters") else { return Vec::new() };
    let keys: Vec<&str> = table.keys().collect();
    let adapters = keys.into_iter().filter_map(|key| {
        let adapter = adapter(&table, key, base);
        if let Some(wrong) = Adapter::misnamed(key) {
            table.problem(key, wrong, None);
        } else if name == Some(key) {
            table.problem(key, "the engine itself has this name; call the adapter otherwise", None);
        }
        adapter
    });
    let adapters = adapters.collect();
    table.finish();
    adapters
}

fn adapter(table: &Table<'_>, name: &str, base: &Path) -> Option<Adapter> {
    let (path, scale) = match table.kind(name) {
        Some(Kind::Table) => {
            let adapter = table.opt_table(name)?;
            let most = f64::from(MOST_SCALE);
            let read = (adapter.string("path"), adapter.opt_float("scale", -most..=most));
            adapter.finish();
            read
        }
        _ => (table.opt_string(name), None),
    };
    Some(Adapter { name: name.to_owned(), path: base.join(path?), scale: scale.unwrap_or(1.0) as f32 })
}

/// What the engine calls a model, where it has adapters or `adapter` asks for one; else `upstream_model` says it.
pub(super) fn upstream_model(model: &Table<'_>, engine: Option<&Engine>) -> Option<String> {
    let (named, wanted) = (model.opt_string("upstream_model"), model.opt_string("adapter"));
    // An engine that is not there or not sound has been told of.
    let Some(engine) = engine else { return named };
    let adapters: &[Adapter] = match &engine.kind {
        EngineKind::Embedded(embedded) => &embedded.adapters,
        EngineKind::OpenAi(_) | EngineKind::Command(_) => &[],
    };
    if named.is_some() && (wanted.is_some() || !adapters.is_empty()) {
        let help = "leave it out; `adapter` says which of the engine's adapters answers".to_owned();
        model.problem("upstream_model", "an engine with adapters is asked by `adapter`", Some(help));
    }
    let Some(wanted) = wanted else {
        return if adapters.is_empty() { named } else { Some(engine.name.clone()) };
    };
    if !adapters.iter().any(|adapter| adapter.name == wanted) {
        let help = match (&engine.kind, adapters) {
            (EngineKind::Embedded(_), []) => {
                Some(format!("name it there: adapters = {{ {wanted} = \"FILE.gguf\" }}"))
            }
            (EngineKind::Embedded(_), _) => {
                suggest(&wanted, adapters.iter().map(|adapter| adapter.name.as_str()))
            }
            _ => Some(
                "only an embedded engine has adapters; another calls them models: `upstream_model`"
                    .to_owned(),
            ),
        };
        model.problem("adapter", format!("engine {:?} has no adapter {wanted:?}", engine.name), help);
    }
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::super::read::{Raw, document};
    use super::*;
    use std::path::PathBuf;

    fn read(engine: &str, model: &str) -> Result<Raw, String> {
        let text = format!(
            "[[engine]]\nname = \"e\"\nkind = \"embedded\"\nmodel = \"m.gguf\"\n{engine}\n\
             [[engine]]\nname = \"far\"\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n\
             [[model]]\nname = \"m\"\nprice = {{ input = 1, output = 1 }}\n{model}\n"
        );
        document("t.toml", &text, Path::new("/etc/tollgate")).map_err(|problems| problems.to_string())
    }

    const TWO: &str = "adapters = { sql = \"sql.gguf\", support = { path = \"/a/s.gguf\", scale = 0.5 } }";

    #[test]
    fn a_model_is_an_adapter_of_its_engine_or_the_bare_one() {
        let raw = read(TWO, "engine = \"e\"\nadapter = \"support\"").unwrap();
        let EngineKind::Embedded(engine) = &raw.engines[0].kind else { unreachable!() };
        let adapter = |name: &str, path: &str, scale| Adapter {
            name: name.to_owned(),
            path: PathBuf::from(path),
            scale,
        };
        let expected = [adapter("sql", "/etc/tollgate/sql.gguf", 1.0), adapter("support", "/a/s.gguf", 0.5)];
        assert_eq!(engine.adapters, expected);
        assert_eq!(raw.models[0].upstream_model, "support");
        let bare = read(TWO, "engine = \"e\"").unwrap();
        assert_eq!(bare.models[0].upstream_model, "e", "whatever the model is called");
        let without = read("", "engine = \"e\"\nupstream_model = \"x\"").unwrap();
        assert_eq!(without.models[0].upstream_model, "x");
    }

    #[test]
    fn mistakes_are_named() {
        for (engine, model, parts) in [
            (
                TWO,
                "engine = \"e\"\nadapter = \"suport\"",
                ["has no adapter \"suport\"", "did you mean `support`?"],
            ),
            ("", "engine = \"e\"\nadapter = \"sql\"", ["t.toml:14", "adapters = { sql = "]),
            ("", "engine = \"far\"\nadapter = \"sql\"", ["has no adapter", "upstream_model"]),
            (TWO, "engine = \"e\"\nupstream_model = \"sql\"", ["t.toml:14", "leave it out"]),
            ("adapters = { e = \"x.gguf\" }", "engine = \"e\"", ["t.toml:5", "the engine itself"]),
            ("adapters = { \"a b\" = \"x.gguf\" }", "engine = \"e\"", ["t.toml:5", "visible ASCII"]),
            ("adapters = { a = { file = \"x.gguf\" } }", "engine = \"e\"", ["path", "unknown key `file`"]),
            ("adapters = { a = { path = \"x\", scale = 1000 } }", "engine = \"e\"", ["scale", "100"]),
            ("adapters = { a = 5 }", "engine = \"e\"", ["t.toml:5", "string"]),
        ] {
            let said = read(engine, model).unwrap_err();
            assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} of {said}");
        }
    }
}
