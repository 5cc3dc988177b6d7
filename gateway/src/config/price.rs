//! Prices: as a model states its own, or by the name that a price list gives it.

use std::collections::BTreeMap;
use std::path::Path;

use tollgate_policies::diagnostic::nearest;
use tollgate_policies::document::Kind;
use tollgate_policies::{
    Diagnostic, Diagnostics, Document, PerToken, Price, Rates, ServiceTier, Table, Tariff, Tier, TokenPrice,
    Usd,
};

/// Longest prompts that anything is said of, tokens.
const LONGEST: i64 = 100_000_000;
/// More than any machine, request, second or kilowatt-hour costs.
const MOST_USD: Usd = Usd::from_nanos(1_000_000 * 1_000_000_000);
/// Dearest power that an engine is taken to draw, watts.
const MOST_WATTS: i64 = 1_000_000;

/// The prices of the files in `[prices] files`.
#[derive(Debug, Default)]
pub(super) struct PriceList {
    prices: BTreeMap<String, Listed>,
    /// What is wrong in those files.
    pub(super) problems: Vec<Diagnostic>,
}

/// What a model costs, and how long its prompts may be, where that is known.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) price: Price,
    pub(super) context: Option<u64>,
}

impl PriceList {
    /// Reads the files that the configuration names; paths are meant from `base`.
    pub(super) fn read(root: &Table<'_>, base: &Path) -> PriceList {
        let mut list = PriceList::default();
        let Some(table) = root.opt_table("prices") else { return list };
        for (index, file) in table.strings("files").unwrap_or_default().iter().enumerate() {
            match std::fs::read_to_string(base.join(file)) {
                Err(error) => {
                    table.problem_in("files", index, format!("{file:?} cannot be read: {error}"), None)
                }
                Ok(text) => {
                    if let Err(Diagnostics(problems)) = list.add(file, &text) {
                        list.problems.extend(problems);
                    }
                }
            }
        }
        table.finish();
        list
    }

    fn add(&mut self, file: &str, text: &str) -> Result<(), Diagnostics> {
        let document = Document::parse(file, text)?;
        let root = document.root();
        // What the list says of itself, for people.
        let _source = root.opt_string("source");
        if let Some(prices) = root.table("price") {
            for name in prices.keys() {
                if let Some(listed) = prices.opt_table(name).and_then(listed) {
                    self.prices.insert(name.to_owned(), listed);
                }
            }
        }
        root.finish();
        document.finish()
    }

    fn find(&self, table: &Table<'_>, name: &str) -> Option<Listed> {
        let listed = self.prices.get(name).cloned();
        if listed.is_none() {
            let help = match nearest(name, self.prices.keys().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None if self.prices.is_empty() => {
                    "name price lists in [prices] files; `tollgate prices import` makes one".to_owned()
                }
                None => {
                    "an unknown price is no price: state it, as in { input = 0.05, output = 0.10 }".to_owned()
                }
            };
            table.problem("price", format!("no price list has {name:?}"), Some(help));
        }
        listed
    }
}

/// A model's `price`: a table, or the name of one in a list.
pub(super) fn of_model(table: &Table<'_>, list: &PriceList) -> Option<Listed> {
    match table.kind("price") {
        Some(Kind::String) => list.find(table, &table.opt_string("price")?),
        None | Some(Kind::Table) => listed(table.table("price")?),
        Some(_) => {
            let help = "price = { input = 0.05, output = 0.10 }   # USD per million tokens".to_owned();
            table.problem("price", "`price` must be a table, or a name in a price list", Some(help));
            None
        }
    }
}

/// `{ input, output, … }` in USD per million tokens, or `{ hourly }` or `{ watts, usd_per_kwh }` by engine time.
fn listed(table: Table<'_>) -> Option<Listed> {
    let timed = table.has("hourly") || table.has("watts") || table.has("usd_per_kwh");
    let price = if timed { by_time(&table).map(Price::Hourly) } else { by_tokens(&table).map(Price::Tokens) };
    let context = table.opt_integer("context", 64..=LONGEST).and_then(|tokens| u64::try_from(tokens).ok());
    table.finish();
    price.map(|price| Listed { price, context })
}

