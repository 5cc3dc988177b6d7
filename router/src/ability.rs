//! How able a model is: one number, or one for each domain where it is known better.

mod known;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use known::{ability_by_mmlu_pro, known_abilities, known_ability, mmlu_pro_range};

use crate::classify::DOMAINS;

/// A model's place on the line through the classifier's reference models: 0 is the small one, 1 the large one, others lie
/// between or beyond. Written as a number, or as a map `{"general": 0.3, "math": 0.1}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Ability {
    general: f64,
    domains: [Option<f64>; DOMAINS.len()],
}

/// Abilities by the models' names.
pub type Abilities = BTreeMap<String, Ability>;

/// What the general ability is called where domains are written beside it.
const GENERAL: &str = "general";

impl Ability {
    /// The ability where no domain has one of its own.
    #[must_use]
    pub fn general(&self) -> f64 {
        self.general
    }

    /// The ability in one of [`DOMAINS`].
    #[must_use]
    pub fn in_domain(&self, domain: &str) -> f64 {
        self.own(domain).unwrap_or(self.general)
    }

    /// What a domain has of its own.
    pub(crate) fn own(&self, domain: &str) -> Option<f64> {
        place(domain).and_then(|place| self.domains[place])
    }

    /// The same with an ability of its own in a domain; `None` if there is no such domain.
    #[must_use]
    pub fn with(mut self, domain: &str, ability: f64) -> Option<Ability> {
        self.domains[place(domain)?] = Some(ability);
        Some(self)
    }
}

fn place(domain: &str) -> Option<usize> {
    DOMAINS.iter().position(|known| *known == domain)
}

impl From<f64> for Ability {
    fn from(general: f64) -> Ability {
        Ability { general, domains: [None; DOMAINS.len()] }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Map(BTreeMap<String, f64>),
}

impl From<Ability> for Written {
    fn from(ability: Ability) -> Written {
        let own = DOMAINS
            .iter()
            .zip(ability.domains)
            .filter_map(|(domain, own)| Some(((*domain).to_owned(), own?)));
        let own: BTreeMap<String, f64> = own.collect();
        if own.is_empty() {
            return Written::Number(ability.general);
        }
        Written::Map(own.into_iter().chain([(GENERAL.to_owned(), ability.general)]).collect())
    }
}

impl TryFrom<Written> for Ability {
    type Error = String;

    fn try_from(written: Written) -> Result<Ability, String> {
        let map = match written {
            Written::Number(general) => return Ok(Ability::from(general)),
            Written::Map(map) => map,
        };
        let general = map.get(GENERAL).ok_or("an ability by domain needs a `general` one")?;
        map.iter().filter(|(domain, _)| *domain != GENERAL).try_fold(
            Ability::from(*general),
            |ability, (domain, own)| {
                ability.with(domain, *own).ok_or_else(|| format!("there is no domain {domain:?}"))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_without_its_own_has_the_general_one() {
        let ability = Ability::from(0.4).with("math", 0.1).unwrap();
        assert_eq!((ability.in_domain("math"), ability.in_domain("code")), (0.1, 0.4));
        assert_eq!(ability.with("cooking", 1.0), None);
    }

    #[test]
    fn it_is_a_number_or_a_map() {
        let read = |text: &str| serde_json::from_str::<Ability>(text);
        for ability in [Ability::from(0.25), Ability::from(0.4).with("math", 0.1).unwrap()] {
            assert_eq!(read(&serde_json::to_string(&ability).unwrap()).unwrap(), ability);
        }
        assert_eq!(serde_json::to_string(&Ability::from(0.25)).unwrap(), "0.25");
        assert!(read(r#"{"math": 1}"#).is_err() && read(r#"{"general": 1, "cooking": 1}"#).is_err());
    }
}
