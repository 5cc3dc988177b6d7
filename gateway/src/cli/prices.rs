//! `tollgate prices`: price lists, and what the configured models cost.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use tollgate::config::Config;
use tollgate::prices::Import;
use tollgate_policies::{Price, Usage};

use super::output;
use super::{CliError, Place};

#[derive(Debug, Subcommand)]
pub(crate) enum Prices {
    /// Make a price list of LiteLLM's model_prices_and_context_window.json.
    Import(ImportArgs),
    /// What the configured models cost.
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The price map.
    #[arg(value_name = "FILE")]
    map: PathBuf,
    /// Only this model; may be given several times.
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    /// Take models that cost nothing, too.
    #[arg(long)]
    free: bool,
    /// Write the list here instead of to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Prices {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Prices::Import(command) => command.run(),
            Prices::List(command) => command.run(),
        }
    }
}

impl ImportArgs {
    fn run(self) -> Result<ExitCode, CliError> {
        let source = self.map.display().to_string();
        let json = std::fs::read_to_string(&self.map)
            .map_err(|error| CliError::Io { what: format!("{source} cannot be read"), source: error })?;
        let import = Import::read(&json, &self.models, self.free)
            .map_err(|error| CliError::Request(format!("{source}: {error}")))?;
        let name = self.map.file_name().map_or(source.clone(), |name| name.to_string_lossy().into_owned());
        let toml = import.toml(&name);
        match &self.out {
            None => output::done(std::io::Write::write_all(&mut std::io::stdout().lock(), toml.as_bytes()))?,
            Some(out) => std::fs::write(out, toml)
                .map_err(|source| CliError::Io { what: out.display().to_string(), source })?,
        }
        output::complain(&format!("{} models have a price", import.models()));
        for (reason, names) in &import.left_out {
            let some: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
            output::complain(&format!("{} left out, {reason}: {} …", names.len(), some.join(", ")));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A model's price as a million tokens of each kind, or an hour, cost.
#[derive(Serialize)]
struct Shown {
    model: String,
    price: String,
    example_usd: String,
}

impl ListArgs {
    fn run(self) -> Result<ExitCode, CliError> {
        let config = Config::load(&self.place.overrides())?;
        let shown: Vec<Shown> = config
            .models
            .iter()
            .map(|model| Shown {
                model: model.name.clone(),
                price: told(&model.price),
                example_usd: model.price.cost(&EXAMPLE).to_string(),
            })
            .collect();
        if self.json {
            output::json(&shown)?;
        } else {
            let rows = shown.into_iter().map(|line| vec![line.model, line.price, line.example_usd]).collect();
            output::line(&output::table(&["model", "price, USD", "example USD"], 2, rows).to_string())?;
            output::line("An example: 1,000 prompt and 300 completion tokens in 10 seconds of engine time.")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A request to compare prices by.
const EXAMPLE: Usage = Usage {
    prompt_tokens: 1_000,
    cached_tokens: 0,
    completion_tokens: 300,
    reasoning_tokens: 0,
    engine_us: 10_000_000,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    service_tier: None,
};

fn told(price: &Price) -> String {
    let price = match price {
        Price::Hourly(hour) => return format!("{hour} an hour"),
        Price::Tokens(price) => price,
    };
    let rates = &price.rates;
    let mut told = format!("{} in, {} out a million", rates.input, rates.output);
    for (what, rate) in [
        ("cached", rates.cached_input),
        ("cache write", rates.cache_write),
        ("cache write for an hour", rates.cache_write_1h),
        ("reasoning", rates.reasoning),
    ] {
        if let Some(rate) = rate {
            told.push_str(&format!(", {rate} {what}"));
        }
    }
    for (tier, tariff) in &price.service_tiers {
        told.push_str(&format!("; {} {} in, {} out", tier.as_str(), tariff.rates.input, tariff.rates.output));
    }
    for tier in &price.tiers {
        told.push_str(&format!(
            "; above {} tokens {} in, {} out",
            tier.above, tier.rates.input, tier.rates.output
        ));
    }
    for (what, amount) in [("request", price.per_request), ("second", price.per_second)] {
        if amount.nanos() > 0 {
            told.push_str(&format!("; {amount} a {what}"));
        }
    }
    told
}