/// The machine's price and that of its power, both for an hour.
fn by_time(table: &Table<'_>) -> Option<Usd> {
    let hourly = amount(table, "hourly");
    if table.has("hourly") && hourly.is_none() {
        return None;
    }
    if !table.has("watts") && !table.has("usd_per_kwh") {
        return hourly;
    }
    let (watts, tariff) = (
        table.integer("watts", 1..=MOST_WATTS),
        table.usd("usd_per_kwh").filter(|usd| is_sane(table, "usd_per_kwh", *usd)),
    );
    let (watts, tariff) = watts.zip(tariff)?;
    // Rounded up to a nanodollar an hour.
    let nanos = (i128::from(watts) * i128::from(tariff.nanos()) + 999) / 1_000;
    let power = Usd::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX));
    Some(hourly.unwrap_or(Usd::ZERO).saturating_add(power))
}

fn by_tokens(table: &Table<'_>) -> Option<TokenPrice> {
    let base = tariff(table);
    let mut service_tiers = BTreeMap::new();
    if let Some(classes) = table.opt_table("service_tiers") {
        for tier in ServiceTier::STATED {
            if let Some(class) = classes.opt_table(tier.as_str()) {
                service_tiers.extend(tariff(&class).map(|tariff| (tier, tariff)));
                class.finish();
            }
        }
        classes.finish();
    }
    let per_request = amount(table, "per_request").unwrap_or(Usd::ZERO);
    let per_second = amount(table, "per_second").unwrap_or(Usd::ZERO);
    base.map(|Tariff { rates, tiers }| TokenPrice { rates, tiers, service_tiers, per_request, per_second })
}

/// What tokens cost, and what they cost for long prompts.
fn tariff(table: &Table<'_>) -> Option<Tariff> {
    let (input, output) = both(table);
    let base =
        input.zip(output).map(|(input, output)| others(table, Rates { input, output, ..Rates::default() }));
    let mut tiers: Vec<Tier> = Vec::new();
    for tier in table.tables("tiers") {
        let above = tier.integer("above", 1..=LONGEST).and_then(|tokens| u64::try_from(tokens).ok());
        let (input, output) = both(&tier);
        if tiers.last().is_some_and(|last| above.is_some_and(|above| above <= last.above)) {
            tier.problem("above", "tiers must ascend", None);
        }
        if let (Some(above), Some(input), Some(output)) = (above, input, output) {
            let rates = others(&tier, Rates { input, output, ..base.unwrap_or_default() });
            tiers.push(Tier { above, rates });
        }
        tier.finish();
    }
    base.map(|rates| Tariff { rates, tiers })
}

fn both(table: &Table<'_>) -> (Option<PerToken>, Option<PerToken>) {
    let named = |key| rate(table, key, table.per_token(key));
    (named("input"), named("output"))
}

/// A rate, unless it can only be a mistake.
fn rate(table: &Table<'_>, key: &str, rate: Option<PerToken>) -> Option<PerToken> {
    if rate.is_some_and(|rate| rate > PerToken::MOST) {
        let help = "prices are in USD per million tokens".to_owned();
        table.problem(
            key,
            format!("`{key}` is more than {} USD per million tokens", PerToken::MOST),
            Some(help),
        );
        return None;
    }
    rate
}

fn amount(table: &Table<'_>, key: &str) -> Option<Usd> {
    table.opt_usd(key).filter(|usd| is_sane(table, key, *usd))
}

fn is_sane(table: &Table<'_>, key: &str, usd: Usd) -> bool {
    if usd > MOST_USD {
        table.problem(key, format!("`{key}` is more than {MOST_USD} USD, which can only be a mistake"), None);
    }
    usd <= MOST_USD
}

/// The kinds of tokens that may have a price of their own.
fn others(table: &Table<'_>, rates: Rates) -> Rates {
    Rates {
        cached_input: rate(table, "cached_input", table.opt_per_token("cached_input")).or(rates.cached_input),
        cache_write: rate(table, "cache_write", table.opt_per_token("cache_write")).or(rates.cache_write),
        cache_write_1h: rate(table, "cache_write_1h", table.opt_per_token("cache_write_1h"))
            .or(rates.cache_write_1h),
        reasoning: rate(table, "reasoning", table.opt_per_token("reasoning")).or(rates.reasoning),
        ..rates
    }
}

#[cfg(test)]
mod tests;
