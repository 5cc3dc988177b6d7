//! Decisions on made-up scores: filters, the objective's order, and what must hold for any input.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tollgate_policies::{Facts, PerToken, Policy, Price, TokenPrice, Usd, check};

use crate::classify::{OutputTokens, Score};
use crate::{
    Capabilities, Catalog, Decision, Live, Model, Needs, NoCandidate, QualityTable, RefusalKind, decide,
};

const POLICY: &str = r#"
[policy]
name = "test"
baseline = "large"
[objective]
quality = 0.9
[[rule]]
name = "eu stays"
when = 'tags.region == "eu"'
regions = ["eu"]
[[rule]]
name = "exact"
when = 'domain == "math"'
min_bits = 8
[[rule]]
name = "named"
when = 'team == "pilots"'
use = ["middle"]
"#;

fn model(name: &str, ability: f64, price: u64, bits: u32, region: &str) -> Model {
    let price = TokenPrice::new(PerToken::from_picos(price), PerToken::from_picos(price * 4));
    let price = Price::Tokens(price);
    Model {
        name: name.into(),
        engine: format!("{name}-engine"),
        upstream_model: name.into(),
        bits: Some(bits),
        price,
        context: 4096,
        can: Capabilities { tools: true, json: true, images: name == "large", ..Capabilities::default() },
        part_tokens: 4_096,
        regions: vec![region.into()],
        ability: ability.into(),
    }
}

fn catalog() -> Catalog {
    Catalog::new(vec![
        model("small", 0.0, 50_000, 4, "eu"),
        model("middle", 0.5, 400_000, 8, "us"),
        model("large", 1.0, 2_000_000, 16, "us"),
    ])
}

fn score(p_small: f32, p_large: f32) -> Score {
    let tolerance = QualityTable::new(vec![(0.5, 0.6), (0.9, 0.2), (0.99, 0.02)]).unwrap();
    Score {
        p_small,
        p_large,
        familiar: true,
        output: OutputTokens { p50: 100, p90: 300 },
        tolerance: Arc::new(tolerance),
        ..Score::default()
    }
}

/// Who asks, for rules.
#[derive(Default)]
struct Asker {
    domain: &'static str,
    team: &'static str,
    tags: BTreeMap<String, String>,
}

fn decided(
    asker: &Asker,
    live: &[Live],
    score: &Score,
    needs: &Needs<'_>,
    money: f64,
) -> Result<Decision, NoCandidate> {
    let policy: Policy = check("test.toml", POLICY, None).unwrap();
    let facts = Facts {
        domain: asker.domain,
        difficulty: 0.5,
        p_small: f64::from(score.p_small),
        p_large: f64::from(score.p_large),
        familiar: score.familiar,
        confidence: 1.0,
        prompt_tokens: needs.prompt_tokens,
        output_tokens_p50: 100,
        output_tokens_p90: 300,
        tools: needs.tools,
        images: needs.images,
        json: needs.json,
        stream: false,
        model: "auto",
        key: "",
        team: asker.team,
        run: "",
        tags: &asker.tags,
        turns: 1,
        deadline_ms: needs.deadline_ms.unwrap_or(0),
        quality: 0.9,
    };
    decide(&policy, &catalog(), live, score, &facts, needs, money)
}

fn plain(score: &Score, needs: &Needs<'_>) -> Result<Decision, NoCandidate> {
    decided(&Asker::default(), &[Live::default(); 3], score, needs, 0.0)
}

fn needs<'a>() -> Needs<'a> {
    Needs { prompt_tokens: 100, prompt_tokens_upper: 500, ..Needs::default() }
}

fn chosen(decision: &Decision) -> &str {
    &decision.verdicts[decision.ranked[0]].model
}

#[test]
fn the_cheapest_that_is_good_enough_answers() {
    let easy = plain(&score(0.95, 0.97), &needs()).unwrap();
    assert_eq!((chosen(&easy), easy.route.as_str()), ("small", "objective"));
    assert_eq!(easy.ranked, [0, 1, 2], "the others are fallbacks, cheaper first");
    assert_eq!(chosen(&plain(&score(0.3, 0.9), &needs()).unwrap()), "large");
    assert_eq!(chosen(&plain(&score(0.7, 0.95), &needs()).unwrap()), "middle");
}

#[test]
fn an_unfamiliar_prompt_goes_up() {
    let familiar = score(0.80, 0.95);
    let unfamiliar = Score { familiar: false, ..familiar.clone() };
    assert_eq!(chosen(&plain(&familiar, &needs()).unwrap()), "small");
    let up = plain(&unfamiliar, &needs()).unwrap();
    assert_eq!(chosen(&up), "large");
    assert!(up.reason.contains("unlike the training prompts"), "{}", up.reason);
}

