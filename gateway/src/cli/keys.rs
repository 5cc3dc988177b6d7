//! `tollgate keys`: makes, lists and revokes virtual keys. A running gateway knows a new key at once and
//! refuses a revoked one within a second.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use tollgate::keys::{KeyRecord, KeyStore, NewKey};

use super::output;
use super::time::{self, Moment, now_ms};
use super::{CliError, Place};

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key. Its secret is shown this once; only its SHA-256 is kept.
    Create(Create),
    /// List keys, without their secrets.
    List(List),
    /// Revoke a key; it stops working within a second.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What the key is called in policies, budgets and reports.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Who answers for it; also its name unless --name is given.
    #[arg(long, value_name = "WHO", required_unless_present = "name")]
    owner: Option<String>,
    /// Team its spend is booked on.
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// A tag put on each of its requests, as name=value; may be given several times.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = pair)]
    tags: Vec<(String, String)>,
    /// A model it may use; may be given several times. None given: all.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// When it stops working: a date, a time, or a span from now such as 30d.
    #[arg(long, value_name = "WHEN", value_parser = time::future)]
    expires: Option<Moment>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Id or name of the key.
    key: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// A key just made, with the one showing of its secret.
#[derive(Serialize)]
struct Made<'k> {
    #[serde(flatten)]
    key: &'k KeyRecord,
    secret: &'k str,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not name=value")),
    }
}

impl Keys {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Keys::Create(command) => command.run(),
            Keys::List(command) => command.run(),
            Keys::Revoke(command) => command.run(),
        }
    }
}

impl Create {
    fn run(self) -> Result<ExitCode, CliError> {
        let mut store = KeyStore::open(&self.place.ledger()?)?;
        let new = NewKey {
            name: self.name.or_else(|| self.owner.clone()).unwrap_or_default(),
            owner: self.owner,
            team: self.team,
            tags: self.tags.into_iter().collect(),
            models: (!self.models.is_empty()).then_some(self.models),
            expires_at_ms: self.expires.map(|at| at.0),
        };
        let (key, secret) = store.create(new, now_ms())?;
        if self.json {
            output::json(&Made { key: &key, secret: secret.reveal() })?;
        } else {
            output::line(&format!("{} ({}) was made. Its secret, shown this once:\n", key.name, key.id))?;
            output::line(&format!("    {}\n", secret.reveal()))?;
            output::line("Send it as `Authorization: Bearer …` or `x-api-key`.")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(self) -> Result<ExitCode, CliError> {
        let keys: Vec<KeyRecord> =
            KeyStore::read(&self.place.ledger()?)?.list()?.into_iter().map(|(_, key)| key).collect();
        if self.json {
            output::json(&keys)?;
        } else if keys.is_empty() {
            output::line("There are no keys: whoever reaches a loopback address may call.")?;
        } else {
            let rows = keys.iter().map(row).collect();
            let head = ["id", "name", "owner", "team", "tags", "models", "made", "state"];
            output::line(&output::table(&head, head.len(), rows).to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(key: &KeyRecord) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let tags: Vec<String> = key.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let state = match (key.revoked_at_ms, key.expires_at_ms) {
        (Some(at), _) => format!("revoked {}", time::shown(at)),
        (None, Some(at)) if at < now_ms() => format!("expired {}", time::shown(at)),
        (None, Some(at)) => format!("until {}", time::shown(at)),
        (None, None) => "live".to_owned(),
    };
    let models = key.models.as_ref().map_or_else(|| "all".to_owned(), |models| models.join(" "));
    let made = time::shown(key.created_at_ms);
    vec![
        key.id.clone(),
        key.name.clone(),
        text(&key.owner),
        text(&key.team),
        tags.join(" "),
        models,
        made,
        state,
    ]
}

impl Revoke {
    fn run(self) -> Result<ExitCode, CliError> {
        let path = self.place.ledger()?;
        // Opening for writing would make a ledger where there is none.
        KeyStore::read(&path)?;
        let key = KeyStore::open(&path)?.revoke(&self.key, now_ms())?;
        if self.json {
            output::json(&key)?;
        } else {
            output::line(&format!("{} ({}) is revoked.", key.name, key.id))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
