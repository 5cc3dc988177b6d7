//! Price lists made of LiteLLM's `model_prices_and_context_window.json`.
//!
//! Amounts are taken from the file's digits, never through a float. What has no price for its tokens, or none that a list can
//! state exactly, is left out and told: a name without a price is an error where it is used, never zero.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tollgate_policies::{PerToken, Usd};

/// Kinds of models that a gateway sends chats to.
const MODES: [&str; 3] = ["chat", "completion", "responses"];

/// Classes of service, as lists name them and as the map ends its keys for them.
const SERVICE_TIERS: [(&str, &str); 3] =
    [("batch", "_batches"), ("flex", "_flex"), ("priority", "_priority")];

/// What a price list is made of.
#[derive(Debug, Default)]
pub struct Import {
    entries: BTreeMap<String, Entry>,
    /// Names left out, by why.
    pub left_out: BTreeMap<&'static str, Vec<String>>,
    sha: String,
}

/// Why nothing can be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not the file that is meant.
    #[error("not a LiteLLM price map, a JSON object of models: {0}")]
    NotAMap(#[from] serde_json::Error),
    /// A model that was asked for by name.
    #[error("the price map has no usable price of {name:?}: {reason}")]
    Missing {
        /// The model.
        name: String,
        /// Why.
        reason: &'static str,
    },
}

/// What one model costs, in the order in which a list states it.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    rates: Rates,
    tiers: BTreeMap<u64, Rates>,
    /// Rates in other classes of service, by their names.
    service_tiers: BTreeMap<&'static str, (Rates, BTreeMap<u64, Rates>)>,
    per_request: Option<Usd>,
    context: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Rates {
    input: Option<PerToken>,
    output: Option<PerToken>,
    cached_input: Option<PerToken>,
    cache_write: Option<PerToken>,
    cache_write_1h: Option<PerToken>,
    reasoning: Option<PerToken>,
}

/// One model of the price map.
type Fields<'a> = BTreeMap<&'a str, &'a RawValue>;

impl Import {
    /// Reads a price map: all its chat models, or those asked for. Models that cost nothing are taken only if `free`.
    ///
    /// # Errors
    /// [`ImportError`]
    pub fn read(json: &str, wanted: &[String], free: bool) -> Result<Import, ImportError> {
        let models: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
        let mut import = Import { sha: hex(&Sha256::digest(json.as_bytes())), ..Import::default() };
        for name in wanted {
            let reason = "it is not there";
            if !models.contains_key(name) {
                return Err(ImportError::Missing { name: name.clone(), reason });
            }
        }
        for (name, raw) in models {
            if name == "sample_spec" || !(wanted.is_empty() || wanted.contains(&name)) {
                continue;
            }
            match entry(raw, free) {
                Ok(entry) => {
                    import.entries.insert(name, entry);
                }
                Err(reason) if wanted.is_empty() => import.left_out.entry(reason).or_default().push(name),
                Err(reason) => return Err(ImportError::Missing { name, reason }),
            }
        }
        Ok(import)
    }

    /// Models in the list.
    #[must_use]
    pub fn models(&self) -> usize {
        self.entries.len()
    }

    /// The list as `[prices] files` takes it.
    #[must_use]
    pub fn toml(&self, source: &str) -> String {
        // JSON's strings are TOML's basic ones.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut toml = format!(
            "# Prices in USD per million tokens. Made by `tollgate prices import`; changes by hand are welcome.\nsource = {}\n",
            quoted(&format!("{source}, sha256 {}", self.sha))
        );
        for (name, entry) in &self.entries {
            let _ = write!(toml, "\n[price.{}]\n{}", quoted(name), entry.rates.lines());
            if let Some(per_request) = entry.per_request {
                let _ = writeln!(toml, "per_request = {per_request}");
            }
            if let Some(context) = entry.context {
                let _ = writeln!(toml, "context = {context}");
            }
            for (above, rates) in &entry.tiers {
                let _ = write!(toml, "[[price.{}.tiers]]\nabove = {above}\n{}", quoted(name), rates.lines());
            }
            for (class, (rates, tiers)) in &entry.service_tiers {
                let key = format!("price.{}.service_tiers.{class}", quoted(name));
                let _ = write!(toml, "[{key}]\n{}", rates.lines());
                for (above, rates) in tiers {
                    let _ = write!(toml, "[[{key}.tiers]]\nabove = {above}\n{}", rates.lines());
                }
            }
        }
        toml
    }
}