#[test]
fn dear_money_moves_down_smoothly() {
    let hard = score(0.3, 0.9);
    let at = |money| {
        let decision = decided(&Asker::default(), &[Live::default(); 3], &hard, &needs(), money).unwrap();
        chosen(&decision).to_owned()
    };
    assert_eq!([at(0.0), at(400.0), at(100_000.0)], ["large", "middle", "small"]);
}

#[test]
fn what_a_weak_baseline_seldom_manages_does_not_go_to_a_model_that_never_does() {
    let enough = super::objective::good_enough(0.10, 0.88, 0.14);
    assert!((enough - 0.10 * (1.0 - 0.14 / 0.88)).abs() < 1e-12, "the same share is given up: {enough}");
    assert!(
        (super::objective::good_enough(0.88, 0.88, 0.14) - 0.74).abs() < 1e-12,
        "of the reference, the gap itself"
    );
    assert!(
        (super::objective::good_enough(0.95, 0.88, 0.14) - 0.81).abs() < 1e-12,
        "of a better one, no more points"
    );
    assert!(
        (super::objective::good_enough(0.10, 0.88, -0.05) - 0.15).abs() < 1e-12,
        "more than the baseline is asked for as it is"
    );
}

#[test]
fn each_model_counts_tokens_in_its_own_way() {
    let needs = Needs { prompt_tokens: 1_000, prompt_tokens_upper: 3_000, ..Needs::default() };
    let at = |ratio| {
        let live = [Live { token_ratio: ratio, ..Live::default() }, Live::default(), Live::default()];
        let made = decided(&Asker::default(), &live, &score(0.95, 0.97), &needs, 0.0).unwrap();
        (made.verdicts[0].cost, made.verdicts[1].cost, made.verdicts[0].refused.clone())
    };
    let (plain, other, _) = at(1.0);
    let (fewer, same, _) = at(0.5);
    assert!(fewer < plain && same == other);
    assert!(at(100.0).0 <= made_of(&needs), "never more than is certain");
}

/// What a prompt of the certain length costs the small model, and an answer as long as any.
fn made_of(needs: &Needs<'_>) -> Usd {
    let live = [Live::default(); 3];
    decided(&Asker::default(), &live, &score(0.95, 0.97), needs, 0.0).unwrap().verdicts[0].worst_cost
}

#[test]
fn every_filter_says_why() {
    let down = [Live { up: false, ..Live::default() }, Live::default(), Live::default()];
    let easy = score(0.95, 0.97);
    let own = ["middle".to_owned()];
    let eu = Asker { tags: BTreeMap::from([("region".to_owned(), "eu".to_owned())]), ..Asker::default() };
    let cases: [(&str, Result<Decision, NoCandidate>, &str, &str); 7] = [
        ("down", decided(&Asker::default(), &down, &easy, &needs(), 0.0), "middle", "is down"),
        ("images", plain(&easy, &Needs { images: true, ..needs() }), "large", "no support for images"),
        ("key", plain(&easy, &Needs { allowed: Some(&own), ..needs() }), "middle", "may not use"),
        ("pinned", plain(&easy, &Needs { pinned: Some("large"), ..needs() }), "large", "asks for large"),
        (
            "bits",
            decided(
                &Asker { domain: "math", ..Asker::default() },
                &[Live::default(); 3],
                &easy,
                &needs(),
                0.0,
            ),
            "middle",
            "wants 8 bits, it has 4",
        ),
        (
            "use",
            decided(
                &Asker { team: "pilots", ..Asker::default() },
                &[Live::default(); 3],
                &easy,
                &needs(),
                0.0,
            ),
            "middle",
            "does not name it",
        ),
        (
            "region",
            decided(&eu, &[Live::default(); 3], &score(0.2, 0.9), &needs(), 0.0),
            "small",
            "keeps it to eu",
        ),
    ];
    for (name, decision, model, why) in cases {
        let decision = decision.unwrap();
        assert_eq!(chosen(&decision), model, "{name}");
        assert!(
            decision.verdicts.iter().any(|v| v.refused.as_deref().is_some_and(|text| text.contains(why))),
            "{name}"
        );
    }
}

