//! `tollgate policy replay` and `diff`: recorded traffic through other policies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tollgate::config::{Config, calibrate, catalog};
use tollgate::keys::KeyStore;
use tollgate::ledger::{Dimension, LedgerError, Reader, Receipt};
use tollgate::replay::{Interval, Outcome, Pair, Replay, World};
use tollgate_engine::models;
use tollgate_policies::{Known, Policy, Shape, Usd, check};
use tollgate_router::Scorer;

use super::output;
use super::time::{self, Moment};
use super::{CliError, Place};

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The policy to replay the recorded traffic through.
    #[arg(value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The policy that is compared with.
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The policy that is compared.
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    #[command(flatten)]
    how: How,
}

/// What both commands take.
#[derive(Debug, Args)]
struct How {
    /// Only requests from then on: a date, a time, or an age such as 7d.
    #[arg(long, value_name = "WHEN", value_parser = time::past)]
    since: Option<Moment>,
    /// Only requests before then.
    #[arg(long, value_name = "WHEN", value_parser = time::past)]
    until: Option<Moment>,
    /// Group by model, engine, team, key, run, route, policy, status, hour, day or tag.NAME of the record; several, joined by commas.
    #[arg(long, value_name = "DIMENSION", value_delimiter = ',', default_value = "route")]
    by: Vec<Dimension>,
    /// Exit 1 if it would cost more than this.
    #[arg(long, value_name = "USD")]
    max_cost_usd: Option<Usd>,
    /// Exit 1 if fewer good answers are expected, as a share of those compared with.
    #[arg(long, value_name = "SHARE", value_parser = bound)]
    min_quality: Option<f64>,
    /// Exit 1 if more requests would be refused.
    #[arg(long, value_name = "COUNT")]
    max_refused: Option<u64>,
    /// Exit 1 if 95 % of the answers would take longer than this, milliseconds.
    #[arg(long, value_name = "MS", value_parser = bound)]
    max_p95_ms: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    pair: &'a Pair,
    quality: Interval,
    broken: Vec<String>,
}

impl ReplayArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let (config, world, reader) = self.how.world()?;
        let policy = read(&config, &self.policy)?;
        let mut replay = Replay::new(&world, &policy);
        let pair = Pair::new("recorded", &self.policy.display().to_string());
        self.how.compare(&reader, &world, pair, |receipt| {
            let asked = receipt.asked.as_ref()?;
            Some((world.recorded(receipt, asked), replay.take(receipt, asked)))
        })
    }
}

impl DiffArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let (config, world, reader) = self.how.world()?;
        let policies = (read(&config, &self.before)?, read(&config, &self.after)?);
        let (mut before, mut after) = (Replay::new(&world, &policies.0), Replay::new(&world, &policies.1));
        let pair = Pair::new(&self.before.display().to_string(), &self.after.display().to_string());
        self.how.compare(&reader, &world, pair, |receipt| {
            let asked = receipt.asked.as_ref()?;
            Some((before.take(receipt, asked), after.take(receipt, asked)))
        })
    }
}

impl How {
    /// The configuration, what it makes of the ledger, and the ledger.
    fn world(&self) -> Result<(Config, World, Reader), CliError> {
        let config = Config::load(&self.place.clone().overrides())?;
        let path = config.ledger()?;
        let reader = Reader::open(&path)?;
        let library = config.router.onnxruntime.clone().map_or_else(models::onnxruntime, Ok)?;
        let scorer = Scorer::load(&library, 1)?;
        if let Some(path) = &config.router.calibration {
            calibrate(&scorer, path)?;
        }
        let (since, until) = (self.since.map(|at| at.0), self.until.map(|at| at.0));
        let policies = config.policies.load(&config.models)?;
        let keys = KeyStore::read(&path)?.list()?;
        let world = World {
            catalog: catalog(&config.models, &policies.default.baseline),
            tolerance: scorer.tolerance(),
            speeds: reader.speeds(since, until)?,
            keys: keys.into_iter().map(|(_, key)| (key.id.clone(), key)).collect(),
            daily: Shape::of(reader.hours(since.unwrap_or(0), until.unwrap_or(u64::MAX))?),
        };
        Ok((config, world, reader))
    }

