//! What a model's tokens or time cost, and the cost of one answer.
//!
//! Prices are integer picodollars per token, so cost is exact integer arithmetic, rounded up once
//! to a nanodollar. There is no "unknown" price here: a model without one cannot be configured.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::{ParseUsdError, Usd, parse_decimal};

const PICOS_PER_NANO: u128 = 1_000;
const MICROS_PER_SECOND: u128 = 1_000_000;
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

/// What each kind of token costs. Kinds without a price of their own cost what their like cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Prompt tokens.
    pub input: PerToken,
    /// Completion tokens.
    pub output: PerToken,
    /// Prompt tokens served from a cache.
    pub cached_input: Option<PerToken>,
    /// Prompt tokens written to a cache.
    pub cache_write: Option<PerToken>,
    /// Completion tokens spent on reasoning.
    pub reasoning: Option<PerToken>,
}

/// Other rates for requests with long prompts; they hold for all of the request's tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tier {
    /// For prompts of more tokens than this, cached ones included.
    pub above: u64,
    /// What tokens cost then.
    pub rates: Rates,
}

/// A price list per token, with what a request costs beside its tokens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenPrice {
    /// What tokens cost.
    pub rates: Rates,
    /// What they cost for long prompts, by rising length.
    pub tiers: Vec<Tier>,
    /// Added to every answered request.
    pub per_request: Usd,
    /// Added for each second of engine time.
    pub per_second: Usd,
}

/// How a model is paid for.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// The part of `prompt_tokens` written to a cache, none of which is among `cached_tokens`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(tokens: &u64) -> bool {
    *tokens == 0
}

impl Price {
    /// The cost of an answer, rounded up to a nanodollar; [`Usd::MAX`] if it does not fit.
    pub fn cost(&self, usage: &Usage) -> Usd {
        match self {
            Price::Tokens(price) => {
                let tokens = price.rates_for(usage.prompt_tokens).tokens(usage);
                tokens.saturating_add(price.beside(usage.engine_us))
            }
            Price::Hourly(hour) => timed(*hour, usage.engine_us, MICROS_PER_HOUR),
        }
    }

    /// The most an answer within these bounds can cost: what a budget has to hold for it.
    pub fn worst_case(&self, prompt_tokens: u64, max_output_tokens: u64, max_engine_us: u64) -> Usd {
        match self {
            Price::Tokens(price) => {
                // A prompt that turns out shorter may fall into a tier that costs more.
                let tiers =
                    price.tiers.iter().filter(|tier| prompt_tokens > tier.above).map(|tier| &tier.rates);
                let rates = std::iter::once(&price.rates).chain(tiers);
                let tokens = rates.map(|rates| rates.worst_case(prompt_tokens, max_output_tokens)).max();
                tokens.unwrap_or(Usd::MAX).saturating_add(price.beside(max_engine_us))
            }
            Price::Hourly(hour) => timed(*hour, max_engine_us, MICROS_PER_HOUR),
        }
    }

    /// Whether every answer is free.
    pub fn is_free(&self) -> bool {
        self.worst_case(u64::MAX, u64::MAX, u64::MAX) == Usd::ZERO
    }
}

impl TokenPrice {
    /// A price of prompt and completion tokens alone.
    pub fn new(input: PerToken, output: PerToken) -> TokenPrice {
        TokenPrice { rates: Rates { input, output, ..Rates::default() }, ..TokenPrice::default() }
    }

    fn rates_for(&self, prompt_tokens: u64) -> &Rates {
        let tier = self.tiers.iter().rfind(|tier| prompt_tokens > tier.above);
        tier.map_or(&self.rates, |tier| &tier.rates)
    }

    /// What a request costs beside its tokens.
    fn beside(&self, engine_us: u64) -> Usd {
        self.per_request.saturating_add(timed(self.per_second, engine_us, MICROS_PER_SECOND))
    }
}

impl Rates {
    fn tokens(&self, usage: &Usage) -> Usd {
        // An engine that reports parts larger than their whole pays no less for it.
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let written = usage.cache_write_tokens.min(usage.prompt_tokens - cached);
        let reasoned = usage.reasoning_tokens.min(usage.completion_tokens);
        total(&[
            (usage.prompt_tokens - cached - written, self.input),
            (cached, self.cached_input.unwrap_or(self.input)),
            (written, self.cache_write.unwrap_or(self.input)),
            (usage.completion_tokens - reasoned, self.output),
            (reasoned, self.reasoning.unwrap_or(self.output)),
        ])
    }

    fn worst_case(&self, prompt_tokens: u64, max_output_tokens: u64) -> Usd {
        // Tokens cached cost more with some providers, and tokens written to a cache with most.
        let dearest = |one: PerToken, others: &[Option<PerToken>]| {
            others.iter().flatten().fold(one, |most, other| most.max(*other))
        };
        let input = dearest(self.input, &[self.cached_input, self.cache_write]);
        total(&[(prompt_tokens, input), (max_output_tokens, dearest(self.output, &[self.reasoning]))])
    }
}

fn total(parts: &[(u64, PerToken)]) -> Usd {
    // Products of two 64-bit numbers may together pass 128 bits, hence the saturating sum.
    let picos = parts
        .iter()
        .map(|(tokens, price)| u128::from(*tokens) * u128::from(price.picos()))
        .fold(0u128, u128::saturating_add);
    Usd::from_wide_nanos(picos.div_ceil(PICOS_PER_NANO))
}