#[test]
fn vectors_come_from_the_named_model_wherever_it_runs() {
    let embeds = |name: &str, upstream: &str| {
        let mut model = model(name, 0.0, 20_000, 16, "eu");
        model.can = Capabilities { embeddings: true, ..Capabilities::default() };
        model.upstream_model = upstream.into();
        model
    };
    let models =
        [catalog().models().to_vec(), vec![embeds("e1", "bge"), embeds("e2", "bge"), embeds("e3", "e5")]];
    let catalog = Catalog::new(models.concat());
    let policy = check("test.toml", POLICY, None).unwrap();
    let tags = BTreeMap::new();
    let score = score(0.9, 0.95);
    let ask = |live: &[Live], needs: &Needs<'_>| {
        decide(&policy, &catalog, live, &score, &score.facts(100, &tags, 0.9), needs, 0.0)
    };
    let wanted = Needs { embeddings: Some("bge"), pinned: Some("e2"), max_tokens: Some(0), ..needs() };
    let mut decision = ask(&[Live::default(); 6], &wanted).unwrap();
    decision.embed("e2");
    assert_eq!((&decision.ranked[..], decision.baseline), (&[4, 3][..], 4), "never another model's");
    let verdict = &decision.verdicts[4];
    assert_eq!(
        (verdict.output_cap, verdict.cost.nanos(), verdict.worst_cost.nanos()),
        (0, 2_000, 10_000),
        "no answer"
    );
    let mut live = [Live::default(); 6];
    live[4].up = false;
    let mut decision = ask(&live, &wanted).unwrap();
    decision.embed("e2");
    assert_eq!(decision.ranked, [3]);
    assert!(decision.reason.contains("e1 is the same model as e2"), "{}", decision.reason);
    let chat = ask(&[Live::default(); 6], &needs()).unwrap();
    assert!(chat.ranked.iter().all(|place| *place < 3), "no chat goes to a model that embeds");
    let none =
        ask(&[Live::default(); 6], &Needs { pinned: Some("large"), embeddings: Some("large"), ..wanted })
            .unwrap_err();
    assert!(none.reason.contains("large: it has no support for embeddings"), "{}", none.reason);
    let none = ask(&[Live::default(); 6], &Needs { pinned: Some("e3"), ..needs() }).unwrap_err();
    assert!(none.reason.contains("/v1/embeddings"), "{}", none.reason);
}

#[test]
fn nobody_left_is_explained_by_the_nearest() {
    let kind = |needs: &Needs<'_>| plain(&score(0.9, 0.95), needs).unwrap_err().kind;
    assert_eq!(kind(&Needs { prompt_tokens: 5_000, ..needs() }), RefusalKind::Context);
    assert_eq!(kind(&Needs { deadline_ms: Some(1), ..needs() }), RefusalKind::Deadline);
    assert_eq!(kind(&Needs { max_cost: Some(Usd::ZERO), ..needs() }), RefusalKind::MaxCost);
    assert_eq!(kind(&Needs { affordable: Some(Usd::ZERO), ..needs() }), RefusalKind::Budget);
    assert_eq!(kind(&Needs { pinned: Some("gone"), ..needs() }), RefusalKind::NotAsked);
    assert_eq!(kind(&Needs { allowed: Some(&[]), ..needs() }), RefusalKind::NotAllowed);
    assert_eq!(kind(&Needs { routing: Some("models"), ..needs() }), RefusalKind::Routing);
    let none =
        plain(&score(0.9, 0.95), &Needs { images: true, pinned: Some("small"), ..needs() }).unwrap_err();
    assert_eq!(
        (none.kind, none.reason.as_str()),
        (RefusalKind::Capability, "small: it has no support for images")
    );
}

#[test]
fn a_limit_shortens_the_answer_before_it_refuses() {
    let hard = score(0.2, 0.95);
    let free = plain(&hard, &needs()).unwrap();
    let large = &free.verdicts[2];
    assert_eq!(large.output_cap, 3_996, "the rest of the window");
    let half = Usd::from_nanos(large.worst_cost.nanos() / 2);
    let tight = plain(&hard, &Needs { affordable: Some(half), ..needs() }).unwrap();
    let capped = &tight.verdicts[2];
    assert_eq!(chosen(&tight), "large");
    assert!(capped.worst_cost <= half && capped.output_cap > 100 && capped.output_cap < large.output_cap);
    assert!(
        plain(&hard, &Needs { max_tokens: Some(7), ..needs() })
            .unwrap()
            .verdicts
            .iter()
            .all(|v| v.output_cap == 7)
    );
}

#[test]
fn a_deadline_prefers_who_can_meet_it() {
    let live = [
        Live { tokens_per_second: 200.0, prompt_tokens_per_second: 2000.0, ..Live::default() },
        Live::default(),
        Live { tokens_per_second: 20.0, prompt_tokens_per_second: 2000.0, queue_depth: 3, ..Live::default() },
    ];
    let hard = score(0.3, 0.9);
    let go = |deadline_ms| {
        decided(&Asker::default(), &live, &hard, &Needs { deadline_ms, ..needs() }, 0.0).unwrap()
    };
    assert_eq!(chosen(&go(None)), "large");
    assert_eq!(chosen(&go(Some(3_000))), "small");
}

