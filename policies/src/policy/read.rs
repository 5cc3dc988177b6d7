//! From a policy document to a policy, section by section.
//!
//! Every section is read to its end whatever is wrong before it, so that one check reports everything.

use std::sync::Arc;

use crate::condition::{Condition, Place, offset_in_source};
use crate::diagnostic::suggest;
use crate::document::{Document, Table};
use crate::policy::budgets::budgets;
use crate::policy::learn::learn;
use crate::policy::{Decide, Escalate, Known, OBJECTIVE_ROUTE, Objective, Policy, Rule, Stick};

/// Tokens held back when `[escalate]` does not say.
pub(super) const HOLD_TOKENS: u32 = 24;
/// Names travel in response headers and metric labels.
const LONGEST_NAME: usize = 80;

/// The policy, or `None` after recording what is wrong.
pub(super) fn policy(document: &Document, known: Option<&Known<'_>>, sha: String) -> Option<Policy> {
    let root = document.root();
    let head = root.table("policy").map(|table| head(table, known));
    let objective = root.opt_table("objective").map_or_else(Objective::default, objective);
    let rules = rules(&root, known);
    let stick = root.opt_table("stick").map_or(Stick { decide: Decide::Request }, stick);
    let escalate = root.opt_table("escalate").map(escalate);
    let mut budgets = budgets(&root);
    let name = head.as_ref().and_then(|(name, _)| name.as_deref());
    let learn = root.opt_table("learn").map(|table| learn(table, known, name));
    root.finish();
    if !document.is_sound() {
        return None;
    }
    let (name, baseline) = head?;
    let escalate = escalate.map_or(Some(None), |read| read.map(Some))?;
    let (learn, purse) = learn.flatten().unzip();
    budgets.extend(purse.flatten().map(Arc::new));
    Some(Policy { name: name?, sha, baseline: baseline?, objective, rules, stick, escalate, learn, budgets })
}

impl Default for Objective {
    fn default() -> Self {
        Objective { quality: 0.95, max_loss: None, pace: false, latency_weight: 1.0 }
    }
}

fn head(table: Table<'_>, known: Option<&Known<'_>>) -> (Option<String>, Option<String>) {
    let name = name(&table);
    if let Some(name) = name.as_deref().filter(|name| name.contains(char::is_whitespace)) {
        let help = format!("callers ask for it as `auto:{}`", name.replace(char::is_whitespace, "-"));
        table.problem("name", "a policy's name has no spaces", Some(help));
    }
    let baseline = table.string("baseline");
    if let (Some(baseline), Some(known)) = (&baseline, known)
        && !known.models.contains(&baseline.as_str())
    {
        let help = suggest(baseline, known.models.iter().copied());
        table.problem("baseline", format!("no model is called `{baseline}`"), help);
    }
    table.finish();
    (name, baseline)
}

/// A `name` fit for headers and labels.
pub(super) fn name(table: &Table<'_>) -> Option<String> {
    let name = table.string("name")?;
    if name.trim().is_empty() || name.len() > LONGEST_NAME {
        table.problem("name", format!("a name has 1 to {LONGEST_NAME} characters"), None);
    }
    if name.contains(|letter: char| !letter.is_ascii_graphic() && letter != ' ') {
        let help = "names travel in HTTP headers and metric labels".to_owned();
        table.problem("name", "a name is printable ASCII", Some(help));
    }
    Some(name)
}

/// Records a problem with every name used twice.
pub(super) fn unique<'t>(what: &str, tables: &[Table<'t>], names: &[Option<String>]) {
    for (index, (table, name)) in tables.iter().zip(names).enumerate() {
        if name.is_some() && names[..index].contains(name) {
            let name = name.as_deref().unwrap_or_default();
            table.problem("name", format!("another {what} is called {name:?} already"), None);
        }
    }
}

fn objective(table: Table<'_>) -> Objective {
    let default = Objective::default();
    let objective = Objective {
        quality: table.opt_float("quality", 0.0..=1.0).unwrap_or(default.quality),
        max_loss: table.opt_float("max_loss", 0.0..=1.0),
        pace: table.opt_bool("pace").unwrap_or(default.pace),
        latency_weight: table.opt_float("latency_weight", 0.0..=100.0).unwrap_or(default.latency_weight),
    };
    table.finish();
    objective
}

fn stick(table: Table<'_>) -> Stick {
    let words = [("request", Decide::Request), ("user_turn", Decide::UserTurn), ("run", Decide::Run)];
    let decide = table.opt_one_of("decide", &words).unwrap_or(Decide::Request);
    table.finish();
    Stick { decide }
}

fn escalate(table: Table<'_>) -> Option<Escalate> {
    let when = condition(&table, "when", Place::Escalate);
    let tokens = table.opt_integer("hold_tokens", 1..=512).unwrap_or(HOLD_TOKENS.into());
    table.finish();
    Some(Escalate { when: when?, hold_tokens: u32::try_from(tokens).ok()? })
}

fn rules(root: &Table<'_>, known: Option<&Known<'_>>) -> Vec<Rule> {
    let tables = root.tables("rule");
    let names: Vec<Option<String>> = tables.iter().map(name).collect();
    unique("rule", &tables, &names);
    tables.into_iter().zip(names).filter_map(|(table, name)| rule(table, name, known)).collect()
}

fn rule(table: Table<'_>, name: Option<String>, known: Option<&Known<'_>>) -> Option<Rule> {
    if name.as_deref() == Some(OBJECTIVE_ROUTE) {
        table.problem("name", "`objective` is what requests are told that no rule applied to", None);
    }
    let when = condition(&table, "when", Place::Rule);
    let models = narrowing(&table, "use", "model", known.map(|known| known.models));
    let min_bits = table.opt_integer("min_bits", 1..=64).and_then(|bits| u32::try_from(bits).ok());
    let regions = narrowing(&table, "regions", "region", known.map(|known| known.regions));
    let quality = table.opt_float("quality", 0.0..=1.0);
    if !["use", "min_bits", "regions", "quality"].iter().any(|key| table.has(key)) {
        let help = "give it `use`, `min_bits`, `regions` or `quality`".to_owned();
        table.document().problem(table.span(), "a rule that changes nothing", Some(help));
    }
    table.finish();
    Some(Rule { name: name?, when: when?, models, min_bits, regions, quality })
}

/// A list of names that candidates are narrowed to: not empty, each known where that can be told.
fn narrowing(table: &Table<'_>, key: &str, what: &str, known: Option<&[&str]>) -> Option<Vec<String>> {
    let names = table.opt_strings(key)?;
    if names.is_empty() {
        table.problem(key, format!("`{key}` names no {what}: no candidate would be left"), None);
    }
    for (index, name) in names.iter().enumerate() {
        if known.is_some_and(|known| !known.contains(&name.as_str())) {
            let message = match what {
                "region" => format!("no model is in the region `{name}`"),
                _ => format!("no model is called `{name}`"),
            };
            table.problem_in(key, index, message, suggest(name, known.unwrap_or_default().iter().copied()));
        }
    }
    Some(names)
}

/// A CEL condition, its flaws reported where they stand inside the string.
fn condition(table: &Table<'_>, key: &str, place: Place) -> Option<Condition> {
    let source = table.string(key)?;
    match Condition::compile(&source, place) {
        Ok(condition) => Some(condition),
        Err(flaws) => {
            let span = table.span_of(key);
            let written = &table.document().text()[span.clone()];
            for flaw in flaws {
                let at = span.start + offset_in_source(written, flaw.at);
                table.document().problem(at..span.end, flaw.message, flaw.help);
            }
            None
        }
    }
}
