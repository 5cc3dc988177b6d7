//! What ships beside the code must speak of the code's own series: the dashboard, the rules and the list for people.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;

use super::series::ALL;
use crate::upstream::Failure;
use crate::wire::error::{Defect, Fault, Notice, Origin};

const DASHBOARD: &str = include_str!("../../../dashboards/cost.json");
const RULES: &str = include_str!("../../../dashboards/rules.yml");
const LIST: &str = include_str!("../../../docs/metrics.md");

/// Every word that names a series, without what a histogram adds to it.
fn series_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let named = words.filter(|word| word.starts_with("tollgate_") || word.starts_with("gen_ai_"));
    let bare = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    named.map(bare).collect()
}

#[test]
fn dashboards_and_rules_read_only_what_is_exported() {
    let exported: BTreeSet<&str> =
        ALL.iter().flat_map(|series| series.labels.iter().copied().chain([series.name])).collect();
    for (file, text) in [("cost.json", DASHBOARD), ("rules.yml", RULES)] {
        let named = series_of(text);
        assert!(named.len() > 5, "{file} names {named:?}");
        let unknown: Vec<_> = named.iter().filter(|name| !exported.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{file} reads what nobody exports: {unknown:?}");
    }
    let recorded: BTreeSet<&str> =
        RULES.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let words = DASHBOARD.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    for read in words.filter(|word| word.starts_with("tollgate:")) {
        assert!(recorded.contains(read), "cost.json reads {read}, which rules.yml does not record");
    }
}

#[test]
fn the_list_for_people_is_whole() {
    let row = |series: &super::series::Series| {
        let labels = match series.labels {
            [] => String::new(),
            labels => format!(" {{{}}}", labels.join(", ")),
        };
        format!("| `{}`{labels} | {} | {} |", series.name, series.kind.as_str(), series.help)
    };
    let wanted: BTreeSet<String> = ALL.iter().map(row).collect();
    let found: BTreeSet<String> =
        LIST.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    assert_eq!(found, wanted);
}

fn notices() -> Vec<Notice> {
    let engine = || "e".to_owned();
    let failures = [
        Failure::Unreachable { engine: engine() },
        Failure::Broken { engine: engine() },
        Failure::Slow { engine: engine(), waited: Duration::ZERO },
        Failure::Busy { engine: engine() },
        Failure::Status { engine: engine(), status: StatusCode::BAD_GATEWAY },
        Failure::Unable { engine: engine() },
        Failure::Garbled { engine: engine() },
    ];
    let down = tollgate_router::NoCandidate {
        kind: tollgate_router::RefusalKind::Down,
        reason: String::new(),
        verdicts: Vec::new(),
    };
    let faults = [
        Fault::Overloaded,
        Fault::Deadline { ms: 1 },
        Fault::NoCandidate(down),
        Fault::Ledger(crate::ledger::LedgerError::Closed),
        Fault::Internal(Defect::Catalogue),
    ];
    failures.iter().map(Failure::notice).chain(faults.iter().map(Fault::notice)).collect()
}

/// The alert on failing requests counts what is nobody's own mistake, and only that.
#[test]
fn the_rules_know_which_outcomes_are_failures() {
    let (_, rest) = RULES.split_once("status=~\"").unwrap();
    let listed: BTreeSet<&str> = rest.split_once('"').unwrap().0.split('|').collect();
    let notices = notices();
    let mut failing: BTreeSet<&str> = notices.iter().map(|notice| notice.code).collect();
    // The word for an answer that broke off after its first byte.
    failing.insert("error");
    assert_eq!(listed, failing);
    for notice in notices.iter().filter(|notice| notice.code != "deadline_exceeded") {
        assert_ne!(notice.origin, Origin::Client, "{}", notice.code);
    }
}