    /// Replays, prints, and says whether the limits hold.
    fn compare(
        &self,
        reader: &Reader,
        world: &World,
        mut pair: Pair,
        mut both: impl FnMut(&Receipt) -> Option<(Outcome, Outcome)>,
    ) -> Result<ExitCode, CliError> {
        reader.each_receipt(self.since.map(|at| at.0), self.until.map(|at| at.0), |_, body, _| {
            let receipt: Receipt = serde_json::from_str(body).map_err(LedgerError::from)?;
            match both(&receipt) {
                Some((before, after)) => {
                    let name = |dimension: &Dimension| match (dimension, dimension.of(&receipt)) {
                        (Dimension::Key, Some(id)) => {
                            Some(world.keys.get(&id).map_or(id, |key| key.name.clone()))
                        }
                        (_, value) => value,
                    };
                    let group = self.by.iter().map(name).collect();
                    pair.take(group, &before, &after);
                }
                None => pair.skipped += 1,
            }
            Ok(())
        })?;
        pair.finish();
        let broken = self.broken(&pair);
        if self.json {
            output::json(&Shown { pair: &pair, quality: pair.quality(), broken: broken.clone() })?;
        } else {
            self.print(&pair, &broken)?;
        }
        Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The limits that the second side breaks. What nothing is known of keeps no limit.
    fn broken(&self, pair: &Pair) -> Vec<String> {
        let (after, quality) = (&pair.after, pair.quality());
        let limited = self.max_cost_usd.is_some()
            || self.min_quality.is_some()
            || self.max_refused.is_some()
            || self.max_p95_ms.is_some();
        if limited && pair.requests() == 0 {
            return vec!["there is no recorded traffic to hold it against".to_owned()];
        }
        let mut broken = Vec::new();
        if self.min_quality.is_some() && pair.before.good <= 0.0 {
            broken.push(
                "what quality it keeps is not known: nothing it is compared with answers well".to_owned(),
            );
        }
        if self.max_p95_ms.is_some() && after.answered == 0 {
            broken.push("how long its answers take is not known: there are none".to_owned());
        }
        if let Some(most) = self.max_cost_usd.filter(|most| after.cost_usd > *most) {
            broken.push(format!("it costs {} USD, more than {most}", after.cost_usd));
        }
        if let Some(least) = self.min_quality.filter(|least| quality.value < *least) {
            broken.push(format!("it keeps {:.4} of the quality, less than {least}", quality.value));
        }
        if let Some(most) = self.max_refused.filter(|most| after.refused > *most) {
            broken.push(format!("it refuses {} requests, more than {most}", after.refused));
        }
        if let Some(most) = self.max_p95_ms.filter(|most| after.p95_ms > *most) {
            broken.push(format!("95 % of the answers take up to {:.0} ms, more than {most}", after.p95_ms));
        }
        broken
    }

    fn print(&self, pair: &Pair, broken: &[String]) -> Result<(), CliError> {
        let requests = pair.requests();
        if requests == 0 {
            output::line("There are no receipts in that time that say what was asked.")?;
            return print_broken(broken);
        }
        let (before, after) = (&pair.before, &pair.after);
        let of = |good: f64| format!("{:.4}", good / requests as f64);
        let rows = [
            ["requests answered".to_owned(), before.answered.to_string(), after.answered.to_string()],
            ["refused".to_owned(), before.refused.to_string(), after.refused.to_string()],
            ["cost USD".to_owned(), before.cost_usd.to_string(), after.cost_usd.to_string()],
            ["good answers expected".to_owned(), of(before.good), of(after.good)],
            ["p50 ms".to_owned(), format!("{:.0}", before.p50_ms), format!("{:.0}", after.p50_ms)],
            ["p95 ms".to_owned(), format!("{:.0}", before.p95_ms), format!("{:.0}", after.p95_ms)],
        ];
        let head = ["", before.name.as_str(), after.name.as_str()];
        output::line(&output::table(&head, 1, rows.map(Vec::from).into()).to_string())?;
        let quality = pair.quality();
        output::line(&format!(
            "{} of {requests} requests move to another model; {:.2} % of the quality is kept ({:.2} to {:.2}), the bill changes by {} USD",
            pair.moved,
            quality.value * 100.0,
            quality.low * 100.0,
            quality.high * 100.0,
            after.cost_usd.saturating_sub(before.cost_usd)
        ))?;
        for (budget, refused) in &after.breaches {
            output::line(&format!("{refused} requests find no room in the budget {budget:?}"))?;
        }
        self.print_lines(pair)?;
        if pair.skipped > 0 {
            output::line(&format!(
                "{} receipts do not say what was asked (calls made to learn, crashes, earlier releases) and were left out",
                pair.skipped
            ))?;
        }
        print_broken(broken)
    }

    fn print_lines(&self, pair: &Pair) -> Result<(), CliError> {
        let heads: Vec<String> = self.by.iter().map(Dimension::heading).collect();
        let figures =
            ["requests", "moved", "refused", "cost before", "cost after", "good before", "good after"];
        let head: Vec<&str> = heads.iter().map(String::as_str).chain(figures).collect();
        let rows = pair.lines.iter().map(|line| {
            let of = |good: f64| format!("{:.3}", good / line.requests.max(1) as f64);
            let group = line.group.iter().map(|value| value.clone().unwrap_or_else(|| "-".to_owned()));
            let figures = [
                line.requests.to_string(),
                line.moved.to_string(),
                line.refused.to_string(),
                line.cost_usd[0].to_string(),
                line.cost_usd[1].to_string(),
                of(line.good[0]),
                of(line.good[1]),
            ];
            group.chain(figures).collect()
        });
        output::line(&output::table(&head, heads.len(), rows.collect()).to_string())
    }
}

fn print_broken(limits: &[String]) -> Result<(), CliError> {
    limits.iter().try_for_each(|limit| output::line(&format!("LIMIT  {limit}")))
}

/// A number that something can be more or less than: nothing is by `nan`.
fn bound(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "not a number of at least 0".to_owned())
}

/// A policy file, checked against the configuration's models.
fn read(config: &Config, path: &Path) -> Result<Policy, CliError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| CliError::Io { what: file.clone(), source })?;
    let names: Vec<&str> = config.models.iter().map(|model| model.name.as_str()).collect();
    let regions: Vec<&str> =
        config.models.iter().flat_map(|model| &model.regions).map(String::as_str).collect();
    let known = Known { models: &names, regions: &regions };
    check(&file, &text, Some(&known)).map_err(|problems| CliError::Request(problems.to_string()))
}
