use std::collections::BTreeMap;

use super::*;

fn facts(tags: &BTreeMap<String, String>) -> Facts<'_> {
    Facts {
        domain: "math",
        difficulty: 0.6,
        p_small: 0.3,
        p_large: 0.8,
        familiar: true,
        confidence: 1.0,
        prompt_tokens: 900,
        output_tokens_p50: 120,
        output_tokens_p90: 400,
        tools: false,
        images: false,
        json: false,
        stream: true,
        model: "auto",
        key: "ci",
        team: "search",
        run: "",
        tags,
        turns: 1,
        deadline_ms: 0,
        quality: 0.95,
    }
}

fn holds(source: &str) -> bool {
    let tags = BTreeMap::from([("region".to_owned(), "eu".to_owned()), ("a.b".to_owned(), "x".to_owned())]);
    Condition::compile(source, Place::Escalate).unwrap().eval(&facts(&tags)).unwrap()
}

fn flaws(source: &str) -> Vec<(usize, String)> {
    let flaws = Condition::compile(source, Place::Escalate).expect_err(source);
    flaws.into_iter().map(|flaw| (flaw.at, flaw.message)).collect()
}

#[test]
fn facts_are_read_by_their_names() {
    for source in [
        r#"domain in ["math", "code"] && difficulty > 0.5"#,
        "difficulty >= 0 && difficulty < 1",
        "p_large - p_small > 0.25",
        "prompt_tokens + output_tokens_p90 > 1000",
        "double(prompt_tokens) * 1.5 > 1000.0",
        "!tools && !(images || json) && stream && familiar",
        r#"team == "search" && key.startsWith("c") && run == """#,
        r#"["search", "ads"].exists(name, name == team)"#,
        r#"size(model) == 4 && turns == 1 && deadline_ms == 0"#,
        r#"(stream ? 0.9 : 0.99) < quality"#,
    ] {
        assert!(holds(source), "{source}");
    }
}