#[test]
fn a_decision_is_shown_as_json() {
    let json = serde_json::to_value(plain(&score(0.95, 0.97), &needs()).unwrap()).unwrap();
    assert_eq!(json["ranked"], serde_json::json!([0, 1, 2]));
    assert_eq!(json["verdicts"][0]["model"], "small");
    assert!(json["verdicts"][0]["refused"].is_null());
}

proptest! {
    #[test]
    fn asking_for_more_quality_never_gives_less(
        small in 0.01f32..0.99, large in 0.01f32..0.99, a in 0.0..1.0f64, b in 0.0..1.0f64,
        money in 0.0..2_000.0f64, familiar: bool, deadline in proptest::option::of(200u64..60_000),
    ) {
        let score = Score { familiar, ..score(small, large) };
        let at = |quality| plain_money(&score, &Needs { quality: Some(quality), deadline_ms: deadline, ..needs() }, money);
        let (low, high) = (at(a.min(b)), at(a.max(b)));
        match (low, high) {
            (Ok(low), Ok(high)) => {
                prop_assert!(high.verdicts[high.ranked[0]].p_good >= low.verdicts[low.ranked[0]].p_good - 1e-12);
            }
            (low, high) => prop_assert_eq!(low.is_err(), high.is_err(), "quality refuses nobody"),
        }
    }

    #[test]
    fn decisions_repeat_and_rank_only_who_may_answer(
        small in 0.0f32..=1.0, large in 0.0f32..=1.0, up: [bool; 3], tokens in 1u64..6_000,
        affordable in proptest::option::of(0i64..50_000_000),
    ) {
        let live = up.map(|up| Live { up, ..Live::default() });
        let score = score(small, large);
        let needs = Needs { prompt_tokens: tokens, prompt_tokens_upper: tokens * 4, affordable: affordable.map(Usd::from_nanos), ..Needs::default() };
        let go = || decided(&Asker::default(), &live, &score, &needs, 1.0);
        match (go(), go()) {
            (Ok(first), Ok(second)) => {
                prop_assert_eq!(&first.ranked, &second.ranked);
                prop_assert_eq!(&first.verdicts, &second.verdicts);
                for (at, verdict) in first.verdicts.iter().enumerate() {
                    prop_assert_eq!(first.ranked.contains(&at), verdict.refused.is_none());
                    prop_assert!(verdict.cost <= verdict.worst_cost && verdict.utility.is_finite());
                    if verdict.refused.is_none() {
                        prop_assert!(needs.affordable.is_none_or(|limit| verdict.worst_cost <= limit));
                    }
                }
            }
            (Err(first), Err(_)) => prop_assert!(first.verdicts.iter().all(|verdict| verdict.refused.is_some())),
            _ => prop_assert!(false, "one of two equal calls failed"),
        }
    }
}

fn plain_money(score: &Score, needs: &Needs<'_>, money: f64) -> Result<Decision, NoCandidate> {
    decided(&Asker::default(), &[Live::default(); 3], score, needs, money)
}

#[test]
fn a_bounded_loss_counts_where_it_is_tighter_than_the_quality() {
    let bounded = POLICY.replacen("[objective]", "[objective]\nmax_loss = 0.1", 1);
    let policy: Policy = check("test.toml", &bounded, None).unwrap();
    let with = |losses: Vec<(f64, f64)>| {
        let points = vec![(0.5, 0.6), (0.9, 0.2), (0.99, 0.02)];
        let table = QualityTable::with_losses(points, losses).unwrap();
        // A gap of 0.15: within what a quality of 0.9 tolerates.
        let score = Score { tolerance: Arc::new(table), ..score(0.7, 0.85) };
        let bound = policy.objective.max_loss.map(|most| super::bounded_gap(&score, most));
        super::tolerated_gap(&score, 0.9, bound)
    };
    assert!((with(vec![(0.05, 0.1), (0.1, 0.12)]) - 0.12).abs() < 1e-9, "the bound is tighter");
    assert!((with(vec![(0.05, 0.1), (0.1, 0.5)]) - 0.2).abs() < 1e-9, "the quality is");
    assert!(with(vec![(0.2, 0.5)]).abs() < 1e-9, "what nothing bounds tolerates no gap");
    assert!((with(vec![(0.1, -0.05)]) + 0.05).abs() < 1e-9, "a bound may ask for more than the baseline");
}