fn timed(price: Usd, engine_us: u64, micros: u128) -> Usd {
    let nanos = u128::from(price.nanos().max(0).unsigned_abs()) * u128::from(engine_us);
    Usd::from_wide_nanos(nanos.div_ceil(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(input: &str, output: &str, cached: Option<&str>) -> Price {
        let mut price = TokenPrice::new(input.parse().unwrap(), output.parse().unwrap());
        price.rates.cached_input = cached.map(|text| text.parse().unwrap());
        Price::Tokens(price)
    }

    fn rate(text: &str) -> PerToken {
        text.parse().unwrap()
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
            ..Usage::default()
        };
        // 400 × 0.50 + 600 × 0.05 + 100 × 2.00, all per million.
        assert_eq!(tokens("0.50", "2.00", Some("0.05")).cost(&usage).to_string(), "0.000430");
        assert_eq!(tokens("0.50", "2.00", None).cost(&usage).to_string(), "0.000700");
    }

    #[test]
    fn every_kind_of_token_has_its_price() {
        let rates = Rates {
            cached_input: Some(rate("0.30")),
            cache_write: Some(rate("3.75")),
            reasoning: Some(rate("20")),
            ..Rates { input: rate("3"), output: rate("15"), ..Rates::default() }
        };
        let price = Price::Tokens(TokenPrice { rates, ..TokenPrice::default() });
        let usage = Usage {
            prompt_tokens: 10_000,
            cached_tokens: 6_000,
            cache_write_tokens: 3_000,
            completion_tokens: 500,
            reasoning_tokens: 200,
            engine_us: 0,
        };
        // 1,000 × 3 + 6,000 × 0.30 + 3,000 × 3.75 + 300 × 15 + 200 × 20, all per million.
        assert_eq!(price.cost(&usage).to_string(), "0.024550");
        // All the prompt written, all the answer reasoning: 10,000 × 3.75 + 500 × 20.
        assert_eq!(price.worst_case(10_000, 500, 0).to_string(), "0.047500");
    }

    #[test]
    fn a_long_prompt_costs_another_tier_for_all_its_tokens() {
        let tier =
            |above, input, output| Tier { above, rates: TokenPrice::new(rate(input), rate(output)).rates };
        let tiers = vec![tier(200_000, "2.50", "15"), tier(500_000, "0.10", "1")];
        let price = Price::Tokens(TokenPrice { tiers, ..TokenPrice::new(rate("1.25"), rate("10")) });
        let cost = |prompt| {
            price
                .cost(&Usage { prompt_tokens: prompt, completion_tokens: 1_000, ..Usage::default() })
                .to_string()
        };
        assert_eq!((cost(200_000), cost(200_001)), ("0.260000".to_owned(), "0.5150025".to_owned()));
        assert_eq!(cost(600_000), "0.061000");
        // What is only bounded by 600,000 may still be of the dearer tier below.
        assert_eq!(price.worst_case(600_000, 1_000, 0).to_string(), "1.515000");
    }

    #[test]
    fn seconds_are_paid_beside_tokens() {
        let per_second = "0.002".parse().unwrap();
        let price = Price::Tokens(TokenPrice { per_second, ..TokenPrice::new(rate("1"), rate("1")) });
        let usage = Usage { prompt_tokens: 100, engine_us: 1_500_000, ..Usage::default() };
        assert_eq!(price.cost(&usage).to_string(), "0.003100");
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

    fn any_rates() -> impl Strategy<Value = Rates> {
        let rate = || (0u64..10_000_000_000).prop_map(PerToken::from_picos);
        let maybe = || prop::option::of((0u64..10_000_000_000).prop_map(PerToken::from_picos));
        (rate(), rate(), maybe(), maybe(), maybe()).prop_map(
            |(input, output, cached_input, cache_write, reasoning)| Rates {
                input,
                output,
                cached_input,
                cache_write,
                reasoning,
            },
        )
    }

    proptest! {
        #[test]
        fn the_worst_case_is_never_too_small(
            rates in prop::collection::vec(any_rates(), 3), above in (0u64..2_000_000, 0u64..2_000_000),
            hour in 0i64..1_000_000_000_000, per_request in 0i64..1_000_000_000, hourly: bool,
            prompt in 0u64..2_000_000, parts in (0u64..3_000_000, 0u64..3_000_000, 0u64..300_000), more in 0u64..100_000,
            completion in 0u64..200_000, engine_us in 0u64..100_000_000_000,
        ) {
            let tiers = [above.0.min(above.1), above.0.max(above.1)].into_iter().zip(&rates[1..]);
            let price = if hourly { Price::Hourly(Usd::from_nanos(hour)) } else { Price::Tokens(TokenPrice {
                rates: rates[0], tiers: tiers.map(|(above, rates)| Tier { above, rates: *rates }).collect(),
                per_request: Usd::from_nanos(per_request), per_second: Usd::from_nanos(hour / 1_000),
            }) };
            let usage = Usage {
                prompt_tokens: prompt, cached_tokens: parts.0, cache_write_tokens: parts.1,
                completion_tokens: completion, reasoning_tokens: parts.2, engine_us,
            };
            prop_assert!(price.cost(&usage) <= price.worst_case(prompt + more, completion + more, engine_us + more));
            prop_assert!(price.cost(&usage) >= Usd::ZERO);
        }

        #[test]
        fn no_numbers_overflow(input: u64, output: u64, prompt: u64, completion: u64, engine_us: u64, hour: i64) {
            let price = Price::Tokens(TokenPrice::new(PerToken::from_picos(input), PerToken::from_picos(output)));
            prop_assert!(price.worst_case(prompt, completion, engine_us) >= Usd::ZERO);
            prop_assert!(Price::Hourly(Usd::from_nanos(hour)).worst_case(prompt, completion, engine_us) >= Usd::ZERO);
        }
    }
}
