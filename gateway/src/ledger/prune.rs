//! Forgetting: receipts give up who asked and what was decided, and keep what was spent.
//!
//! A pruned receipt's body becomes a [`Tombstone`]. Its hash stays, so the chain goes on after it, and so do its tokens and its
//! costs, so that sums and reports by model, engine, team, route or time stay true. What forgotten runs and keys spent moves, receipt
//! by receipt, to windows of other names. A gateway may be running. A receipt that cannot be read is damage to be told of and no
//! reason to keep the others: it stays as it is, since a tombstone would hide that.

use std::collections::{HashMap, HashSet};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use tollgate_policies::{Usd, run_of};

use super::batch::signed;
use super::error::LedgerError;
use super::location::Location;
use super::open;
use super::record::{Account, Receipt};
use super::{requests, stretch};

mod pruned;

pub use pruned::Pruned;

/// Receipts in one transaction, so that a running gateway's commits do not wait for long.
pub(super) const STEP: i64 = 256;

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

/// Forgets receipts. Those that come in meanwhile are not looked at.
///
/// # Errors
/// [`LedgerError`]; [`LedgerError::LiveKey`] for a key that still works, whose budgets would begin anew.
pub fn prune(location: &Location, forget: &Forget, now_ms: u64) -> Result<Pruned, LedgerError> {
    let path = match location {
        Location::Server(url) => return super::postgres::prune(url, forget, now_ms),
        Location::File(path) => path,
    };
    prune_file(&mut open::writable(path)?, forget, now_ms).map_err(|error| error.at(path))
}

fn prune_file(db: &mut Connection, forget: &Forget, now_ms: u64) -> Result<Pruned, LedgerError> {
    let (condition, value, key) = match forget {
        Forget::Before(at_ms) => ("at_ms < ?1", Value::from(signed(*at_ms)), None),
        Forget::Run(run) => ("run IS ?1", Value::from(run.clone()), None),
        Forget::Key(key) => {
            let (id, name) = revoked(db, key)?;
            ("key IS ?1", Value::from(id), Some(name))
        }
    };
    let mut pruned = Pruned::default();
    let newest = booked(db, &mut pruned)?;
    let going_on = format!(
        "SELECT run FROM receipts WHERE run IS NOT NULL AND {condition} \
         INTERSECT SELECT run FROM receipts WHERE NOT ({condition})"
    );
    let going_on = set(db, &going_on, [&value])?;
    let mut names = Names::new(going_on, set(db, "SELECT name FROM keys WHERE revoked_ms IS NULL", [])?, key);
    let sql = format!(
        "SELECT seq, body FROM receipts NOT INDEXED WHERE {condition} AND seq > ?2 AND seq <= ?3 AND body NOT LIKE '{}%' \
         ORDER BY seq LIMIT {STEP}",
        Tombstone::PREFIX
    );
    let mut last = 0;
    loop {
        // Read before the transaction: a look through a long ledger keeps no gateway from writing.
        let found = rows(db, &sql, params![value, last, newest])?;
        let Some((seq, _)) = found.last() else { break };
        last = *seq;
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (seq, body) in &found {
            let Ok(receipt) = serde_json::from_str::<Receipt>(body) else {
                pruned.skip(*seq);
                continue;
            };
            // A run whose money is counted under its name keeps its receipts until the last of them is old.
            let waits = matches!(forget, Forget::Before(_)) && names.is_counted_on(&receipt);
            pruned.receipts += u64::from(!waits && bury(&step, (*seq, body), receipt, &mut names, now_ms)?);
        }
        step.commit()?;
    }
    Ok(pruned)
}

/// The last receipt that may be looked at: what is moved from one sum to another must be in it. Where one that is not in the sums yet
/// cannot be read, that is the last that is: only a gateway that runs knows what it comes to, and will write that.
fn booked(db: &mut Connection, pruned: &mut Pruned) -> Result<i64, LedgerError> {
    let damaged = stretch::damaged(db)?;
    if damaged.is_empty() {
        stretch::book(db)?;
        return Ok(db.query_row("SELECT coalesce(max(seq), 0) FROM receipts", [], |row| row.get(0))?);
    }
    damaged.into_iter().for_each(|seq| pruned.skip(seq));
    let last = stretch::last(db)?;
    pruned.until = Some(last);
    Ok(last)
}

