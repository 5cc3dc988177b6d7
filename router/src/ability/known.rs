//! Abilities that come with the graph: of the models whose outcomes it was fitted to, by name, and of any model by its
//! published share of MMLU-Pro. `router/training/abilities.py` makes them.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{Abilities, Ability};

#[derive(Debug, Default, Deserialize)]
struct Known {
    models: Abilities,
    /// `(share, ability)`, both rising.
    mmlu_pro: Vec<(f64, f64)>,
}

/// The tests read it too, so it is never empty.
static KNOWN: LazyLock<Known> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../model/abilities.json")).unwrap_or_default());

/// The models whose abilities are known, by name.
#[must_use]
pub fn known_abilities() -> &'static Abilities {
    &KNOWN.models
}

/// The ability of the model of this name; without the date that some names end in, of the latest of them.
#[must_use]
pub fn known_ability(name: &str) -> Option<Ability> {
    let dated = format!("{name}-");
    // "0125", "20241022", "2024-08-06"; not the "4" of a version.
    let is_date = |rest: &str| {
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        digits >= 4 && rest.chars().all(|sign| sign.is_ascii_digit() || sign == '-')
    };
    let latest = || {
        let versions = KNOWN.models.range(dated.clone()..).take_while(|(known, _)| known.starts_with(&dated));
        versions.filter(|(known, _)| is_date(&known[dated.len()..])).last().map(|(_, ability)| ability)
    };
    KNOWN.models.get(name).or_else(latest).copied()
}

/// The general ability of a model that answers this share (0 to 1) of MMLU-Pro right; `None` beyond what was measured.
#[must_use]
pub fn ability_by_mmlu_pro(share: f64) -> Option<Ability> {
    KNOWN.mmlu_pro.windows(2).find_map(|pair| match pair {
        [(low, from), (high, to)] if (*low..=*high).contains(&share) => {
            Some(Ability::from(from + (to - from) * (share - low) / (high - low)))
        }
        _ => None,
    })
}

/// The shares of MMLU-Pro that say something: the least and the largest.
#[must_use]
pub fn mmlu_pro_range() -> (f64, f64) {
    let share = |point: Option<&(f64, f64)>| point.map_or(0.0, |(share, _)| *share);
    (share(KNOWN.mmlu_pro.first()), share(KNOWN.mmlu_pro.last()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_references_are_where_they_are_defined() {
        let general = |name: &str| known_abilities()[name].general();
        assert_eq!((general("mixtral-8x7b"), general("gpt-4-1106")), (0.0, 1.0));
        assert!(known_abilities().len() > 40);
        assert!(general("llama-3.1-8b-instruct") < general("llama-3.1-70b-instruct"));
        assert!(known_abilities().values().all(|ability| (-5.0..=3.0).contains(&ability.general())));
    }

    #[test]
    fn a_name_without_its_date_is_the_latest() {
        let latest = known_abilities()["gpt-4o-2024-08-06"];
        assert_eq!(
            (known_ability("gpt-4o"), known_ability("gpt-4o-2024-08-06")),
            (Some(latest), Some(latest))
        );
        assert_eq!((known_ability("gpt"), known_ability("llama-3.1"), known_ability("")), (None, None, None));
    }

    #[test]
    fn more_of_the_benchmark_is_more_ability() {
        let (least, most) = mmlu_pro_range();
        let general = |share| ability_by_mmlu_pro(share).map(|ability| ability.general());
        let steps: Vec<f64> =
            (0..=50).filter_map(|at| general(least + (most - least) * f64::from(at) / 50.0)).collect();
        assert!(steps.len() > 48 && steps.is_sorted(), "{steps:?}");
        // Mixtral-8x7B answers 37 % of the prompts that it was fitted to.
        assert!(general(0.37).is_some_and(|ability| ability.abs() < 0.25));
        assert_eq!((ability_by_mmlu_pro(0.01), ability_by_mmlu_pro(f64::NAN)), (None, None));
    }
}
