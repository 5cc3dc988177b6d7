//! What is kept of a decision decides as the decision did, and exploring does what its propensities say.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tollgate_policies::{PerToken, Policy, Price, TokenPrice, check};

use crate::{
    Abilities, Capabilities, Catalog, Choice, DOMAINS, Decision, Live, Model, Needs, QualityTable, Score,
    decide,
};

fn model(name: &str, ability: f64, price: u64) -> Model {
    let (input, output) = (PerToken::from_picos(price), PerToken::from_picos(price * 4));
    Model {
        name: name.into(),
        engine: "engine".into(),
        upstream_model: name.into(),
        bits: None,
        price: Price::Tokens(TokenPrice::new(input, output)),
        context: 4096,
        can: Capabilities::default(),
        part_tokens: 4_096,
        regions: Vec::new(),
        ability: ability.into(),
    }
}

fn policy(baseline: &str, quality: f64) -> Policy {
    let text =
        format!("[policy]\nname = \"p\"\nbaseline = \"{baseline}\"\n[objective]\nquality = {quality:.3}\n");
    check("p.toml", &text, None).unwrap()
}

/// The same, which loses at most a tenth.
fn bounded(policy: Policy) -> Policy {
    let objective = tollgate_policies::Objective { max_loss: Some(0.1), ..policy.objective };
    Policy { objective, ..policy }
}

/// Gaps up to `bound` are shown to lose no more than a tenth.
fn tolerance(bound: f64) -> Arc<QualityTable> {
    let points = vec![(0.5, 0.6), (0.9, 0.2), (0.99, 0.02)];
    Arc::new(QualityTable::with_losses(points, vec![(0.1, bound)]).unwrap())
}

proptest! {
    /// Whatever is asked, the choice kept for later is the choice that was made.
    #[test]
    fn a_choice_decides_as_the_decision_did(
        p_small in 0.01f32..0.99, p_large in 0.01f32..0.99, quality in 0.5f64..1.0, place in 0usize..DOMAINS.len(),
        able in prop::collection::vec((-0.5f64..1.5, 0u64..20), 1..5), familiar in any::<bool>(),
        deadline_ms in prop::option::of(1u64..60_000), lambda in 0.0f64..50.0, bound in prop::option::of(-0.3f64..0.5),
    ) {
        let models: Vec<Model> = able
            .iter()
            .enumerate()
            .map(|(at, (ability, price))| model(&format!("m{at}"), *ability, *price))
            .collect();
        let abilities: Abilities = models.iter().map(|model| (model.name.clone(), model.ability)).collect();
        let catalog = Catalog::new(models);
        let policy = if bound.is_some() { bounded(policy("m0", quality)) } else { policy("m0", quality) };
        let tolerance = tolerance(bound.unwrap_or(0.0));
        let score = Score { p_small, p_large, familiar, domain: DOMAINS[place], tolerance, ..Score::default() };
        let needs = Needs { prompt_tokens: 100, prompt_tokens_upper: 200, deadline_ms, ..Needs::default() };
        let live = vec![Live::default(); able.len()];
        let tags = BTreeMap::new();
        let facts = score.facts(100, &tags, quality);
        if let Ok(decision) = decide(&policy, &catalog, &live, &score, &facts, &needs, lambda) {
            let choice = decision.choice(&score);
            let taken = choice.take(&abilities).map(|candidate| candidate.model.as_str());
            prop_assert_eq!(taken, Some(decision.verdicts[decision.ranked[0]].model.as_str()));
            let read: Choice = serde_json::from_str(&serde_json::to_string(&choice).unwrap()).unwrap();
            prop_assert_eq!(read.candidates.len(), choice.candidates.len());
        }
    }
}

#[test]
fn exploring_spreads_its_share_evenly() {
    let models = vec![model("a", 0.0, 1), model("b", 0.5, 2), model("c", 1.0, 9)];
    let (catalog, policy) = (Catalog::new(models), policy("c", 0.9));
    let (score, tags) = (Score::default(), BTreeMap::new());
    let live = vec![Live::default(); 3];
    let needs = Needs { prompt_tokens: 10, prompt_tokens_upper: 20, ..Needs::default() };
    let facts = score.facts(10, &tags, 0.9);
    let decided = |needs: &Needs<'_>| decide(&policy, &catalog, &live, &score, &facts, needs, 0.0).unwrap();
    let best = decided(&needs).ranked[0];
    let mut first = [0usize; 3];
    for step in 0..3000 {
        let mut decision = decided(&needs);
        decision.explore(0.3, f64::from(step) / 3000.0, |_| true);
        first[decision.ranked[0]] += 1;
        let wanted = if decision.ranked[0] == best { 0.8 } else { 0.1 };
        assert!((decision.propensity - wanted).abs() < 1e-9);
        assert_eq!(decision.ranked.len(), 3);
        assert_eq!(decision.reason.starts_with("explored"), decision.ranked[0] != best);
    }
    for (place, count) in first.into_iter().enumerate() {
        let wanted = if place == best { 2400i64 } else { 300 };
        assert!((count as i64 - wanted).abs() <= 1, "{first:?}");
    }
    let mut pinned = decided(&Needs { pinned: Some("a"), ..needs });
    pinned.explore(0.3, 0.15, |_| true);
    assert_eq!((pinned.ranked[0], pinned.propensity), (0, 1.0));
}

