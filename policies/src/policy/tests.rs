use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{Facts, OnExhausted, Scope, Subject, Usd, Window};

const KNOWN: Known<'static> = Known { models: &["small-moe", "large"], regions: &["local"] };

fn told(text: &str) -> String {
    check("my.toml", text, Some(&KNOWN)).expect_err("a wrong policy").to_string()
}

fn facts(tags: &BTreeMap<String, String>) -> Facts<'_> {
    Facts {
        domain: "math",
        difficulty: 0.7,
        p_small: 0.3,
        p_large: 0.8,
        familiar: true,
        confidence: 1.0,
        prompt_tokens: 40,
        output_tokens_p50: 100,
        output_tokens_p90: 400,
        tools: false,
        images: false,
        json: false,
        stream: false,
        model: "auto",
        key: "",
        team: "",
        run: "",
        tags,
        turns: 1,
        deadline_ms: 0,
        quality: 0.95,
    }
}

/// A file with every key there is.
const EVERYTHING: &str = r#"
[policy]
name = "everything"
baseline = "large"
[objective]
quality = 0.9
pace = true
latency_weight = 0.5
max_loss = 0.1
[[rule]]
name = "by tag"
when = 'tags.region == "eu"'
use = ["small-moe"]
min_bits = 4
regions = ["local"]
quality = 0.99
[[rule]]
name = "hard"
when = "difficulty > 0.5"
quality = 1.0
[stick]
decide = "user_turn"
[escalate]
when = "confidence < 0.6"
hold_tokens = 32
[learn]
share = 0.02
limit_usd = 1.5
window = "1w"
judge = "large"
explore = 0.01
promote = true
[[budget]]
name = "all"
scope = "global"
limit_usd = 25.000000001
window = "1mo"
on_exhausted = "queue"
warn_at = [0.5, 1]
pace = "daily"
[[budget]]
name = "prod"
scope = { tag.env = "prod" }
limit_usd = 1
window = "1h"
"#;

#[test]
fn every_shipped_policy_is_sound() {
    for (file, text) in shipped() {
        let policy = check(file, text, Some(&KNOWN)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(format!("{}.toml", policy.name), *file);
        let tags = BTreeMap::new();
        policy.rule_for(&facts(&tags), |rule, error| panic!("{}: {error}", rule.name));
    }
    assert_eq!(shipped()[0].0, "default.toml");
}

#[test]
fn only_the_default_policy_limits_spending_out_of_the_box() {
    // Budgets of all policies in force bind every request, so a second policy must not bring surprises.
    for (file, text) in shipped() {
        let budgets = check(file, text, None).unwrap().budgets;
        assert_eq!(budgets.is_empty(), *file != "default.toml", "{file}");
    }
}

#[test]
fn commented_examples_in_shipped_policies_work_when_uncommented() {
    for (file, text) in shipped() {
        let uncommented: Vec<&str> = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest)
                    if rest.starts_with("[[")
                        || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
                {
                    rest
                }
                _ => line,
            })
            .collect();
        let uncommented = uncommented.join("\n");
        assert_ne!(uncommented, *text, "{file} has no example");
        let policy = check(file, &uncommented, None).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(policy.rules.len() + policy.budgets.len() > check(file, text, None).unwrap().budgets.len());
    }
}

#[test]
fn every_key_is_read() {
    let policy = check("everything.toml", EVERYTHING, Some(&KNOWN)).unwrap();
    assert_eq!((policy.name.as_str(), policy.baseline.as_str()), ("everything", "large"));
    assert_eq!(
        policy.objective,
        Objective { quality: 0.9, max_loss: Some(0.1), pace: true, latency_weight: 0.5 }
    );
    let rule = &policy.rules[0];
    assert_eq!(rule.models.as_deref(), Some(&["small-moe".to_owned()][..]));
    assert_eq!((rule.min_bits, rule.quality), (Some(4), Some(0.99)));
    assert_eq!(rule.regions.as_deref(), Some(&["local".to_owned()][..]));
    assert_eq!(policy.stick.decide, Decide::UserTurn);
    assert_eq!(policy.escalate.as_ref().map(|escalate| escalate.hold_tokens), Some(32));
    let all = &policy.budgets[0];
    assert_eq!(
        (all.limit, all.window, all.on_exhausted),
        (Usd::from_nanos(25_000_000_001), Window::Month, OnExhausted::Queue)
    );
    assert_eq!(all.warn_at, [0.5, 1.0]);
    let prod = Scope::Tag { name: "env".to_owned(), value: Subject::Named("prod".to_owned()) };
    assert_eq!(
        (policy.budgets[1].scope.clone(), policy.budgets[1].on_exhausted),
        (prod, OnExhausted::Downgrade)
    );
    assert_eq!(policy.sha.len(), 64);
    assert_ne!(policy.sha, check("x", &format!("{EVERYTHING}\n"), None).unwrap().sha);
}

