//! `[[model]]`: the catalogue's entries, each with the price that its use is charged at.

use std::collections::BTreeSet;

use tollgate_policies::diagnostic::{nearest, suggest};
use tollgate_policies::document::Kind;
use tollgate_policies::{Price, Table};
use tollgate_router::{
    Ability, Capabilities, Catalog, DOMAINS, Model, PART_TOKENS, ability_by_mmlu_pro, known_abilities,
    known_ability, mmlu_pro_range,
};

use super::adapters;
use super::engine::Engine;
use super::price::{self, Listed, PriceList};

/// Names with a meaning of their own as a request's `model`.
const RESERVED: &str = "auto";

/// A catalogue entry as configured.
#[derive(Debug, Clone)]
pub struct ModelEntry {
    /// The name callers and policies use.
    pub name: String,
    /// The engine that serves it.
    pub engine: String,
    /// What that engine calls it.
    pub upstream_model: String,
    /// Bits per weight, where known.
    pub bits: Option<u32>,
    /// What it costs.
    pub price: Price,
    /// Context window in tokens.
    pub context: u64,
    /// Tokens that a picture, a recording or a file in the prompt is held for.
    pub part_tokens: u64,
    /// What it can be asked for beside plain text.
    pub can: Capabilities,
    /// Where its engine runs.
    pub regions: Vec<String>,
    /// 0 = the classifier's small reference model, 1 = its large one; `None` = 1 for the baseline, else 0.
    pub ability: Option<Ability>,
}

/// The catalogue of these entries, under a default policy with this baseline.
#[must_use]
pub fn catalog(entries: &[ModelEntry], baseline: &str) -> Catalog {
    let model = |entry: &ModelEntry| Model {
        name: entry.name.clone(),
        engine: entry.engine.clone(),
        upstream_model: entry.upstream_model.clone(),
        bits: entry.bits,
        price: entry.price.clone(),
        context: entry.context,
        part_tokens: entry.part_tokens,
        can: entry.can,
        regions: entry.regions.clone(),
        ability: entry.ability.unwrap_or(Ability::from(if entry.name == baseline { 1.0 } else { 0.0 })),
    };
    Catalog::new(entries.iter().map(model).collect())
}

/// Reads every `[[model]]`; `engines` are the names that exist, and those of them that are sound. Problems go to the document.
pub(super) fn models(
    root: &Table<'_>,
    engines: (&[String], &[Engine]),
    prices: &PriceList,
) -> Vec<ModelEntry> {
    let mut names = BTreeSet::new();
    let mut models = Vec::new();
    for table in root.tables("model") {
        let entry = entry(&table, (engines, prices), &mut names);
        table.finish();
        models.extend(entry);
    }
    models
}

fn entry(
    table: &Table<'_>,
    ((engines, sound), prices): ((&[String], &[Engine]), &PriceList),
    names: &mut BTreeSet<String>,
) -> Option<ModelEntry> {
    let name = table.string("name").filter(|name| usable(table, name, names));
    let engine = table.string("engine");
    if let Some(engine) = engine.as_ref().filter(|engine| !engines.contains(engine)) {
        let help = suggest(engine, engines.iter().map(String::as_str));
        table.problem("engine", format!("there is no [[engine]] named {engine:?}"), help);
    }
    let sound = sound.iter().find(|sound| Some(&sound.name) == engine.as_ref());
    let upstream_model = adapters::upstream_model(table, sound);
    let bits = table.opt_integer("bits", 1..=32).and_then(|bits| u32::try_from(bits).ok());
    let context = table.opt_integer("context", 64..=16_777_216).and_then(|tokens| u64::try_from(tokens).ok());
    let part_tokens =
        table.opt_integer("part_tokens", 1..=16_777_216).and_then(|tokens| u64::try_from(tokens).ok());
    let mut can = capabilities(table);
    can.routing = sound.is_some_and(|engine| engine.routing);
    let regions = table.opt_strings("regions").unwrap_or_default();
    let ability = ability(table);
    let listed = price::of_model(table, prices);
    let name = name?;
    let Listed { price, context: known } = listed?;
    Some(ModelEntry {
        upstream_model: upstream_model.unwrap_or_else(|| name.clone()),
        name,
        engine: engine?,
        bits,
        price,
        context: context.or(known).unwrap_or(4096),
        part_tokens: part_tokens.unwrap_or(PART_TOKENS),
        can,
        regions,
        ability,
    })
}

fn usable(table: &Table<'_>, name: &str, names: &mut BTreeSet<String>) -> bool {
    let wrong = if name == RESERVED || name.starts_with("auto:") {
        Some(format!("{name:?} is what callers write to be routed; a model needs another name"))
    } else if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some(
            "a model's name must be visible ASCII characters without spaces: it goes into headers".to_owned(),
        )
    } else if names.insert(name.to_owned()) {
        None
    } else {
        Some(format!("there is a model {name:?} already"))
    };
    let usable = wrong.is_none();
    if let Some(message) = wrong {
        table.problem("name", message, None);
    }
    usable
}

