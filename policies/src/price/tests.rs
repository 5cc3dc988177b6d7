//! Exact costs, worked out by hand, and bounds that hold for all.

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
fn a_class_of_service_has_its_price_and_the_dearest_that_may_be_given_is_held() {
    let tariff = |input, output| Tariff {
        rates: Rates { input: rate(input), output: rate(output), ..Rates::default() },
        tiers: Vec::new(),
    };
    let mut price = TokenPrice::new(rate("2"), rate("8"));
    let bare = Price::Tokens(price.clone());
    price.service_tiers =
        [(ServiceTier::Flex, tariff("1", "4")), (ServiceTier::Priority, tariff("3.5", "14"))].into();
    let price = Price::Tokens(price);
    let cost = |price: &Price, service_tier| {
        let usage = Usage { prompt_tokens: 1_000, completion_tokens: 100, service_tier, ..Usage::default() };
        price.cost(&usage).to_string()
    };
    assert_eq!(cost(&price, None), "0.002800");
    assert_eq!(cost(&price, Some(ServiceTier::Standard)), "0.002800");
    assert_eq!(cost(&price, Some(ServiceTier::Flex)), "0.001400");
    assert_eq!(cost(&price, Some(ServiceTier::Priority)), "0.004900");
    let worst = |asked| price.worst_case(1_000, 100, 0, asked).to_string();
    assert_eq!((worst(None), worst(Some(ServiceTier::Priority))), ("0.004900".into(), "0.004900".into()));
    assert_eq!(
        (worst(Some(ServiceTier::Flex)), worst(Some(ServiceTier::Standard))),
        ("0.002800".into(), "0.002800".into())
    );
    assert!(price.knows(ServiceTier::Flex) && !price.knows(ServiceTier::Batch));
    assert!(bare.knows(ServiceTier::Batch));
    assert_eq!(cost(&bare, Some(ServiceTier::Priority)), "0.002800");
}

#[test]
fn every_kind_of_token_has_its_price() {
    let rates = Rates {
        cached_input: Some(rate("0.30")),
        cache_write: Some(rate("3.75")),
        cache_write_1h: None,
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
        ..Usage::default()
    };
    // 1,000 × 3 + 6,000 × 0.30 + 3,000 × 3.75 + 300 × 15 + 200 × 20, all per million.
    assert_eq!(price.cost(&usage).to_string(), "0.024550");
    // All the prompt written, all the answer reasoning: 10,000 × 3.75 + 500 × 20.
    assert_eq!(price.worst_case(10_000, 500, 0, None).to_string(), "0.047500");
    // 1,000 of those written for an hour: at the same rate where there is no other, else 1,000 × (6 − 3.75) more.
    let usage = Usage { cache_write_1h_tokens: 1_000, ..usage };
    assert_eq!(price.cost(&usage).to_string(), "0.024550");
    let rates = Rates { cache_write_1h: Some(rate("6")), ..rates };
    let price = Price::Tokens(TokenPrice { rates, ..TokenPrice::default() });
    assert_eq!(price.cost(&usage).to_string(), "0.026800");
    assert_eq!(price.worst_case(10_000, 500, 0, None).to_string(), "0.070000");
}

#[test]
fn a_long_prompt_costs_another_tier_for_all_its_tokens() {
    let tier = |above, input, output| Tier { above, rates: TokenPrice::new(rate(input), rate(output)).rates };
    let tiers = vec![tier(200_000, "2.50", "15"), tier(500_000, "0.10", "1")];
    let price = Price::Tokens(TokenPrice { tiers, ..TokenPrice::new(rate("1.25"), rate("10")) });
    let cost = |prompt| {
        price.cost(&Usage { prompt_tokens: prompt, completion_tokens: 1_000, ..Usage::default() }).to_string()
    };
    assert_eq!((cost(200_000), cost(200_001)), ("0.260000".to_owned(), "0.5150025".to_owned()));
    assert_eq!(cost(600_000), "0.061000");
    // What is only bounded by 600,000 may still be of the dearer tier below.
    assert_eq!(price.worst_case(600_000, 1_000, 0, None).to_string(), "1.515000");
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
            cache_write_1h: cache_write.zip(reasoning).map(|(one, other)| one.max(other)),
            reasoning,
        },
    )
}

fn any_tier() -> impl Strategy<Value = Option<ServiceTier>> {
    let tiers = [ServiceTier::Standard, ServiceTier::Batch, ServiceTier::Flex, ServiceTier::Priority];
    prop::option::of(prop::sample::select(tiers.to_vec()))
}

proptest! {
    #[test]
    fn the_worst_case_is_never_too_small(
        rates in prop::collection::vec(any_rates(), 6), above in (0u64..2_000_000, 0u64..2_000_000),
        hour in 0i64..1_000_000_000_000, per_request in 0i64..1_000_000_000, hourly: bool,
        prompt in 0u64..2_000_000, parts in (0u64..3_000_000, 0u64..3_000_000, 0u64..300_000), more in 0u64..100_000,
        completion in 0u64..200_000, engine_us in 0u64..100_000_000_000, asked in any_tier(), denied: bool, given in any_tier(),
    ) {
        let tiers = [above.0.min(above.1), above.0.max(above.1)].into_iter().zip(&rates[1..3]);
        let long = Tier { above: above.0, rates: rates[5] };
        let flex = Tariff { rates: rates[3], tiers: Vec::new() };
        let priority = Tariff { rates: rates[4], tiers: vec![long] };
        // A class that was asked for is given or denied; where none was, any may be given.
        let service_tier = if asked.is_none() { given } else { asked.filter(|_| !denied) };
        let price = if hourly { Price::Hourly(Usd::from_nanos(hour)) } else { Price::Tokens(TokenPrice {
            rates: rates[0], tiers: tiers.map(|(above, rates)| Tier { above, rates: *rates }).collect(),
            service_tiers: [(ServiceTier::Flex, flex), (ServiceTier::Priority, priority)].into(),
            per_request: Usd::from_nanos(per_request), per_second: Usd::from_nanos(hour / 1_000),
        }) };
        let usage = Usage {
            prompt_tokens: prompt, cached_tokens: parts.0, cache_write_tokens: parts.1,
            completion_tokens: completion, reasoning_tokens: parts.2, engine_us, service_tier,
            cache_write_1h_tokens: parts.2,
        };
        prop_assert!(price.cost(&usage) <= price.worst_case(prompt + more, completion + more, engine_us + more, asked));
        prop_assert!(price.cost(&usage) >= Usd::ZERO);
    }

    #[test]
    fn no_numbers_overflow(input: u64, output: u64, prompt: u64, completion: u64, engine_us: u64, hour: i64) {
        let price = Price::Tokens(TokenPrice::new(PerToken::from_picos(input), PerToken::from_picos(output)));
        prop_assert!(price.worst_case(prompt, completion, engine_us, None) >= Usd::ZERO);
        prop_assert!(Price::Hourly(Usd::from_nanos(hour)).worst_case(prompt, completion, engine_us, None) >= Usd::ZERO);
    }
}
