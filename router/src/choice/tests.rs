//! What is kept of a decision decides as the decision did, and exploring does what its propensities say.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tollgate_policies::{PerToken, Policy, Price, TokenPrice, check};

use crate::{Abilities, Capabilities, Catalog, Choice, DOMAINS, Live, Model, Needs, Score, decide};

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
        regions: Vec::new(),
        ability: ability.into(),
    }
}

fn policy(baseline: &str, quality: f64) -> Policy {
    let text =
        format!("[policy]\nname = \"p\"\nbaseline = \"{baseline}\"\n[objective]\nquality = {quality:.3}\n");
    check("p.toml", &text, None).unwrap()
}

proptest! {
    /// Whatever is asked, the choice kept for later is the choice that was made.
    #[test]
    fn a_choice_decides_as_the_decision_did(
        p_small in 0.01f32..0.99, p_large in 0.01f32..0.99, quality in 0.5f64..1.0, place in 0usize..DOMAINS.len(),
        able in prop::collection::vec((-0.5f64..1.5, 0u64..20), 1..5), familiar in any::<bool>(),
        deadline_ms in prop::option::of(1u64..60_000), lambda in 0.0f64..50.0,
    ) {
        let models: Vec<Model> = able
            .iter()
            .enumerate()
            .map(|(at, (ability, price))| model(&format!("m{at}"), *ability, *price))
            .collect();
        let abilities: Abilities = models.iter().map(|model| (model.name.clone(), model.ability)).collect();
        let catalog = Catalog::new(models);
        let policy = policy("m0", quality);
        let score = Score { p_small, p_large, familiar, domain: DOMAINS[place], ..Score::default() };
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
        decision.explore(0.3, f64::from(step) / 3000.0);
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
    pinned.explore(0.3, 0.15);
    assert_eq!((pinned.ranked[0], pinned.propensity), (0, 1.0));
}