#[test]
fn the_first_rule_that_holds_applies() {
    let policy = check("everything.toml", EVERYTHING, None).unwrap();
    let route = |tags: &BTreeMap<String, String>| {
        policy.rule_for(&facts(tags), |_, error| panic!("{error}")).map(|rule| rule.name.clone())
    };
    assert_eq!(route(&BTreeMap::new()).as_deref(), Some("hard"));
    assert_eq!(route(&BTreeMap::from([("region".to_owned(), "eu".to_owned())])).as_deref(), Some("by tag"));
}

#[test]
fn a_rule_that_cannot_be_computed_does_not_apply_and_is_told() {
    let text = "[policy]\nname = \"p\"\nbaseline = \"large\"\n[[rule]]\nname = \"r\"\nwhen = '1 / deadline_ms > 0'\nquality = 1.0\n";
    let policy = check("p.toml", text, None).unwrap();
    let (tags, mut failed) = (BTreeMap::new(), Vec::new());
    assert!(policy.rule_for(&facts(&tags), |rule, error| failed.push((rule.name.clone(), error))).is_none());
    assert_eq!(failed.len(), 1);
}

#[test]
fn every_way_to_write_a_scope() {
    let named = |name: &str| Subject::Named(name.to_owned());
    let tag = |name: &str, value| Scope::Tag { name: name.to_owned(), value };
    for (written, scope) in [
        ("\"global\"", Scope::Global),
        ("\"run\"", Scope::Run),
        ("\"team\"", Scope::Team(Subject::Each)),
        ("\"key\"", Scope::Key(Subject::Each)),
        ("\"tag.env\"", tag("env", Subject::Each)),
        ("{ team = \"search\" }", Scope::Team(named("search"))),
        ("{ key = \"*\" }", Scope::Key(Subject::Each)),
        ("{ tag.env = \"prod\" }", tag("env", named("prod"))),
        ("{ \"tag.a.b\" = \"x\" }", tag("a.b", named("x"))),
    ] {
        let text = format!(
            "[policy]\nname = \"p\"\nbaseline = \"large\"\n[[budget]]\nname = \"b\"\nscope = {written}\nlimit_usd = 1\nwindow = \"1d\"\n"
        );
        assert_eq!(check("p.toml", &text, None).unwrap().budgets[0].scope, scope, "{written}");
    }
}

#[test]
fn all_problems_are_told_at_once_where_they_stand() {
    insta::assert_snapshot!(told(
        r#"
[policy]
name = "my policy"
baseline = "lagre"
colour = "blue"

[objective]
quality = 1.5
pace = "yes"

[[rule]]
name = "exact"
when = 'domain in ["math"] && dificulty > 0.5'
min_bits = 0
regions = ["eu"]

[[rule]]
name = "exact"
when = "team == \"a\" && domain.matches(\"x\")"
use = ["small-mo"]

[[rule]]
name = "idle"
when = 'confidence < 0.5'

[stik]
decide = "run"

[escalate]
hold_tokens = 9000

[[budget]]
name = "b"
scope = { teem = "search" }
limit_usd = "25"
window = "2d"
on_exhausted = "downgrad"
warn_at = [0.8, 0.5]

[[budget]]
scope = "global"
limit_usd = 5
window = "run"
"#
    ));
}

