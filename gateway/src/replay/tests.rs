//! Replays of made-up receipts.

use tollgate_policies::{PerToken, Price, TokenPrice, check};
use tollgate_router::{Capabilities, Model};

use super::*;
use crate::ledger::Timings;

const DAY_MS: u64 = 86_400_000;

fn model(name: &str, picos: u64, ability: f64) -> Model {
    let price = TokenPrice::new(PerToken::from_picos(picos), PerToken::from_picos(picos));
    Model {
        name: name.into(),
        engine: "engine".into(),
        upstream_model: name.into(),
        bits: None,
        price: Price::Tokens(price),
        context: 8192,
        can: Capabilities::default(),
        part_tokens: 4_096,
        regions: Vec::new(),
        ability: ability.into(),
    }
}

fn world() -> World {
    let speed = |model: &str, tokens_per_second| Speed { model: model.to_owned(), tokens_per_second };
    World {
        catalog: Catalog::new(vec![model("small", 1_000_000, 0.0), model("large", 10_000_000, 1.0)]),
        tolerance: Arc::default(),
        speeds: vec![speed("small", 100.0), speed("large", 20.0)],
        keys: HashMap::new(),
        daily: Shape::even(),
    }
}

fn policy(rest: &str) -> Policy {
    check("p.toml", &format!("[policy]\nname = \"p\"\nbaseline = \"large\"\n{rest}"), None).unwrap()
}

/// 100 tokens in and 100 out on the large model, which is 2,000 microdollars.
fn receipt(at_ms: u64, p_small: f64) -> (Receipt, Asked) {
    let receipt = Receipt {
        at_ms,
        model: "large".to_owned(),
        domain: "chat".to_owned(),
        p_small: Some(p_small),
        p_large: Some(0.9),
        usage: Usage { prompt_tokens: 100, completion_tokens: 100, ..Usage::default() },
        cost: Usd::from_nanos(2_000_000),
        timings: Timings { total_ms: 5_000, ..Timings::default() },
        ..Receipt::default()
    };
    let asked = Asked {
        model: "auto".to_owned(),
        prompt_tokens: 100,
        prompt_tokens_upper: 120,
        max_tokens: 200,
        choices: 1,
        turns: 1,
        familiar: true,
        output_tokens: (100, 150),
        ..Asked::default()
    };
    (receipt, asked)
}

#[test]
fn what_keeps_its_model_costs_and_takes_what_it_did() {
    let (world, policy) = (world(), policy("[objective]\nquality = 1.0\n"));
    let (receipt, asked) = receipt(0, 0.3);
    let outcome = Replay::new(&world, &policy).take(&receipt, &asked);
    assert_eq!(outcome, Outcome { route: "objective".to_owned(), ..world.recorded(&receipt, &asked) });
}

#[test]
fn what_moves_costs_its_tokens_at_the_other_price_and_speed() {
    let (world, policy) = (world(), policy("[objective]\nquality = 0.0\n"));
    let (receipt, asked) = receipt(0, 0.3);
    let outcome = Replay::new(&world, &policy).take(&receipt, &asked);
    assert_eq!((outcome.model.as_deref(), outcome.cost), (Some("small"), Usd::from_nanos(200_000)));
    assert!((outcome.latency_ms - 1_000.0).abs() < 1e-6 && (outcome.p_good - 0.3).abs() < 1e-6);
}

#[test]
fn a_request_for_a_model_by_name_keeps_it() {
    let (world, policy) = (world(), policy("[objective]\nquality = 0.0\n"));
    let (receipt, mut asked) = receipt(0, 0.3);
    asked.model = "large".to_owned();
    assert_eq!(Replay::new(&world, &policy).take(&receipt, &asked).model.as_deref(), Some("large"));
}

#[test]
fn budgets_hold_settle_and_begin_anew_on_the_clock_of_the_receipts() {
    let budget = "[objective]\nquality = 1.0\n[[budget]]\nname = \"day\"\nscope = \"global\"\nlimit_usd = 0.0061\n\
                  window = \"1d\"\non_exhausted = \"reject\"\n";
    let (world, policy) = (world(), policy(budget));
    let mut replay = Replay::new(&world, &policy);
    let mut pair = Pair::new("recorded", "p");
    // Three answers of 2,000 microdollars fit a day, but each holds 3,200 while it is under way.
    for at_ms in [0, 1_000, 10_000, 20_000, 30_000, DAY_MS] {
        let (receipt, asked) = receipt(at_ms, 0.3);
        let after = replay.take(&receipt, &asked);
        pair.take(vec![None], &world.recorded(&receipt, &asked), &after);
    }
    pair.skipped += 1;
    pair.finish();
    assert_eq!((pair.after.answered, pair.after.refused), (3, 3), "{pair:?}");
    assert_eq!(pair.after.breaches.get("day"), Some(&3));
    assert_eq!(
        (pair.before.cost_usd, pair.after.cost_usd),
        (Usd::from_nanos(12_000_000), Usd::from_nanos(6_000_000))
    );
    let quality = pair.quality();
    assert!((quality.value - 0.5).abs() < 1e-9 && quality.low < 0.5 && quality.high > 0.5, "{quality:?}");
    assert!((pair.after.p95_ms - 5_000.0).abs() < 1e-6);
}
