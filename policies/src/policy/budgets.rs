//! The `[[budget]]` sections of a policy.

use std::sync::Arc;

use crate::budget::{BudgetSpec, OnExhausted, Pace, Scope, Subject, Window};
use crate::document::{Kind, Table};
use crate::policy::read::{name, unique};

/// How files write windows.
pub(super) const WINDOWS: [(&str, Window); 5] = [
    ("1h", Window::Hour),
    ("1d", Window::Day),
    ("1w", Window::Week),
    ("1mo", Window::Month),
    ("run", Window::Run),
];
/// How files write what to do with a request that no longer fits.
pub(super) const ON_EXHAUSTED: [(&str, OnExhausted); 3] =
    [("downgrade", OnExhausted::Downgrade), ("reject", OnExhausted::Reject), ("queue", OnExhausted::Queue)];
/// How files write how money is spread over a window.
pub(super) const PACES: [(&str, Pace); 3] =
    [("even", Pace::Even), ("daily", Pace::Daily), ("off", Pace::Off)];
const SCOPES: &str = "\"global\", \"run\", { key = \"NAME\" }, { team = \"NAME\" } or { tag.NAME = \"VALUE\" }, \
                      with \"*\" for each one apart";

pub(super) fn budgets(root: &Table<'_>) -> Vec<Arc<BudgetSpec>> {
    let tables = root.tables("budget");
    let names: Vec<Option<String>> = tables.iter().map(name).collect();
    unique("budget", &tables, &names);
    let specs = tables.into_iter().zip(names).filter_map(|(table, name)| budget(table, name));
    specs.map(Arc::new).collect()
}

fn budget(table: Table<'_>, name: Option<String>) -> Option<BudgetSpec> {
    let scope = scope(&table);
    let limit = table.usd("limit_usd");
    let window = table.one_of("window", &WINDOWS);
    let on_exhausted = table.opt_one_of("on_exhausted", &ON_EXHAUSTED).unwrap_or(OnExhausted::Downgrade);
    let warn_at = warnings(&table);
    let pace = table.opt_one_of("pace", &PACES);
    if let (Some(scope), Some(Window::Run)) = (&scope, window)
        && *scope != Scope::Run
    {
        let help = "write scope = \"run\", or a window of 1h, 1d, 1w or 1mo".to_owned();
        table.problem("window", "only a budget of runs can last for a run", Some(help));
    }
    if window == Some(Window::Run) && pace.is_some_and(|pace| pace != Pace::Off) {
        let help = "leave it out: a run's money gets dearer as it goes; \"off\" turns that off".to_owned();
        table.problem("pace", "a run has no end to spread its money until", Some(help));
    }
    table.finish();
    Some(BudgetSpec {
        name: name?,
        scope: scope?,
        limit: limit?,
        window: window?,
        on_exhausted,
        warn_at,
        pace: pace.unwrap_or_default(),
    })
}

fn warnings(table: &Table<'_>) -> Vec<f64> {
    let shares = table.opt_floats("warn_at", 0.0..=1.0).unwrap_or_default();
    if let Some(index) = shares.iter().position(|share| *share <= 0.0) {
        table.problem_in("warn_at", index, "a warning at nothing spent is always due", None);
    }
    if let Some(index) = shares.windows(2).position(|pair| pair[0] >= pair[1]) {
        table.problem_in("warn_at", index + 1, "`warn_at` must ascend", None);
    }
    shares
}

fn scope(table: &Table<'_>) -> Option<Scope> {
    let help = || Some(format!("it must be {SCOPES}"));
    match table.kind("scope") {
        None => {
            table.document().problem(table.span(), "missing `scope` in [budget]", help());
            None
        }
        Some(Kind::String) => {
            let word = table.opt_string("scope")?;
            let scope = match word.as_str() {
                "global" => Some(Scope::Global),
                "run" => Some(Scope::Run),
                "key" => Some(Scope::Key(Subject::Each)),
                "team" => Some(Scope::Team(Subject::Each)),
                _ => word.strip_prefix("tag.").filter(|name| !name.is_empty()).map(|name| tag(name, "*")),
            };
            if scope.is_none() {
                table.problem("scope", format!("`scope` cannot be {word:?}"), help());
            }
            scope
        }
        Some(Kind::Table) => {
            let inner = table.opt_table("scope")?;
            let scope = scope_table(&inner);
            if scope.is_none() {
                table.problem("scope", "`scope` must name one key, team or tag", help());
            }
            scope
        }
        Some(_) => {
            table.problem("scope", "`scope` must be a word or a table", help());
            None
        }
    }
}

/// `{ team = "search" }`, `{ tag.env = "prod" }`, `{ "tag.env" = "prod" }`: exactly one entry.
fn scope_table(table: &Table<'_>) -> Option<Scope> {
    let mut keys = table.keys();
    let (key, None) = (keys.next()?, keys.next()) else { return None };
    if key == "tag" && table.kind(key) == Some(Kind::Table) {
        let [(name, value)] = <[_; 1]>::try_from(table.opt_table(key)?.pairs()).ok()?;
        return Some(tag(&name, &value)).filter(|_| !name.is_empty() && !value.is_empty());
    }
    let value = (table.kind(key) == Some(Kind::String)).then(|| table.opt_string(key)).flatten()?;
    if value.is_empty() {
        return None;
    }
    match key {
        "key" => Some(Scope::Key(subject(&value))),
        "team" => Some(Scope::Team(subject(&value))),
        _ => key.strip_prefix("tag.").filter(|name| !name.is_empty()).map(|name| tag(name, &value)),
    }
}

fn tag(name: &str, value: &str) -> Scope {
    Scope::Tag { name: name.to_owned(), value: subject(value) }
}

fn subject(name: &str) -> Subject {
    if name == "*" { Subject::Each } else { Subject::Named(name.to_owned()) }
}
