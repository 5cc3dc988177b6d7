//! What a model's tokens or time cost, and the cost of one answer.
//!
//! Prices are integer picodollars per token, so cost is exact integer arithmetic, rounded up once
//! to a nanodollar. There is no "unknown" price here: a model without one cannot be configured.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::{ParseUsdError, Usd, parse_decimal};

const PICOS_PER_NANO: u128 = 1_000;
const MICROS_PER_HOUR: u128 = 3_600_000_000;

/// Picodollars per token. One dollar per million tokens is exactly 1,000,000 of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PerToken(u64);

impl PerToken {
    /// A price from picodollars per token.
    pub const fn from_picos(picos: u64) -> PerToken {
        PerToken(picos)
    }

    /// The price in picodollars per token.
    pub const fn picos(self) -> u64 {
        self.0
    }
}

impl FromStr for PerToken {
    type Err = ParseUsdError;

    /// Reads dollars per million tokens, at most six decimals, not negative.
    fn from_str(text: &str) -> Result<PerToken, ParseUsdError> {
        let picos = parse_decimal(text, 6)?;
        u64::try_from(picos).map(PerToken).map_err(|_| ParseUsdError::NotDecimal)
    }
}

impl fmt::Display for PerToken {
    /// Dollars per million tokens, at least two decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut decimals = format!("{:06}", self.0 % 1_000_000);
        while decimals.len() > 2 && decimals.ends_with('0') {
            decimals.pop();
        }
        write!(f, "{}.{decimals}", self.0 / 1_000_000)
    }
}

/// A price list per token, with an optional price for prompt tokens read from the engine's cache
/// and a flat amount for every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokenPrice {
    /// Prompt tokens.
    pub input: PerToken,
    /// Completion tokens, reasoning tokens included.
    pub output: PerToken,
    /// Prompt tokens served from a cache; `None` means they cost what other prompt tokens cost.
    pub cached_input: Option<PerToken>,
    /// Added to every answered request.
    pub per_request: Usd,
}

/// How a model is paid for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Price {
    /// By tokens.
    Tokens(TokenPrice),
    /// By measured engine time, in dollars per hour of it.
    Hourly(Usd),
}

/// What one answer used, as metered from the engine's own report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// All prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// The part of `prompt_tokens` read from a cache.
    pub cached_tokens: u64,
    /// All completion tokens, reasoning ones included.
    pub completion_tokens: u64,
    /// The part of `completion_tokens` spent on reasoning.
    pub reasoning_tokens: u64,
    /// Engine time, microseconds.
    pub engine_us: u64,
}

impl Price {
    /// The cost of an answer, rounded up to a nanodollar; [`Usd::MAX`] if it does not fit.
    pub fn cost(&self, usage: &Usage) -> Usd {
        match self {
            Price::Tokens(price) => {
                // An engine that reports more cached tokens than prompt tokens pays no less for it.
                let cached = usage.cached_tokens.min(usage.prompt_tokens);
                price.total(&[
                    (usage.prompt_tokens - cached, price.input),
                    (cached, price.cached_input.unwrap_or(price.input)),
                    (usage.completion_tokens, price.output),
                ])
            }
            Price::Hourly(hour) => engine_time(*hour, usage.engine_us),
        }
    }

    /// The most an answer within these bounds can cost: what a budget has to hold for it.
    pub fn worst_case(&self, prompt_tokens: u64, max_output_tokens: u64, max_engine_us: u64) -> Usd {
        match self {
            Price::Tokens(price) => {
                // Some providers ask more for cached tokens, not less.
                let input = price.cached_input.map_or(price.input, |cached| cached.max(price.input));
                price.total(&[(prompt_tokens, input), (max_output_tokens, price.output)])
            }
            Price::Hourly(hour) => engine_time(*hour, max_engine_us),
        }
    }

    /// Whether every answer is free.
    pub fn is_free(&self) -> bool {
        self.worst_case(u64::MAX, u64::MAX, u64::MAX) == Usd::ZERO
    }
}

impl TokenPrice {
    fn total(&self, parts: &[(u64, PerToken)]) -> Usd {
        // Three products of two 64-bit numbers may pass 128 bits, hence the saturating sum.
        let picos = parts
            .iter()
            .map(|(tokens, price)| u128::from(*tokens) * u128::from(price.picos()))
            .fold(0u128, u128::saturating_add);
        Usd::from_wide_nanos(picos.div_ceil(PICOS_PER_NANO)).saturating_add(self.per_request)
    }
}

