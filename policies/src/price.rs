//! What a model's tokens or time cost, and the cost of one answer.
//!
//! Prices are integer picodollars per token, so cost is exact integer arithmetic, rounded up once
//! to a nanodollar. There is no "unknown" price here: a model without one cannot be configured.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::{ParseUsdError, Usd, parse_decimal};
use crate::service_tier::ServiceTier;

const PICOS_PER_NANO: u128 = 1_000;
const MICROS_PER_SECOND: u128 = 1_000_000;
const MICROS_PER_HOUR: u128 = 3_600_000_000;

/// Picodollars per token. One dollar per million tokens is exactly 1,000,000 of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PerToken(u64);

impl PerToken {
    /// More than any model has ever cost, by far: one dollar a token. A file that states more means another unit.
    pub const MOST: PerToken = PerToken(1_000_000_000_000);

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
    /// Those written to stay for an hour.
    pub cache_write_1h: Option<PerToken>,
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

/// What tokens cost in a class of service of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tariff {
    /// What tokens cost.
    pub rates: Rates,
    /// What they cost for long prompts, by rising length.
    pub tiers: Vec<Tier>,
}

/// A price list per token, with what a request costs beside its tokens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenPrice {
    /// What tokens cost.
    pub rates: Rates,
    /// What they cost for long prompts, by rising length.
    pub tiers: Vec<Tier>,
    /// What tokens cost in other classes of service than the standard one. A price without any is taken to hold for all of them.
    pub service_tiers: BTreeMap<ServiceTier, Tariff>,
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
    /// The part of `cache_write_tokens` written to stay for an hour.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_1h_tokens: u64,
    /// The class of service, where somebody named one: the answer, else the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
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
                let tokens = price.rates_for(usage).tokens(usage);
                tokens.saturating_add(price.beside(usage.engine_us))
            }
            Price::Hourly(hour) => timed(*hour, usage.engine_us, MICROS_PER_HOUR),
        }
    }

    /// The most an answer within these bounds can cost: what a budget has to hold for it. A class of service that is asked for may be
    /// denied and the standard one given; where none is, the provider may give any.
    pub fn worst_case(
        &self,
        prompt_tokens: u64,
        max_output_tokens: u64,
        max_engine_us: u64,
        asked: Option<ServiceTier>,
    ) -> Usd {
        match self {
            Price::Tokens(price) => {
                let others =
                    price.service_tiers.iter().filter(|(tier, _)| asked.is_none_or(|asked| asked == **tier));
                let others =
                    others.flat_map(|(_, tariff)| within(&tariff.rates, &tariff.tiers, prompt_tokens));
                let rates = within(&price.rates, &price.tiers, prompt_tokens).chain(others);
                let tokens = rates.map(|rates| rates.worst_case(prompt_tokens, max_output_tokens)).max();
                tokens.unwrap_or(Usd::MAX).saturating_add(price.beside(max_engine_us))
            }
            Price::Hourly(hour) => timed(*hour, max_engine_us, MICROS_PER_HOUR),
        }
    }

    /// Whether every answer is free.
    pub fn is_free(&self) -> bool {
        self.worst_case(u64::MAX, u64::MAX, u64::MAX, None) == Usd::ZERO
    }

    /// Whether it says what a request of this class costs.
    pub fn knows(&self, tier: ServiceTier) -> bool {
        match self {
            Price::Tokens(price) => {
                tier == ServiceTier::Standard
                    || price.service_tiers.is_empty()
                    || price.service_tiers.contains_key(&tier)
            }
            Price::Hourly(_) => true,
        }
    }
}

impl TokenPrice {
    /// A price of prompt and completion tokens alone.
    pub fn new(input: PerToken, output: PerToken) -> TokenPrice {
        TokenPrice { rates: Rates { input, output, ..Rates::default() }, ..TokenPrice::default() }
    }

    fn rates_for(&self, usage: &Usage) -> &Rates {
        let tariff = usage.service_tier.and_then(|tier| self.service_tiers.get(&tier));
        let (rates, tiers) =
            tariff.map_or((&self.rates, &self.tiers), |tariff| (&tariff.rates, &tariff.tiers));
        let tier = tiers.iter().rfind(|tier| usage.prompt_tokens > tier.above);
        tier.map_or(rates, |tier| &tier.rates)
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
        let longer = usage.cache_write_1h_tokens.min(written);
        let write = self.cache_write.unwrap_or(self.input);
        let reasoned = usage.reasoning_tokens.min(usage.completion_tokens);
        total(&[
            (usage.prompt_tokens - cached - written, self.input),
            (cached, self.cached_input.unwrap_or(self.input)),
            (written - longer, write),
            (longer, self.cache_write_1h.unwrap_or(write)),
            (usage.completion_tokens - reasoned, self.output),
            (reasoned, self.reasoning.unwrap_or(self.output)),
        ])
    }

    fn worst_case(&self, prompt_tokens: u64, max_output_tokens: u64) -> Usd {
        // Tokens cached cost more with some providers, and tokens written to a cache with most.
        let dearest = |one: PerToken, others: &[Option<PerToken>]| {
            others.iter().flatten().fold(one, |most, other| most.max(*other))
        };
        let input = dearest(self.input, &[self.cached_input, self.cache_write, self.cache_write_1h]);
        total(&[(prompt_tokens, input), (max_output_tokens, dearest(self.output, &[self.reasoning]))])
    }
}

/// All rates that may hold for a prompt of at most so many tokens: one that turns out shorter may fall into a tier that costs more.
fn within<'p>(base: &'p Rates, tiers: &'p [Tier], prompt_tokens: u64) -> impl Iterator<Item = &'p Rates> {
    let tiers = tiers.iter().filter(move |tier| prompt_tokens > tier.above);
    std::iter::once(base).chain(tiers.map(|tier| &tier.rates))
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
mod tests;
