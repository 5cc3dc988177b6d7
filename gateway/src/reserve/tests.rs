//! Whatever the budgets can pay, a model answers exactly as often as its propensity says.

use std::collections::BTreeMap;

use tollgate_policies::{BudgetSpec, Pace, PerToken, Policy, Price, Scope, TokenPrice, Window, check};
use tollgate_router::{Capabilities, Catalog, Live, Model, Needs, Score, decide};

use super::*;

const NOBODY: Spender<'static> =
    Spender { key: None, team: None, tags: &BTreeMap::new(), run: None, learning: None };
const FLOOR: f64 = 0.3;

fn model(name: &str, picos: u64, ability: f64) -> Model {
    let price = PerToken::from_picos(picos);
    Model {
        name: name.to_owned(),
        engine: "engine".to_owned(),
        upstream_model: name.to_owned(),
        bits: None,
        price: Price::Tokens(TokenPrice::new(price, price)),
        context: 8_192,
        can: Capabilities::default(),
        regions: Vec::new(),
        part_tokens: 4_096,
        ability: ability.into(),
    }
}

fn budgets(limit: Usd) -> Arc<Budgets> {
    let spec = BudgetSpec {
        name: "all".to_owned(),
        scope: Scope::Global,
        limit,
        window: Window::Day,
        on_exhausted: OnExhausted::Downgrade,
        warn_at: Vec::new(),
        pace: Pace::Off,
    };
    Budgets::new(vec![Arc::new(spec)])
}

/// What answers under these budgets at a draw, and how probable it says that was.
fn answers(catalog: &Catalog, policy: &Policy, budgets: &Arc<Budgets>, draw: f64) -> Option<(usize, f64)> {
    let (score, tags) = (Score { familiar: true, ..Score::default() }, BTreeMap::new());
    let live = vec![Live::default(); catalog.models().len()];
    let needs = |affordable| Needs {
        prompt_tokens: 100,
        prompt_tokens_upper: 100,
        max_tokens: Some(100),
        affordable,
        ..Needs::default()
    };
    let facts = score.facts(100, &tags, policy.objective.quality);
    let again = |left| decide(policy, catalog, &live, &score, &facts, &needs(left), 0.0).ok();
    let worst = |decision: &Decision| decision.verdicts[decision.ranked[0]].worst_cost;
    let room = || budgets.remaining(&NOBODY, 0).map(|left| left.remaining);
    let explore = |decision: &mut Decision| {
        let room = room();
        decision.explore(FLOOR, draw, |verdict| room.is_none_or(|room| verdict.worst_cost <= room));
    };
    let (decision, hold) =
        afford(budgets, &NOBODY, 0, again(None)?, worst, |left| again(Some(left)), explore).ok()?;
    hold.release();
    Some((decision.ranked[0], decision.propensity))
}

#[test]
fn propensities_are_the_shares_of_the_draws_whatever_the_budgets_pay() {
    // At most 200 tokens: 200, 1,000 and 4,000 microdollars.
    let models =
        [model("small", 1_000_000, 0.0), model("middle", 5_000_000, 0.5), model("large", 20_000_000, 1.0)];
    let catalog = Catalog::new(models.to_vec());
    let mut seen = std::collections::BTreeSet::new();
    for quality in ["0.0", "0.99"] {
        let text =
            format!("[policy]\nname = \"p\"\nbaseline = \"large\"\n[objective]\nquality = {quality}\n");
        let policy = check("p.toml", &text, None).unwrap();
        for micros in [150, 250, 999, 1_001, 3_000, 3_999, 4_000, 9_000] {
            let budgets = budgets(Usd::from_nanos(micros * 1_000));
            let mut came: BTreeMap<usize, (u32, f64)> = BTreeMap::new();
            const DRAWS: u32 = 3_000;
            for step in 0..DRAWS {
                let Some((place, said)) =
                    answers(&catalog, &policy, &budgets, f64::from(step) / f64::from(DRAWS))
                else {
                    continue;
                };
                let (count, first) = came.entry(place).or_insert((0, said));
                *count += 1;
                assert!((said - *first).abs() < 1e-9, "{quality} {micros}: one answer, two probabilities");
            }
            for (place, (count, said)) in came {
                let share = f64::from(count) / f64::from(DRAWS);
                assert!((share - said).abs() < 2e-3, "{quality} {micros} {place}: {share}, not {said}");
                seen.insert((share * 100.0).round() as u32);
            }
        }
    }
    // Nothing drawn; two that can be paid; three.
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [10, 15, 80, 85, 100]);
}

#[test]
fn what_comes_after_a_race_for_the_money_has_no_probability() {
    let catalog = Catalog::new(vec![model("small", 1_000_000, 0.0), model("large", 20_000_000, 1.0)]);
    let policy =
        check("p.toml", "[policy]\nname = \"p\"\nbaseline = \"large\"\n[objective]\nquality = 0.0\n", None)
            .unwrap();
    let budgets = budgets(Usd::from_nanos(5_000_000));
    let (score, tags, live) = (Score::default(), BTreeMap::new(), vec![Live::default(); 2]);
    let facts = score.facts(100, &tags, 0.0);
    let again = |affordable| {
        let needs = Needs {
            prompt_tokens: 100,
            prompt_tokens_upper: 100,
            max_tokens: Some(100),
            affordable,
            ..Needs::default()
        };
        decide(&policy, &catalog, &live, &score, &facts, &needs, 0.0).ok()
    };
    let worst = |decision: &Decision| decision.verdicts[decision.ranked[0]].worst_cost;
    let mut others = None;
    let explore = |decision: &mut Decision| {
        // The large one is drawn while it can be paid; before it is held, somebody else takes the money.
        decision.explore(FLOOR, 0.2, |_| true);
        assert_eq!(decision.ranked[0], 1);
        others = budgets.reserve(&NOBODY, Usd::from_nanos(4_700_000), 0).ok();
    };
    let (decision, _hold) =
        afford(&budgets, &NOBODY, 0, again(None).unwrap(), worst, |left| again(Some(left)), explore).unwrap();
    assert!(!decision.teaches(), "{decision:?}");
    assert_eq!((decision.ranked[0], decision.propensity), (0, 0.0));
}