fn engine_time(hour: Usd, engine_us: u64) -> Usd {
    let nanos = u128::from(hour.nanos().max(0).unsigned_abs()) * u128::from(engine_us);
    Usd::from_wide_nanos(nanos.div_ceil(MICROS_PER_HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(input: &str, output: &str, cached: Option<&str>) -> Price {
        Price::Tokens(TokenPrice {
            input: input.parse().unwrap(),
            output: output.parse().unwrap(),
            cached_input: cached.map(|text| text.parse().unwrap()),
            per_request: Usd::ZERO,
        })
    }

    #[test]
    fn a_dollar_per_million_is_a_million_picodollars() {
        assert_eq!("1".parse(), Ok(PerToken::from_picos(1_000_000)));
        assert_eq!("0.05".parse(), Ok(PerToken::from_picos(50_000)));
        assert_eq!("0.05".parse::<PerToken>().unwrap().to_string(), "0.05");
        assert!("-0.05".parse::<PerToken>().is_err());
        assert!("0.0000001".parse::<PerToken>().is_err());
    }

    #[test]
    fn cached_and_reasoning_tokens_are_counted_once() {
        let usage = Usage {
            prompt_tokens: 1_000,
            cached_tokens: 600,
            completion_tokens: 100,
            reasoning_tokens: 80,
            engine_us: 0,
        };
        // 400 × 0.50 + 600 × 0.05 + 100 × 2.00, all per million.
        assert_eq!(tokens("0.50", "2.00", Some("0.05")).cost(&usage).to_string(), "0.000430");
        assert_eq!(tokens("0.50", "2.00", None).cost(&usage).to_string(), "0.000700");
    }

    #[test]
    fn part_of_a_nanodollar_is_a_whole_one() {
        let usage = Usage { prompt_tokens: 1, ..Usage::default() };
        assert_eq!(tokens("0.0001", "0", None).cost(&usage), Usd::from_nanos(1));
        assert_eq!(tokens("0", "0", None).cost(&usage), Usd::ZERO);
    }

    #[test]
    fn an_hour_of_engine_time_costs_the_hourly_price() {
        let price = Price::Hourly("1.20".parse().unwrap());
        let hour = Usage { engine_us: 3_600_000_000, ..Usage::default() };
        assert_eq!(price.cost(&hour).to_string(), "1.200000");
        assert_eq!(price.cost(&Usage { engine_us: 1, ..hour }), Usd::from_nanos(1));
    }

    proptest! {
        #[test]
        fn the_worst_case_is_never_too_small(
            input in 0u64..10_000_000_000, output in 0u64..10_000_000_000, cached in proptest::option::of(0u64..10_000_000_000),
            hour in 0i64..1_000_000_000_000, per_request in 0i64..1_000_000_000, hourly: bool,
            prompt in 0u64..2_000_000, cached_tokens in 0u64..3_000_000, completion in 0u64..200_000, engine_us in 0u64..100_000_000_000,
        ) {
            let price = if hourly { Price::Hourly(Usd::from_nanos(hour)) } else { Price::Tokens(TokenPrice {
                input: PerToken::from_picos(input), output: PerToken::from_picos(output),
                cached_input: cached.map(PerToken::from_picos), per_request: Usd::from_nanos(per_request),
            }) };
            let usage = Usage { prompt_tokens: prompt, cached_tokens, completion_tokens: completion, reasoning_tokens: 0, engine_us };
            prop_assert!(price.cost(&usage) <= price.worst_case(prompt, completion, engine_us));
            prop_assert!(price.cost(&usage) >= Usd::ZERO);
        }

        #[test]
        fn no_numbers_overflow(input: u64, output: u64, prompt: u64, completion: u64, engine_us: u64, hour: i64) {
            let price = Price::Tokens(TokenPrice {
                input: PerToken::from_picos(input), output: PerToken::from_picos(output), ..TokenPrice::default()
            });
            prop_assert!(price.worst_case(prompt, completion, engine_us) >= Usd::ZERO);
            prop_assert!(Price::Hourly(Usd::from_nanos(hour)).worst_case(prompt, completion, engine_us) >= Usd::ZERO);
        }
    }
}