impl Rates {
    fn read(fields: &Fields<'_>, suffix: &str) -> Result<Rates, &'static str> {
        let rate = |key: &str| {
            match fields.get(format!("{key}{suffix}").as_str()) {
            None => Ok(None),
            Some(raw) if raw.get() == "null" => Ok(None),
            Some(raw) => scaled(raw.get(), 12)
                .and_then(|picos| u64::try_from(picos).ok())
                .map(PerToken::from_picos)
                .filter(|rate| *rate <= PerToken::MOST)
                .map(Some)
                .ok_or("a price that is not a number, negative, finer than a picodollar, or above a dollar a token"),
        }
        };
        Ok(Rates {
            input: rate("input_cost_per_token")?,
            output: rate("output_cost_per_token")?,
            cached_input: rate("cache_read_input_token_cost")?,
            cache_write: rate("cache_creation_input_token_cost")?,
            cache_write_1h: rate("cache_creation_input_token_cost_above_1hr")?,
            reasoning: rate("output_cost_per_reasoning_token")?,
        })
    }

    fn lines(&self) -> String {
        let named = [
            ("input", self.input),
            ("output", self.output),
            ("cached_input", self.cached_input),
            ("cache_write", self.cache_write),
            ("cache_write_1h", self.cache_write_1h),
            ("reasoning", self.reasoning),
        ];
        named.into_iter().filter_map(|(name, rate)| Some(format!("{name} = {}\n", rate?))).collect()
    }

    fn or(self, base: &Rates) -> Rates {
        Rates { input: self.input.or(base.input), output: self.output.or(base.output), ..self }
    }

    fn is_free(&self) -> bool {
        [self.input, self.output].iter().flatten().all(|rate| rate.picos() == 0)
    }
}

fn entry(raw: &RawValue, free: bool) -> Result<Entry, &'static str> {
    let fields: Fields<'_> = serde_json::from_str(raw.get()).map_err(|_| "not an object")?;
    let mode: Option<String> = field(&fields, "mode");
    if !mode.is_some_and(|mode| MODES.contains(&mode.as_str())) {
        return Err("not a chat model");
    }
    let mut entry = Entry {
        rates: Rates::read(&fields, "")?,
        context: field::<f64>(&fields, "max_input_tokens")
            .map(|tokens| tokens as u64)
            .filter(|tokens| *tokens >= 64),
        ..Entry::default()
    };
    if let Some(raw) = fields.get("input_cost_per_request") {
        let nanos = scaled(raw.get(), 9).and_then(|nanos| i64::try_from(nanos).ok());
        entry.per_request =
            Some(Usd::from_nanos(nanos.ok_or("a price per request finer than a nanodollar")?));
    }
    entry.tiers = long(&fields, "", &entry.rates)?;
    for (class, suffix) in SERVICE_TIERS {
        let rates = Rates::read(&fields, suffix)?;
        // A class with half a price has none: the request that asks for it is refused instead of charged wrongly.
        if rates.input.is_some() && rates.output.is_some() {
            entry.service_tiers.insert(class, (rates, long(&fields, suffix, &rates)?));
        }
    }
    let ranges: Option<Vec<Fields<'_>>> =
        fields.get("tiered_pricing").and_then(|raw| serde_json::from_str(raw.get()).ok());
    for tier in ranges.iter().flatten() {
        let range: Vec<f64> = field(tier, "range").unwrap_or_default();
        let from = range.first().map_or(0, |from| *from as u64);
        let rates = Rates::read(tier, "")?.or(&entry.rates);
        if from == 0 {
            entry.rates = rates;
        } else {
            entry.tiers.insert(from, rates);
        }
    }
    if entry.rates.input.is_none() || entry.rates.output.is_none() {
        return Err("no price for its tokens");
    }
    if entry.rates.is_free() && entry.per_request.is_none() && !free {
        return Err("free of charge, which has to be said (--free)");
    }
    Ok(entry)
}