/// A number; the name of a model whose ability is known; or `{ general, DOMAIN… }`, where `mmlu_pro` may stand for `general`.
fn ability(table: &Table<'_>) -> Option<Ability> {
    const RANGE: std::ops::RangeInclusive<f64> = -10.0..=10.0;
    match table.kind("ability") {
        Some(Kind::String) => return ability_of(table),
        Some(Kind::Table) => {}
        _ => return table.opt_float("ability", RANGE).map(Ability::from),
    }
    let by_domain = table.opt_table("ability")?;
    let mut ability = match by_domain.kind("mmlu_pro") {
        None => by_domain.float("general", RANGE).map(Ability::from),
        Some(_) => by_score(&by_domain),
    };
    for domain in DOMAINS {
        if let Some(value) = by_domain.opt_float(domain, RANGE) {
            ability = ability.and_then(|ability| ability.with(domain, value));
        }
    }
    by_domain.finish();
    ability
}

fn ability_of(table: &Table<'_>) -> Option<Ability> {
    let name = table.opt_string("ability")?;
    let known = known_ability(&name);
    if known.is_none() {
        let near = nearest(&name, known_abilities().keys().map(String::as_str));
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let help = format!("{near}`tollgate models abilities` lists the models whose abilities are known");
        table.problem("ability", format!("the ability of {name:?} is not known"), Some(help));
    }
    known
}

fn by_score(table: &Table<'_>) -> Option<Ability> {
    let share = table.float("mmlu_pro", 0.0..=1.0)?;
    if table.kind("general").is_some() {
        let help = Some("leave one of them out".to_owned());
        table.problem("general", "`mmlu_pro` stands for the general ability", help);
    }
    let ability = ability_by_mmlu_pro(share);
    if ability.is_none() {
        let (least, most) = mmlu_pro_range();
        let help = format!("between {least} and {most} it does; write `general` instead");
        table.problem("mmlu_pro", format!("a share of {share} says nothing of the ability"), Some(help));
    }
    ability
}

fn capabilities(table: &Table<'_>) -> Capabilities {
    const WORDS: [&str; 4] = ["tools", "json", "images", "embeddings"];
    let mut can = Capabilities::default();
    for (index, word) in table.opt_strings("can").unwrap_or_default().iter().enumerate() {
        match word.as_str() {
            "tools" => can.tools = true,
            "json" => can.json = true,
            "images" => can.images = true,
            "embeddings" => can.embeddings = true,
            _ => {
                let help = suggest(word, WORDS);
                table.problem_in("can", index, format!("a model cannot be {word:?}"), help);
            }
        }
    }
    if can.embeddings && (can.tools || can.json || can.images) {
        let help = "leave the others out, or give the model two entries".to_owned();
        table.problem("can", "a model that makes embeddings writes no answers", Some(help));
    }
    can
}

#[cfg(test)]
mod tests {
    use super::super::read::document;
    use super::*;
    use std::path::Path;

    fn read_entry(key: &str) -> Result<ModelEntry, String> {
        let engine = "[[engine]]\nname = \"e\"\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";
        let price = "price = { input = 1, output = 0 }";
        let text = format!("{engine}[[model]]\nname = \"m\"\nengine = \"e\"\n{price}\n{key}\n");
        let read = document("t.toml", &text, Path::new(""));
        read.map(|raw| raw.models[0].clone()).map_err(|problems| problems.to_string())
    }

    fn read(can: &str) -> Result<Capabilities, String> {
        read_entry(&format!("can = {can}")).map(|entry| entry.can)
    }

    #[test]
    fn an_ability_is_a_number_a_name_or_a_score() {
        let read =
            |ability: &str| read_entry(&format!("ability = {ability}")).map(|entry| entry.ability.unwrap());
        assert_eq!(read("0.5"), Ok(Ability::from(0.5)));
        assert_eq!(read("\"gpt-4-1106\""), Ok(Ability::from(1.0)));
        let scored = read("{ mmlu_pro = 0.58, math = 0.9 }").unwrap();
        assert!((0.3..0.8).contains(&scored.general()), "{scored:?}");
        assert!((scored.in_domain("math") - 0.9).abs() < 1e-9);
        for (wrong, told) in [
            ("\"gpt-4-1107\"", "gpt-4-1106"),
            ("\"gpt\"", "is not known"),
            ("\"nobody\"", "tollgate models abilities"),
            ("{ mmlu_pro = 58 }", "mmlu_pro"),
            ("{ mmlu_pro = 0.001 }", "says nothing"),
            ("{ mmlu_pro = 0.5, general = 1 }", "leave one of them out"),
            ("{ math = 1 }", "general"),
        ] {
            let said = read(wrong).unwrap_err();
            assert!(said.contains(told), "{wrong}: {said}");
        }
    }

    #[test]
    fn what_a_picture_is_held_for_can_be_said() {
        assert_eq!(read_entry("").map(|entry| entry.part_tokens), Ok(PART_TOKENS));
        assert_eq!(read_entry("part_tokens = 1600").map(|entry| entry.part_tokens), Ok(1600));
        assert!(read_entry("part_tokens = 0").unwrap_err().contains("part_tokens"));
    }

    #[test]
    fn a_model_embeds_or_writes() {
        assert!(read("[\"embeddings\"]").unwrap().embeddings);
        assert!(!read("[\"tools\", \"json\"]").unwrap().embeddings);
        assert!(read("[\"embedding\"]").unwrap_err().contains("embeddings"));
        assert!(read("[\"embeddings\", \"json\"]").unwrap_err().contains("writes no answers"));
    }
}