fn rows(
    db: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<(i64, String)>, LedgerError> {
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn set(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<HashSet<String>, LedgerError> {
    let mut query = db.prepare(sql)?;
    let names = query.query_map(values, |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Replaces a receipt by its tombstone; false if another pruning was faster.
fn bury(
    step: &Transaction<'_>,
    (seq, body): (i64, &str),
    receipt: Receipt,
    names: &mut Names,
    now_ms: u64,
) -> Result<bool, LedgerError> {
    let accounts: Vec<Account> =
        receipt.accounts.iter().map(|account| names.other(account, &receipt)).collect();
    let moved: Vec<(Account, Account)> =
        receipt.accounts.into_iter().zip(accounts.iter().cloned()).filter(|(old, new)| old != new).collect();
    let stone = Tombstone { pruned_at_ms: now_ms, cost: receipt.cost, accounts };
    let buried = step
        .prepare_cached(
            "UPDATE receipts SET request_id = 'pruned-' || seq, key = NULL, run = NULL, tags = '{}', body = ?3 \
             WHERE seq = ?1 AND body = ?2",
        )?
        .execute(params![seq, body, serde_json::to_string(&stone)?])?;
    if buried == 0 {
        return Ok(false);
    }
    requests::forget(step, seq, &receipt.request_id)?;
    step.prepare_cached("DELETE FROM outcomes WHERE request_id = ?1")?.execute([&receipt.request_id])?;
    step.prepare_cached("DELETE FROM contents WHERE request_id = ?1")?.execute([&receipt.request_id])?;
    for (old, new) in &moved {
        move_money(step, old, new, receipt.cost)?;
    }
    Ok(true)
}

/// From now on this much of one window is counted in another. A window that nothing is left in goes at once: however this ends, no
/// name stays whose receipts are gone.
fn move_money(step: &Transaction<'_>, old: &Account, new: &Account, cost: Usd) -> Result<(), LedgerError> {
    let Account { budget, subject, window_start_ms } = old;
    let (start, nanos) = (signed(*window_start_ms), cost.nanos());
    step.prepare_cached(
        "INSERT INTO windows (budget, subject, window_start_ms, settled_nanos, updated_ms) \
         SELECT budget, ?4, window_start_ms, ?5, updated_ms FROM windows \
         WHERE budget = ?1 AND subject = ?2 AND window_start_ms = ?3 \
         ON CONFLICT DO UPDATE SET settled_nanos = settled_nanos + min(excluded.settled_nanos, 9223372036854775807 - settled_nanos)",
    )?
    .execute(params![budget, subject, start, new.subject, nanos])?;
    step.prepare_cached(
        "UPDATE windows SET settled_nanos = settled_nanos - ?4 WHERE budget = ?1 AND subject = ?2 AND window_start_ms = ?3",
    )?
    .execute(params![budget, subject, start, nanos])?;
    step.prepare_cached(
        "DELETE FROM windows WHERE budget = ?1 AND subject = ?2 AND window_start_ms = ?3 AND settled_nanos = 0",
    )?
    .execute(params![budget, subject, start])?;
    Ok(())
}

/// Whose names are forgotten, and what they spent is counted under instead.
pub(super) struct Names {
    /// Runs with receipts that stay.
    going_on: HashSet<String>,
    /// A key that works counts under its name, which may be that of a run or of a key before it.
    keys: HashSet<String>,
    /// The key that is forgotten.
    key: Option<String>,
    others: HashMap<Account, Account>,
}

impl Names {
    pub(super) fn new(going_on: HashSet<String>, keys: HashSet<String>, key: Option<String>) -> Names {
        Names { going_on, keys, key, others: HashMap::new() }
    }

    /// Whether it is of a run that goes on, and that a budget counts.
    pub(super) fn is_counted_on(&self, receipt: &Receipt) -> bool {
        receipt.run.as_ref().is_some_and(|run| {
            self.going_on.contains(run)
                && receipt.accounts.iter().any(|account| run_of(&account.subject).1 == run)
        })
    }

    /// Where a forgotten receipt's money is counted. Only what is surely the run's or the key's own is moved: a name may be that of a
    /// team or a tag's value as well.
    pub(super) fn other(&mut self, account: &Account, receipt: &Receipt) -> Account {
        let subject = &account.subject;
        let (key, run) = run_of(subject);
        let is_run = receipt.run.as_deref() == Some(run);
        let ended = is_run && !self.going_on.contains(run);
        // A key's own run is forgotten with it, though others have runs of that id.
        let of_key = |name: &str| self.key.as_deref() == Some(name);
        let forgotten = ended || of_key(subject) || (is_run && key.is_some_and(of_key));
        let shared = receipt.team.as_ref() == Some(subject)
            || receipt.tags.values().any(|value| value == subject)
            || self.keys.contains(subject)
            || (self.key.is_some() && key.is_some_and(|key| self.keys.contains(key)));
        if !forgotten || shared {
            return account.clone();
        }
        let other =
            || Account { subject: format!("pruned-{:016x}", rand::random::<u64>()), ..account.clone() };
        self.others.entry(account.clone()).or_insert_with(other).clone()
    }
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

#[cfg(test)]
mod tests;