/// Rates of long prompts in a class of service.
fn long(fields: &Fields<'_>, class: &str, base: &Rates) -> Result<BTreeMap<u64, Rates>, &'static str> {
    let mut tiers = BTreeMap::new();
    for key in fields.keys().filter_map(|key| key.strip_prefix("input_cost_per_token_above_")) {
        let Some(length) = key.strip_suffix(class) else { continue };
        if let Some(thousands) = length.strip_suffix("k_tokens").and_then(|count| count.parse::<u64>().ok()) {
            let rates = Rates::read(fields, &format!("_above_{key}"))?;
            tiers.insert(thousands * 1_000, rates.or(base));
        }
    }
    Ok(tiers)
}

fn field<'a, T: Deserialize<'a>>(fields: &Fields<'a>, name: &str) -> Option<T> {
    fields.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// A JSON number times a power of ten, if that is a whole number that is not negative.
fn scaled(number: &str, places: i32) -> Option<u128> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(places)?;
    let power = 10u128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 {
        return digits.checked_mul(power);
    }
    digits.is_multiple_of(power).then(|| digits / power)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = r#"{
        "sample_spec": {"mode": "one of: chat, embedding", "input_cost_per_token": 0.0},
        "gpt-4o": {"mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
            "cache_read_input_token_cost": 1.25e-06, "input_cost_per_token_batches": 1.25e-06, "input_cost_per_token_priority": 4.25e-06,
            "output_cost_per_token_priority": 1.7e-05, "cache_read_input_token_cost_priority": 2.125e-06,
            "input_cost_per_token_above_64k_tokens_priority": 8.5e-06, "max_input_tokens": 128000},
        "claude": {"mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_read_input_token_cost": 3e-07,
            "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06},
        "gemini": {"mode": "chat", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
            "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 0.000015,
            "cache_read_input_token_cost_above_200k_tokens": 2.5e-07, "input_cost_per_token_above_200k_tokens_flex": 1e-06},
        "qwen": {"mode": "chat", "tiered_pricing": [{"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256000.0]},
            {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06, "range": [256000.0, 1000000.0]}]},
        "free": {"mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0.0},
        "seconds": {"mode": "chat", "output_cost_per_second": 0.01},
        "fine": {"mode": "chat", "input_cost_per_token": 1e-13, "output_cost_per_token": 1e-06},
        "drawing": {"mode": "image_generation", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}
    }"#;

    #[test]
    fn numbers_are_exact() {
        for (text, picos) in [
            ("2.5e-06", 2_500_000),
            ("0.000015", 15_000_000),
            ("1e-12", 1),
            ("3", 3_000_000_000_000),
            ("0.0", 0),
        ] {
            assert_eq!(scaled(text, 12), Some(picos), "{text}");
        }
        for text in ["1e-13", "-1e-6", "null", "\"1\"", "1e400", "1e-400"] {
            assert_eq!(scaled(text, 12), None, "{text}");
        }
    }

    #[test]
    fn a_map_becomes_a_list() {
        let import = Import::read(MAP, &[], false).unwrap();
        assert_eq!(import.models(), 4);
        insta::assert_snapshot!(import.toml("map.json").lines().skip(2).collect::<Vec<_>>().join("\n"), @r#"

        [price."claude"]
        input = 3.00
        output = 15.00
        cached_input = 0.30
        cache_write = 3.75
        cache_write_1h = 6.00

        [price."gemini"]
        input = 1.25
        output = 10.00
        [[price."gemini".tiers]]
        above = 200000
        input = 2.50
        output = 15.00
        cached_input = 0.25

        [price."gpt-4o"]
        input = 2.50
        output = 10.00
        cached_input = 1.25
        context = 128000
        [price."gpt-4o".service_tiers.priority]
        input = 4.25
        output = 17.00
        cached_input = 2.125
        [[price."gpt-4o".service_tiers.priority.tiers]]
        above = 64000
        input = 8.50
        output = 17.00

        [price."qwen"]
        input = 0.05
        output = 0.40
        [[price."qwen".tiers]]
        above = 256000
        input = 0.25
        output = 2.00
        "#);
        let left: Vec<&String> = import.left_out.values().flatten().collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }

    #[test]
    fn what_is_asked_for_must_be_there() {
        let read =
            |name: &str, free| Import::read(MAP, &[name.to_owned()], free).map(|import| import.models());
        assert_eq!(read("gpt-4o", false).unwrap(), 1);
        assert!(read("gpt-5", false).unwrap_err().to_string().contains("not there"));
        assert!(read("free", false).unwrap_err().to_string().contains("--free"));
        assert_eq!(read("free", true).unwrap(), 1);
        assert!(Import::read("[]", &[], false).is_err());
    }
}
