//! What the router learns from: judged answers, and the abilities that were put in force because of them.
//!
//! These rows are not money: they are outside of the receipts' chain, and a verdict that is given again replaces the
//! one before.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tollgate_router::{Abilities, Choice, RouterId};

use super::batch::signed;
use super::error::LedgerError;
use super::reader::{Database, Reader};
use super::record::Receipt;
use super::requests;

/// Who judged an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `POST /v1/feedback`.
    Feedback,
    /// The baseline was asked too, and the answers were compared.
    Shadow,
    /// The same, and another model judged them.
    Judge,
}

impl Source {
    /// Reads the word in the ledger.
    pub(super) fn read(word: &str) -> Source {
        match word {
            "feedback" => Source::Feedback,
            "judge" => Source::Judge,
            _ => Source::Shadow,
        }
    }

    /// The word in the ledger and on metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Feedback => "feedback",
            Source::Shadow => "shadow",
            Source::Judge => "judge",
        }
    }
}

/// One answer, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The request answered.
    pub request_id: String,
    /// When it was judged, Unix milliseconds.
    pub at_ms: u64,
    /// The policy that had decided.
    pub policy: String,
    /// The model whose answer it is.
    pub model: String,
    /// Who judged.
    pub source: Source,
    /// The verdict.
    pub good: bool,
    /// Probability that this model's answer came to be judged, for a request that is judged, or one that was drawn to be asked twice.
    pub propensity: f64,
    /// What was decided and what could have been; `None` where the policy does not learn.
    pub choice: Option<Choice>,
}

/// Abilities that were put in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The router that they were learned under: under another they say nothing.
    pub router: RouterId,
    /// The abilities configured then: where they have been changed since, the change counts.
    pub configured: Abilities,
    /// What is in force instead.
    pub abilities: Abilities,
    /// The trial that they won, as JSON.
    pub trial: String,
}

/// Judged answers by policy, model, source and verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// The model.
    pub model: String,
    /// Answers judged good, by who judged them.
    pub good: BTreeMap<String, u64>,
    /// Answers judged bad.
    pub bad: BTreeMap<String, u64>,
}

/// Writes a verdict in the place of an earlier one by the same judge.
pub(super) fn insert(step: &Connection, judged: &Judged) -> Result<(), LedgerError> {
    let choice = judged.choice.as_ref().map(serde_json::to_string).transpose()?;
    step.prepare_cached(
        "INSERT OR REPLACE INTO outcomes (request_id, at_ms, policy, model, source, good, propensity, choice) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        judged.request_id,
        signed(judged.at_ms),
        judged.policy,
        judged.model,
        judged.source.as_str(),
        judged.good,
        judged.propensity,
        choice,
    ])?;
    Ok(())
}

/// Puts a promotion on record.
pub(super) fn promote(step: &Connection, promotion: &Promotion) -> Result<(), LedgerError> {
    step.prepare_cached(
        "INSERT INTO promotions (at_ms, configured, abilities, trial, router) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        signed(promotion.at_ms),
        serde_json::to_string(&promotion.configured)?,
        serde_json::to_string(&promotion.abilities)?,
        promotion.trial,
        promotion.router.to_string(),
    ])?;
    Ok(())
}

impl Reader {
    /// A request's receipt.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn receipt(&self, request_id: &str) -> Result<Option<Receipt>, LedgerError> {
        let db = match self.database() {
            Database::Server(server) => return server.receipt(request_id),
            Database::File(db) => db,
        };
        let body: Option<String> =
            db.prepare_cached(requests::BODY)?.query_row([request_id], |row| row.get(0)).optional()?;
        Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
    }

    /// The newest judged answers, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn judged(&self, newest: usize) -> Result<Vec<Judged>, LedgerError> {
        let db = match self.database() {
            Database::Server(server) => return server.judged(newest),
            Database::File(db) => db,
        };
        if !has(db, "outcomes")? {
            return Ok(Vec::new());
        }
        let mut query = db.prepare(
            "SELECT request_id, at_ms, policy, model, source, good, propensity, choice FROM outcomes \
             ORDER BY seq DESC LIMIT ?1",
        )?;
        let mut rows = query.query([signed(newest as u64)])?;
        let mut judged = Vec::new();
        while let Some(row) = rows.next()? {
            let choice: Option<String> = row.get(7)?;
            judged.push(Judged {
                request_id: row.get(0)?,
                at_ms: row.get::<_, i64>(1)?.unsigned_abs(),
                policy: row.get(2)?,
                model: row.get(3)?,
                source: Source::read(&row.get::<_, String>(4)?),
                good: row.get(5)?,
                propensity: row.get(6)?,
                choice: choice.map(|choice| serde_json::from_str(&choice)).transpose()?,
            });
        }
        judged.reverse();
        Ok(judged)
    }

    /// Counts of judged answers, by model.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn tallies(&self) -> Result<Vec<Tally>, LedgerError> {
        let db = match self.database() {
            Database::Server(server) => return server.tallies(),
            Database::File(db) => db,
        };
        if !has(db, "outcomes")? {
            return Ok(Vec::new());
        }
        let mut query =
            db.prepare("SELECT model, source, good, count(*) FROM outcomes GROUP BY 1, 2, 3 ORDER BY 1")?;
        let mut rows = query.query([])?;
        let mut tallies: Vec<Tally> = Vec::new();
        while let Some(row) = rows.next()? {
            let (model, source, good): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if tallies.last().is_none_or(|tally| tally.model != model) {
                tallies.push(Tally { model, good: BTreeMap::new(), bad: BTreeMap::new() });
            }
            if let Some(tally) = tallies.last_mut() {
                let side = if good { &mut tally.good } else { &mut tally.bad };
                side.insert(source, row.get::<_, i64>(3)?.unsigned_abs());
            }
        }
        Ok(tallies)
    }

    /// The newest promotion of abilities that were learned under this router.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn promotion(&self, router: RouterId) -> Result<Option<Promotion>, LedgerError> {
        let db = match self.database() {
            Database::Server(server) => return server.promotion(router),
            Database::File(db) => db,
        };
        let row = db
            .query_row(
                "SELECT at_ms, configured, abilities, trial FROM promotions WHERE router = ?1 ORDER BY id DESC LIMIT 1",
                [router.to_string()],
                |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, String>(1)?,
                        row.get::<_, String>(2)?,
                        row.get(3)?,
                    ))
                },
            )
            .optional()?;
        let Some((at_ms, configured, abilities, trial)) = row else { return Ok(None) };
        Ok(Some(Promotion {
            at_ms: at_ms.unsigned_abs(),
            router,
            configured: serde_json::from_str(&configured)?,
            abilities: serde_json::from_str(&abilities)?,
            trial,
        }))
    }

    /// How many promotions were learned under other routers, or under nobody knows which.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn promotions_besides(&self, router: RouterId) -> Result<u64, LedgerError> {
        let db = match self.database() {
            Database::Server(server) => return server.promotions_besides(router),
            Database::File(db) => db,
        };
        let sql = "SELECT count(*) FROM promotions WHERE router IS NOT ?1";
        let count: i64 = db.query_row(sql, [router.to_string()], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}

/// Whether the file has a table yet: one of an older release that no gateway has opened since has not.
fn has(db: &Connection, table: &str) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) > 0 FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
}

#[cfg(test)]
mod tests;
