//! A ledger opened for reading: reports, verification, export. A gateway may be writing meanwhile; each question
//! sees the ledger as of one moment.

use std::io::Write;
use std::path::PathBuf;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::value::RawValue;

use super::batch::signed;
use super::chain::Link;
use super::error::LedgerError;
use super::location::Location;
use super::open;
use super::postgres::ServerReader;
use super::prune::Tombstone;
use super::record::Receipt;
use super::stretch::SPAN;

/// A ledger opened for reading.
pub struct Reader {
    location: Location,
    database: Database,
}

/// What a ledger is read from.
pub(super) enum Database {
    /// A file.
    File(Connection),
    /// A server.
    Server(ServerReader),
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("location", &self.location).finish_non_exhaustive()
    }
}

/// One line of an export. `receipt` is byte for byte what was hashed.
#[derive(Debug, Serialize)]
struct Exported<'r> {
    seq: i64,
    hash: String,
    receipt: &'r RawValue,
}

impl Reader {
    /// Opens the ledger.
    ///
    /// # Errors
    /// [`LedgerError`] naming the file and the way out.
    pub fn open(location: &Location) -> Result<Reader, LedgerError> {
        let database = match location {
            Location::File(path) => Database::File(open::readable(path)?),
            Location::Server(url) => Database::Server(ServerReader::open(url)?),
        };
        Ok(Reader { location: location.clone(), database })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// An error as what it means for this ledger.
    pub(super) fn explained(&self, error: LedgerError) -> LedgerError {
        match &self.location {
            Location::File(path) => error.at(path),
            Location::Server(_) => error,
        }
    }

    /// Calls `each` with every receipt of a time, in order, that is not pruned: its number, its canonical text, its link of the chain.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read, or the first error `each` returns.
    pub fn each_receipt(
        &self,
        since_ms: Option<u64>,
        until_ms: Option<u64>,
        mut each: impl FnMut(i64, &str, Link) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let db = match &self.database {
            Database::Server(server) => return server.each_receipt(since_ms, until_ms, &mut each),
            Database::File(db) => db,
        };
        let mut query = db.prepare(&format!(
            "SELECT seq, body, hash FROM receipts WHERE {SPAN} AND body NOT LIKE '{}%' ORDER BY seq",
            Tombstone::PREFIX
        ))?;
        let mut rows = query.query([signed(since_ms.unwrap_or(0)), signed(until_ms.unwrap_or(u64::MAX))])?;
        while let Some(row) = rows.next()? {
            let link = Link::from_slice(row.get_ref(2)?.as_blob().unwrap_or_default()).unwrap_or(Link::START);
            each(row.get(0)?, row.get_ref(1)?.as_str().unwrap_or_default(), link)?;
        }
        Ok(())
    }

    /// Writes receipts as JSON lines `{"seq", "hash", "receipt"}`.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read or `out` not written.
    pub fn export_json(&self, since_ms: Option<u64>, out: &mut dyn Write) -> Result<(), LedgerError> {
        self.each_receipt(since_ms, None, |seq, body, link| {
            let receipt: &RawValue = serde_json::from_str(body)?;
            let line = serde_json::to_string(&Exported { seq, hash: link.to_string(), receipt })?;
            writeln!(out, "{line}").map_err(|source| self.output(source))
        })?;
        out.flush().map_err(|source| self.output(source))
    }

    /// Writes receipts as CSV, a header first; tags are JSON in one cell.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read or `out` not written.
    pub fn export_csv(&self, since_ms: Option<u64>, out: &mut dyn Write) -> Result<(), LedgerError> {
        let mut table = csv::Writer::from_writer(out);
        let failed = |error: csv::Error| self.output(std::io::Error::other(error));
        table.write_record(CSV_HEADER).map_err(failed)?;
        self.each_receipt(since_ms, None, |seq, body, link| {
            let receipt: Receipt = serde_json::from_str(body)?;
            table.write_record(cells(seq, &receipt, link)?).map_err(failed)
        })?;
        table.flush().map_err(|source| self.output(source))
    }

    pub(super) fn output(&self, source: std::io::Error) -> LedgerError {
        LedgerError::Io { path: PathBuf::from("output"), source }
    }
}

const CSV_HEADER: [&str; 33] = [
    "seq",
    "request_id",
    "at_ms",
    "key",
    "team",
    "run",
    "tags",
    "policy",
    "policy_sha",
    "price_version",
    "route",
    "domain",
    "difficulty",
    "propensity",
    "selected",
    "model",
    "engine",
    "status",
    "http_status",
    "stream",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "usage_estimated",
    "estimate_usd",
    "held_usd",
    "cost_usd",
    "baseline_usd",
    "saved_usd",
    "overhead_us",
    "total_ms",
    "hash",
];

fn cells(seq: i64, receipt: &Receipt, link: Link) -> Result<[String; 33], LedgerError> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Ok([
        seq.to_string(),
        receipt.request_id.clone(),
        receipt.at_ms.to_string(),
        text(&receipt.key),
        text(&receipt.team),
        text(&receipt.run),
        serde_json::to_string(&receipt.tags)?,
        receipt.policy_name.clone(),
        receipt.policy_sha.clone(),
        receipt.price_version.clone(),
        receipt.route.clone(),
        receipt.domain.clone(),
        receipt.difficulty.map(|value| value.to_string()).unwrap_or_default(),
        receipt.propensity.to_string(),
        receipt.selected.clone(),
        receipt.model.clone(),
        receipt.engine.clone(),
        receipt.status.as_str().to_owned(),
        receipt.http_status.to_string(),
        receipt.stream.to_string(),
        receipt.usage.prompt_tokens.to_string(),
        receipt.usage.cached_tokens.to_string(),
        receipt.usage.completion_tokens.to_string(),
        receipt.usage.reasoning_tokens.to_string(),
        receipt.usage_estimated.to_string(),
        receipt.estimate.to_string(),
        receipt.held.to_string(),
        receipt.cost.to_string(),
        receipt.baseline_cost.to_string(),
        receipt.saved.to_string(),
        receipt.timings.overhead_us.to_string(),
        receipt.timings.total_ms.to_string(),
        link.to_string(),
    ])
}