#[test]
fn an_empty_file_says_what_it_needs() {
    insta::assert_snapshot!(told(""), @r"
    my.toml:1:1: error: missing `policy`
        help: it must be a table
    ");
}

#[test]
fn a_condition_over_several_lines_points_at_the_right_one() {
    let text = "[policy]\nname = \"p\"\nbaseline = \"large\"\n[[rule]]\nname = \"r\"\nquality = 1.0\nwhen = '''\ntools\n  || nope\n'''\n";
    insta::assert_snapshot!(told(text), @r"
    my.toml:9:6: error: unknown variable `nope`
        help: one of `domain`, `difficulty`, `p_small`, `p_large`, `familiar`, `confidence`, `prompt_tokens`, `output_tokens_p50`, `output_tokens_p90`, `tools`, `images`, `json`, `stream`, `model`, `key`, `team`, `run`, `tags`, `turns`, `deadline_ms`, `quality`
    ");
}

#[test]
fn learning_has_a_budget_that_only_it_spends() {
    let text = "[policy]\nname = \"p\"\nbaseline = \"large\"\n[learn]\nshare = 0.1\nlimit_usd = 2\n";
    let policy = check("my.toml", text, Some(&KNOWN)).unwrap();
    let learn = policy.learn.unwrap();
    assert_eq!((learn.share, learn.explore, learn.promote, learn.judge), (0.1, 0.0, false, None));
    let [purse] = policy.budgets.as_slice() else { panic!("{:?}", policy.budgets) };
    let tags = std::collections::BTreeMap::new();
    let who = |learning| crate::Spender { key: Some("k"), team: Some("t"), tags: &tags, run: None, learning };
    assert_eq!(purse.subject(&who(Some("p"))), Some("p"));
    assert_eq!(purse.subject(&who(Some("q"))), None);
    assert_eq!(purse.subject(&who(None)), None, "a request of a user's");
}

#[test]
fn learning_without_a_limit_or_in_a_run_is_refused() {
    insta::assert_snapshot!(told("[policy]\nname = \"p\"\nbaseline = \"large\"\n[learn]\nshare = 0.1\njudge = \"larg\"\nwindow = \"run\"\nexplore = 0.5\n"), @r"
    my.toml:5:9: error: `share` needs a `limit_usd`
        help: asking twice costs money: limit_usd = 1.0 is a dollar each window

    my.toml:6:9: error: no model is called `larg`
        help: did you mean `large`?

    my.toml:7:10: error: what is learned belongs to no run
        help: write 1h, 1d, 1w or 1mo

    my.toml:8:11: error: `explore` is 0.5, but must be from 0 to 0.2
    ");
}

/// Every key the schema knows, by section, is one that the reader knows too, and the other way round.
#[test]
fn the_schema_knows_the_keys_the_reader_knows() {
    let schema: Value = serde_json::from_str(&json_schema()).unwrap();
    let document: toml_edit::DocumentMut = EVERYTHING.parse().unwrap();
    let sections: Vec<&str> = document.iter().map(|(key, _)| key).collect();
    let of_schema = |at: &Value| -> Vec<String> {
        let mut keys: Vec<String> = at["properties"].as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let mut sorted: Vec<String> = sections.iter().map(|key| (*key).to_owned()).collect();
    sorted.sort();
    assert_eq!(of_schema(&schema), sorted);
    for section in sections {
        let (item, part) = (&document[section], &schema["properties"][section]);
        let (table, part) = match item.as_array_of_tables() {
            Some(tables) => (tables.get(0).unwrap(), &part["items"]),
            None => (item.as_table().unwrap(), part),
        };
        let mut keys: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
        keys.sort();
        assert_eq!(of_schema(part), keys, "[{section}]");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = check("x.toml", &text, Some(&KNOWN));
    }

    #[test]
    fn no_damage_to_a_good_file_panics(at in 0..EVERYTHING.len(), drop in 0usize..40, insert in "[\\PC\n]{0,6}") {
        let end = (at + drop).min(EVERYTHING.len());
        let text = format!("{}{insert}{}", &EVERYTHING[..at], &EVERYTHING[end..]);
        if let Err(problems) = check("x.toml", &text, Some(&KNOWN)) {
            prop_assert!(!problems.0.is_empty());
        }
    }
}
