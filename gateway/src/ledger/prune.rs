//! Forgetting: receipts give up who asked and what was decided, and keep what was spent.
//!
//! A pruned receipt's body becomes a [`Tombstone`]. Its hash stays, so the chain goes on after it, and so do its tokens and its
//! costs, so that sums and reports by model, engine, team, route or time stay true. Runs and keys that are forgotten get other
//! names in the windows they were counted in. A gateway may be running.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use tollgate_policies::Usd;

use super::batch::signed;
use super::error::LedgerError;
use super::location::Location;
use super::open;
use super::record::{Account, Receipt};

/// Receipts in one transaction, so that a running gateway's commits do not wait for long.
const STEP: i64 = 256;

/// Which receipts are forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forget {
    /// Those older than this moment, Unix milliseconds.
    Before(u64),
    /// Those of an agent run.
    Run(String),
    /// Those made with a revoked key, by its id or name.
    Key(String),
}

/// What stays of a receipt in its body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    /// When it was forgotten, Unix milliseconds.
    pub(super) pruned_at_ms: u64,
    /// What was charged.
    pub(super) cost: Usd,
    /// Where.
    pub(super) accounts: Vec<Account>,
}

impl Tombstone {
    /// How its text begins, by which SQL tells it from a receipt's.
    pub(super) const PREFIX: &'static str = "{\"pruned_at_ms\":";

    /// Reads a body, if it is one.
    pub(super) fn read(body: &str) -> Option<Tombstone> {
        body.starts_with(Self::PREFIX).then(|| serde_json::from_str(body).ok()).flatten()
    }
}

/// Forgets receipts; returns how many.
///
/// # Errors
/// [`LedgerError`]; [`LedgerError::LiveKey`] for a key that still works, whose budgets would begin anew.
pub fn prune(location: &Location, forget: &Forget, now_ms: u64) -> Result<u64, LedgerError> {
    let path = location.file()?;
    let mut db = open::writable(path)?;
    let (column, value, name) = match forget {
        Forget::Before(at_ms) => return prune_old(&mut db, *at_ms, now_ms).map_err(|error| error.at(path)),
        Forget::Run(run) => ("run", run.clone(), run.clone()),
        Forget::Key(key) => {
            let (id, name) = revoked(&db, key)?;
            ("key", id, name)
        }
    };
    let mut pruned = 0;
    loop {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = format!("SELECT seq, body FROM receipts WHERE {column} = ?1 LIMIT {STEP}");
        let found = rows(&step, &sql, params![value])?;
        for (seq, body) in &found {
            bury(&step, *seq, body, now_ms)?;
        }
        pruned += found.len() as u64;
        if found.is_empty() {
            rename(&step, &name)?;
            step.commit()?;
            return Ok(pruned);
        }
        step.commit()?;
    }
}

fn prune_old(db: &mut Connection, before_ms: u64, now_ms: u64) -> Result<u64, LedgerError> {
    let mut pruned = 0;
    loop {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = format!(
            "SELECT seq, body FROM receipts WHERE at_ms < ?1 AND body NOT LIKE '{}%' LIMIT {STEP}",
            Tombstone::PREFIX
        );
        let found = rows(&step, &sql, params![signed(before_ms)])?;
        let mut runs = Vec::new();
        for (seq, body) in &found {
            runs.extend(bury(&step, *seq, body, now_ms)?);
        }
        runs.sort_unstable();
        runs.dedup();
        for run in runs {
            // A run that goes on keeps its name, for its money is counted under it.
            let goes_on: bool =
                step.query_row("SELECT count(*) > 0 FROM receipts WHERE run = ?1", [&run], |row| row.get(0))?;
            if !goes_on {
                rename(&step, &run)?;
            }
        }
        step.commit()?;
        pruned += found.len() as u64;
        if found.is_empty() {
            return Ok(pruned);
        }
    }
}

fn rows(
    step: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<(i64, String)>, LedgerError> {
    let mut query = step.prepare_cached(sql)?;
    let rows = query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Replaces a receipt by its tombstone; returns its run.
fn bury(step: &Transaction<'_>, seq: i64, body: &str, now_ms: u64) -> Result<Option<String>, LedgerError> {
    let receipt: Receipt = serde_json::from_str(body)?;
    let stone = Tombstone { pruned_at_ms: now_ms, cost: receipt.cost, accounts: receipt.accounts };
    step.prepare_cached(
        "UPDATE receipts SET request_id = 'pruned-' || seq, key = NULL, run = NULL, tags = '{}', body = ?2 WHERE seq = ?1",
    )?
    .execute(params![seq, serde_json::to_string(&stone)?])?;
    step.prepare_cached("DELETE FROM outcomes WHERE request_id = ?1")?.execute([&receipt.request_id])?;
    Ok(receipt.run)
}

/// Gives what was counted under this name another one, in windows and tombstones alike.
fn rename(step: &Transaction<'_>, subject: &str) -> Result<(), LedgerError> {
    let windows: i64 =
        step.query_row("SELECT count(*) FROM windows WHERE subject = ?1", [subject], |row| row.get(0))?;
    if windows == 0 {
        return Ok(());
    }
    let other = format!("pruned-{:016x}", rand::random::<u64>());
    step.execute("UPDATE windows SET subject = ?2 WHERE subject = ?1", [subject, &other])?;
    let quoted = serde_json::to_string(subject)?;
    let sql = format!(
        "SELECT seq, body FROM receipts WHERE body LIKE '{}%' AND instr(body, ?1) > 0",
        Tombstone::PREFIX
    );
    for (seq, body) in rows(step, &sql, [&quoted])? {
        let Some(mut stone) = Tombstone::read(&body) else { continue };
        for account in stone.accounts.iter_mut().filter(|account| account.subject == subject) {
            account.subject.clone_from(&other);
        }
        step.execute(
            "UPDATE receipts SET body = ?2 WHERE seq = ?1",
            params![seq, serde_json::to_string(&stone)?],
        )?;
    }
    Ok(())
}

/// The id and the name of a key that no longer works.
fn revoked(db: &Connection, key: &str) -> Result<(String, String), LedgerError> {
    let row: Option<(String, String, bool)> = db
        .query_row(
            "SELECT id, name, revoked_ms IS NULL FROM keys WHERE id = ?1 OR name = ?1 ORDER BY revoked_ms IS NULL DESC LIMIT 1",
            [key],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    match row {
        None => Err(LedgerError::NoSuchKey { key: key.to_owned() }),
        Some((_, _, true)) => Err(LedgerError::LiveKey { key: key.to_owned() }),
        Some((id, name, false)) => Ok((id, name)),
    }
}