#[test]
fn a_domain_that_there_is_none_of_is_a_flaw() {
    assert_eq!(
        flaws(r#"domain in ["math", "science"] || "maths" != domain"#),
        [(7, r#"`domain` is never "science""#.to_owned()), (41, r#"`domain` is never "maths""#.to_owned())]
    );
    assert!(holds(r#"!(domain == "code") && ["x"].exists(domain, domain == "x")"#), "another name hides it");
}

#[test]
fn a_missing_tag_is_empty_text() {
    for source in [
        r#"tags.region == "eu""#,
        r#"tags["region"] == "eu" && tags["a.b"] == "x""#,
        r#"tags.nothing == "" && !has(tags.nothing) && has(tags.region)"#,
        r#""region" in tags && !("nothing" in tags)"#,
        r#"["region"].all(name, tags[name] != "")"#,
        r#"["eu", "uk"].exists(region, tags.region == region)"#,
    ] {
        assert!(holds(source), "{source}");
    }
}

#[test]
fn every_fact_is_documented_and_readable() {
    let tags = BTreeMap::new();
    for fact in FACTS {
        let source = match fact.kind {
            FactKind::Bool => format!("{0} == {0}", fact.name),
            FactKind::Text => format!("size({0}) >= 0", fact.name),
            FactKind::Tags => format!("!(\"x\" in {0})", fact.name),
            FactKind::Int => format!("{0} % 7 >= 0", fact.name),
            FactKind::Double => format!("{0} * 2.0 >= 0.0", fact.name),
        };
        assert_eq!(
            Condition::compile(&source, Place::Escalate).unwrap().eval(&facts(&tags)),
            Ok(true),
            "{source}"
        );
    }
    // Every field of `Facts` is there: the debug form names each once.
    let fields = format!("{:?}", facts(&tags)).matches(": ").count();
    assert_eq!(fields, FACTS.len());
}

#[test]
fn mistakes_are_found_before_any_request_meets_them() {
    for (source, at, message) in [
        ("dificulty > 0.5", 0, "unknown variable `dificulty`"),
        ("tools || domian == \"math\"", 9, "unknown variable `domian`"),
        ("\"é\" == domain && nope", 17, "unknown variable `nope`"),
        ("difficulty", 0, "a condition must be true or false, this is a number"),
        ("difficulty > \"0.5\"", 11, "a number never compares to text"),
        ("domain = \"math\"", 7, "not a CEL condition: token recognition error at: '= '"),
        ("prompt_tokens * 1.5 > 3.0", 14, "`*` does not mix whole numbers with others"),
        ("domain.matches(\"ma.*\")", 14, "unknown function `matches`"),
        ("size(domain) > 3 && sizeof(domain) > 3", 26, "unknown function `sizeof`"),
        ("difficulty.x == \"\"", 10, "`.x` of a number: only `tags` has fields"),
        ("domain in \"math\"", 7, "`in` needs a list or the tags, not text"),
        ("difficulty in [\"math\"]", 11, "a number is never in a list of other things"),
        ("tools && team", 6, "`&&` joins true or false, not text"),
        ("team == null", 8, "conditions have no null or bytes"),
        ("\"é\" == domain && ", 17, "not a CEL condition: it ends in the middle"),
        ("{\"a\": 1} == {\"a\": 1}", 0, "conditions have no maps or messages"),
    ] {
        let flaws = flaws(source);
        let found = flaws.iter().any(|(place, text)| *place == at && text.starts_with(message));
        assert!(found, "{source}: {flaws:?}");
    }
}

#[test]
fn several_mistakes_are_reported_together() {
    assert_eq!(flaws("dificulty > 0.5 && domian == \"x\" && tools > 1").len(), 3);
}

#[test]
fn what_cannot_be_computed_is_an_error_and_no_panic() {
    let tags = BTreeMap::new();
    for source in
        ["10 / deadline_ms > 1", "int(team) > 1", "[1, 2][turns + 5] > 0", "9223372036854775807 + turns > 0"]
    {
        let error = Condition::compile(source, Place::Escalate).unwrap().eval(&facts(&tags)).unwrap_err();
        assert_eq!(error.condition, source);
    }
}

#[test]
fn confidence_is_known_only_while_escalating() {
    assert!(Condition::compile("confidence < 0.6", Place::Escalate).is_ok());
    assert!(Condition::compile("confidence < 0.6", Place::Rule).is_err());
}

#[test]
fn oversized_conditions_are_refused_and_not_a_crash() {
    for source in [
        format!("{}tools{}", "(".repeat(900), ")".repeat(900)),
        "!".repeat(1_900) + "tools",
        "-".repeat(1_900) + "1 > 0",
        "tools || ".repeat(300) + "tools",
        format!("turns{} > 0", " + 1".repeat(400)),
        "a".to_owned() + &".a".repeat(900),
        format!("team == \"{}\"", "x".repeat(2_000)),
    ] {
        let flaws = Condition::compile(&source, Place::Rule).unwrap_err();
        assert_eq!(flaws[0].message, "the condition is too large from here on");
    }
}

#[test]
fn the_largest_conditions_fit_an_ordinary_stack() {
    let tags = BTreeMap::new();
    for source in [
        "tools || ".repeat(200) + "stream",
        format!("turns{} > 0", " + 1".repeat(31)),
        format!("{}stream{}", "(".repeat(12), ")".repeat(12)),
        "!".repeat(32) + "stream",
        format!("[{}] != []", vec!["1"; 900].join(",")),
    ] {
        let condition = Condition::compile(&source, Place::Rule).unwrap();
        assert_eq!(condition.eval(&facts(&tags)), Ok(true), "{source}");
    }
    assert!(Condition::compile(&("a".to_owned() + &".a".repeat(32)), Place::Rule).is_err());
    assert!(Condition::compile(&("tags".to_owned() + &"[tags".repeat(12)), Place::Rule).is_err());
}
