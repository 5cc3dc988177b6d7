//! Price tables as files state them.

use tollgate_policies::Usage;

use super::*;

/// The price of a table under `price`, or what is wrong with it.
fn read(table: &str) -> Result<Price, String> {
    let text = format!("price = {table}");
    let document = Document::parse("t.toml", &text).map_err(|problems| problems.to_string())?;
    let listed = of_model(&document.root(), &PriceList::default());
    document.finish().map_err(|problems| problems.to_string())?;
    Ok(listed.unwrap().price)
}

fn cost(price: &Price, prompt: u64, completion: u64) -> String {
    price
        .cost(&Usage { prompt_tokens: prompt, completion_tokens: completion, ..Usage::default() })
        .to_string()
}

#[test]
fn a_tier_has_the_rates_of_the_base_where_it_says_nothing() {
    let price =
        "{ input = 1, output = 2, cached_input = 0.5, tiers = [{ above = 1000, input = 3, output = 4 }] }";
    let price = read(price).unwrap();
    assert_eq!(
        (cost(&price, 1000, 10), cost(&price, 1001, 10)),
        ("0.001020".to_owned(), "0.003043".to_owned())
    );
    let cached = Usage { prompt_tokens: 1001, cached_tokens: 1001, ..Usage::default() };
    assert_eq!(price.cost(&cached).to_string(), "0.0005005");
}

#[test]
fn a_machine_costs_its_hour_and_its_power() {
    // 250 W at 0.30 USD a kWh are 0.075 USD an hour.
    for (table, hour) in [
        ("{ hourly = 1.20 }", "1.200000"),
        ("{ watts = 250, usd_per_kwh = 0.30 }", "0.075000"),
        ("{ hourly = 1.20, watts = 250, usd_per_kwh = 0.30 }", "1.275000"),
    ] {
        let used = Usage { engine_us: 3_600_000_000, ..Usage::default() };
        assert_eq!(read(table).unwrap().cost(&used).to_string(), hour);
    }
    assert!(read("{ watts = 250 }").unwrap_err().contains("usd_per_kwh"));
}

#[test]
fn what_is_wrong_is_told() {
    for (table, told) in [
        ("{ input = 1 }", "output"),
        (
            "{ input = 1, output = 2, tiers = [{ above = 9, input = 1, output = 1 }, { above = 9, input = 1, output = 1 }] }",
            "ascend",
        ),
        ("{ input = 1, output = 2, cache_writes = 3 }", "did you mean `cache_write`"),
        ("{ input = 1, output = -2 }", "output"),
        ("{ input = 1000000.01, output = 1 }", "`input` is more than 1000000.00 USD per million tokens"),
        ("{ input = 1, output = 1, reasoning = 2e6 }", "reasoning"),
        (
            "{ input = 1, output = 1, per_request = 1000000.1 }",
            "`per_request` is more than 1000000.000000 USD",
        ),
        ("{ hourly = 9000000000 }", "hourly"),
        ("{ watts = 1, usd_per_kwh = 9000000000 }", "usd_per_kwh"),
        ("12", "a name in a price list"),
        ("\"gpt-4o\"", "tollgate prices import"),
    ] {
        let problem = read(table).unwrap_err();
        assert!(problem.contains(told), "{table}: {problem}");
    }
}

#[test]
fn a_list_prices_by_name() {
    let mut list = PriceList::default();
    list.add(
        "prices.toml",
        "source = \"x\"\n[price.\"gpt-4o\"]\ninput = 2.50\noutput = 10.00\ncontext = 128000\n",
    )
    .unwrap();
    let find = |name: &str| {
        let text = format!("price = {name:?}");
        let document = Document::parse("t.toml", &text).unwrap();
        let listed = of_model(&document.root(), &list);
        document.finish().map(|()| listed.unwrap()).map_err(|problems| problems.to_string())
    };
    let listed = find("gpt-4o").unwrap();
    assert_eq!((listed.context, cost(&listed.price, 100, 10)), (Some(128_000), "0.000350".to_owned()));
    assert!(find("gpt-4").unwrap_err().contains("did you mean \"gpt-4o\"?"));
    assert!(list.add("bad.toml", "[price.x]\ninput = 1\n").unwrap_err().to_string().contains("bad.toml"));
}

#[test]
fn classes_of_service_have_rates_of_their_own() {
    let price = read(
        "{ input = 1, output = 2, service_tiers = { priority = { input = 2, output = 4, tiers = [{ above = 100, input = 3, output = 6 }] } } }",
    );
    let price = price.unwrap();
    let cost = |prompt_tokens, tier| {
        let usage =
            Usage { prompt_tokens, completion_tokens: 10, service_tier: Some(tier), ..Usage::default() };
        price.cost(&usage).to_string()
    };
    assert_eq!(cost(100, ServiceTier::Standard), "0.000120");
    assert_eq!(
        (cost(100, ServiceTier::Priority), cost(101, ServiceTier::Priority)),
        ("0.000240".into(), "0.000363".into())
    );
    let wrong = read("{ input = 1, output = 2, service_tiers = { priorty = { input = 2, output = 4 } } }")
        .unwrap_err();
    assert!(wrong.contains("priorty") && wrong.contains("did you mean `priority`?"), "{wrong}");
}