#[test]
fn what_cannot_be_paid_is_not_drawn() {
    let models = vec![model("a", 0.0, 1), model("b", 0.5, 2), model("c", 1.0, 9)];
    let (catalog, policy) = (Catalog::new(models), policy("c", 0.5));
    let score = Score { familiar: true, ..Score::default() };
    let (tags, live) = (BTreeMap::new(), vec![Live::default(); 3]);
    let needs = Needs { prompt_tokens: 10, prompt_tokens_upper: 20, ..Needs::default() };
    let facts = score.facts(10, &tags, 0.5);
    let decided = || decide(&policy, &catalog, &live, &score, &facts, &needs, 0.0).unwrap();
    let (best, dearest) = (decided().ranked[0], 2);
    assert_ne!(best, dearest, "or the test shows nothing");
    for step in 0..100 {
        let mut decision = decided();
        decision.explore(0.2, f64::from(step) / 100.0, |verdict| verdict.model != "c");
        assert_ne!(decision.ranked[0], dearest);
        assert_eq!(decision.ranked.len(), 3, "it is a fallback still");
        let all: Vec<f64> = (0..3).filter_map(|place| decision.propensity_of(place)).collect();
        assert!(
            (all[best] - 0.9).abs() < 1e-9
                && all[dearest] == 0.0
                && (all.iter().sum::<f64>() - 1.0).abs() < 1e-9
        );
        let might: Vec<String> =
            decision.choice(&score).candidates.into_iter().map(|candidate| candidate.model).collect();
        assert_eq!(might, ["a", "b"]);
    }
    let mut poor = decided();
    poor.explore(0.2, 0.15, |verdict| verdict.model == "c");
    assert!(
        !poor.is_drawn() && poor.ranked[0] == best,
        "the best cannot be paid: there will be another decision"
    );
    poor.lose_chance();
    assert_eq!((poor.propensity, poor.propensity_of(best), poor.teaches()), (0.0, None, false));
}

/// A small and a large model, and what becomes of a request under a bound.
fn between_two(bound: f64, (p_small, p_large): (f32, f32), lambda: f64) -> Decision {
    let catalog = Catalog::new(vec![model("small", 0.0, 1_000), model("large", 1.0, 20_000)]);
    let tolerance = tolerance(bound);
    let score = Score { p_small, p_large, familiar: true, tolerance, ..Score::default() };
    let (tags, live) = (BTreeMap::new(), vec![Live::default(); 2]);
    let needs = Needs { prompt_tokens: 10, prompt_tokens_upper: 20, ..Needs::default() };
    let facts = score.facts(10, &tags, 0.5);
    decide(&bounded(policy("large", 0.5)), &catalog, &live, &score, &facts, &needs, lambda).unwrap()
}

#[test]
fn a_bound_on_losses_is_kept_at_any_price_of_money() {
    assert_eq!(between_two(0.12, (0.8, 0.9), 0.0).ranked[0], 0, "shown");
    assert_eq!(between_two(0.12, (0.5, 0.9), 0.0).ranked[0], 1, "not shown");
    assert_eq!(between_two(0.12, (0.5, 0.9), 1e9).ranked[0], 1, "nor while money is dear");
}

#[test]
fn a_bound_that_asks_for_more_than_the_baseline_gets_it() {
    assert_eq!(between_two(-0.05, (0.7, 0.6), 0.0).ranked[0], 0, "shown");
    for p_small in [0.6, 0.62] {
        assert_eq!(between_two(-0.05, (p_small, 0.6), 0.0).ranked[0], 1, "{p_small} is not shown");
    }
}

#[test]
fn a_bound_on_losses_leaves_nothing_to_chance() {
    for step in 0..100 {
        let mut decision = between_two(0.12, (0.5, 0.9), 0.0);
        decision.explore(0.2, f64::from(step) / 100.0, |_| true);
        assert_eq!((decision.ranked[0], decision.propensity), (1, 1.0));
    }
}
