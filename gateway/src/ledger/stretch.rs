//! The budget windows' sums, where in the ledger a time is, and which request a receipt is of: written once for a stretch of receipts.
//!
//! Written with each commit they are three pages of the log more, where the receipt itself takes one or two. So what the
//! receipts after the last stretch come to is in memory alone; after a crash the receipts say it. Invariant: `windows` has the
//! sums of all receipts up to the last stretch's end and of none after it, `requests` their requests, and a stretch's
//! receipts are no newer and no older than it says. What a writer has written itself it never reads again, so that no damage to
//! the file keeps it from going on.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, TransactionBehavior, params};
use serde::Deserialize;
use tollgate_policies::Usd;

use super::batch::signed;
use super::error::LedgerError;
use super::record::{Account, Receipt};
use super::requests;

/// Receipts in a stretch, at least: what a start has to read again, and a look for a time reads in vain.
const STRETCH: u32 = 1024;

/// Which receipts are of `?1`, Unix milliseconds, or later, and of before `?2`. What it says of `seq` is all that keeps it from reading
/// the whole ledger: receipts lie in the order of their ends, which is nearly that of their times.
pub(super) const SPAN: &str = "at_ms >= ?1 AND at_ms < ?2 \
    AND seq > (SELECT coalesce(max(last), 0) FROM stretches WHERE last < \
        (SELECT coalesce(min(last), 9223372036854775807) FROM stretches WHERE latest_ms >= ?1)) \
    AND seq <= iif((SELECT min(at_ms) < ?2 FROM receipts WHERE seq > (SELECT coalesce(max(last), 0) FROM stretches)), \
        9223372036854775807, (SELECT coalesce(max(last), 0) FROM stretches WHERE earliest_ms < ?2))";

// Saturating: what does not fit would be a float, which the column refuses, and nothing could be written any more.
const ADD_TO_WINDOW: &str = "INSERT INTO windows (budget, subject, window_start_ms, settled_nanos, updated_ms) \
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET \
    settled_nanos = settled_nanos + min(excluded.settled_nanos, 9223372036854775807 - settled_nanos), \
    updated_ms = max(updated_ms, excluded.updated_ms)";

const END_STRETCH: &str = "INSERT INTO stretches (last, earliest_ms, latest_ms) SELECT * FROM \
    (SELECT max(seq) AS last, min(at_ms), max(at_ms) FROM receipts WHERE seq > ?1) WHERE last NOT NULL";

/// What accounts were charged, and when last.
#[derive(Debug, Default)]
pub(crate) struct Spent(HashMap<Account, (Usd, u64)>);

impl Spent {
    /// Saturating: an absurd amount must not keep its neighbours from being written, and `ledger verify` sees it.
    fn charge(&mut self, account: &Account, amount: Usd, at_ms: u64) {
        let (sum, latest) = match self.0.get_mut(account) {
            Some(known) => known,
            None => self.0.entry(account.clone()).or_default(),
        };
        *sum = sum.saturating_add(amount);
        *latest = at_ms.max(*latest);
    }

    /// Each account's sum.
    pub(super) fn sums(self) -> impl Iterator<Item = (Account, Usd)> {
        self.0.into_iter().map(|(account, (sum, _))| (account, sum))
    }
}

/// What one receipt comes to.
#[derive(Debug)]
struct Charge {
    seq: i64,
    at_ms: u64,
    cost: Usd,
    accounts: Vec<Account>,
}

/// What the file does not have yet, as its writer knows it.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Of its receipts, in their order.
    charges: Vec<Charge>,
    /// The requests that have a receipt in it.
    requests: HashSet<String>,
    /// The greatest that `requests` had when it began: requests' ids begin with the time, so most need not be looked for.
    greatest: String,
}

impl Stretch {
    /// Begins a stretch after the last receipt that `db` has.
    pub(crate) fn start(db: &mut Connection) -> Result<Stretch, LedgerError> {
        book(db)?;
        Ok(Stretch::after(requests::greatest(db)?))
    }

    fn after(greatest: String) -> Stretch {
        Stretch { charges: Vec::new(), requests: HashSet::new(), greatest }
    }

    /// Whether a request has a receipt.
    pub(crate) fn has(&self, step: &Connection, request_id: &str) -> rusqlite::Result<bool> {
        Ok(self.requests.contains(request_id)
            || (request_id <= self.greatest.as_str() && requests::has(step, request_id)?))
    }

    /// Whether the stretch is long enough to end with the receipts that the open transaction has `written`; then what it comes to
    /// is written too.
    pub(crate) fn count(
        &self,
        step: &Connection,
        written: &[(i64, &Receipt)],
    ) -> Result<Counted, LedgerError> {
        if self.requests.len() + written.len() < STRETCH as usize {
            return Ok(Counted::On);
        }
        self.end(step, written)?;
        Ok(Counted::Ended(requests::greatest(step)?))
    }

    /// Ends the stretch however short it is: nothing more will be written.
    pub(crate) fn close(self, db: &mut Connection) -> rusqlite::Result<()> {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.end(&step, &[])?;
        step.commit()
    }

    fn end(&self, step: &Connection, written: &[(i64, &Receipt)]) -> rusqlite::Result<()> {
        // Later than where this one began, if another process has ended a stretch to prune: that has what came before.
        let after = last(step)?;
        let mut spent = Spent::default();
        for charge in self.charges.iter().filter(|charge| charge.seq > after) {
            charge.accounts.iter().for_each(|account| spent.charge(account, charge.cost, charge.at_ms));
        }
        for (_, receipt) in written {
            receipt.accounts.iter().for_each(|account| spent.charge(account, receipt.cost, receipt.at_ms));
        }
        end(step, after, &spent)
    }

    /// Takes over what was `written`, now that it is committed.
    pub(crate) fn take(&mut self, counted: Counted, written: &[(i64, &Receipt)]) {
        match counted {
            Counted::Ended(greatest) => *self = Stretch::after(greatest),
            Counted::On => {
                for &(seq, receipt) in written {
                    let Receipt { at_ms, cost, .. } = *receipt;
                    self.charges.push(Charge { seq, at_ms, cost, accounts: receipt.accounts.clone() });
                    self.requests.insert(receipt.request_id.clone());
                }
            }
        }
    }
}

/// What a batch does to the stretch.
#[derive(Debug)]
pub(crate) enum Counted {
    /// The stretch goes on.
    On,
    /// It ended, and this is the greatest of all requests.
    Ended(String),
}

/// Ends the stretch that goes on, so that `windows` has the sums of all receipts.
pub(crate) fn book(db: &mut Connection) -> Result<(), LedgerError> {
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    end(&step, last(&step)?, &unbooked(&step, refuse)?)?;
    Ok(step.commit()?)
}

/// A receipt that does not say what it was charged to would be missing from the budgets: they could be spent again.
fn refuse(seq: i64, error: serde_json::Error) -> Result<(), LedgerError> {
    Err(LedgerError::unreadable(format!("receipt {seq}"), error))
}

/// The receipts after the last stretch that do not say what they were charged to.
pub(super) fn damaged(db: &Connection) -> Result<Vec<i64>, LedgerError> {
    let mut damaged = Vec::new();
    unbooked(db, |seq, _| {
        damaged.push(seq);
        Ok(())
    })?;
    Ok(damaged)
}

/// What the receipts after the last stretch say they cost, those left out that `unreadable` lets pass.
pub(super) fn unbooked(
    db: &Connection,
    mut unreadable: impl FnMut(i64, serde_json::Error) -> Result<(), LedgerError>,
) -> Result<Spent, LedgerError> {
    /// Of a receipt or a tombstone.
    #[derive(Deserialize)]
    struct Costly {
        cost: Usd,
        accounts: Vec<Account>,
    }
    let mut spent = Spent::default();
    let mut query = db.prepare("SELECT body, at_ms, seq FROM receipts WHERE seq > ?1")?;
    let mut rows = query.query([last(db)?])?;
    while let Some(row) = rows.next()? {
        let at_ms = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        match serde_json::from_str(row.get_ref(0)?.as_str().unwrap_or_default()) {
            Ok(Costly { cost, accounts }) => {
                accounts.iter().for_each(|account| spent.charge(account, cost, at_ms));
            }
            Err(error) => unreadable(row.get(2)?, error)?,
        }
    }
    Ok(spent)
}

/// The last receipt of the last stretch.
pub(super) fn last(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT coalesce(max(last), 0) FROM stretches")?.query_row([], |row| row.get(0))
}

fn end(step: &Connection, after: i64, spent: &Spent) -> rusqlite::Result<()> {
    for (account, (amount, at_ms)) in &spent.0 {
        step.prepare_cached(ADD_TO_WINDOW)?.execute(params![
            account.budget,
            account.subject,
            signed(account.window_start_ms),
            amount.nanos(),
            signed(*at_ms)
        ])?;
    }
    requests::add(step, after)?;
    step.prepare_cached(END_STRETCH)?.execute([after])?;
    Ok(())
}

/// How many receipts are of this time, roughly.
pub(super) fn receipts_in(db: &Connection, since_ms: i64, until_ms: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) * ?3 FROM stretches WHERE latest_ms >= ?1 AND earliest_ms < ?2";
    db.query_row(sql, params![since_ms, until_ms, STRETCH], |row| row.get(0))
}

/// The first receipt that is newer or older than its stretch says, so that [`SPAN`] would miss it.
pub(super) fn astray(db: &Connection) -> rusqlite::Result<Option<i64>> {
    const OF: &str = "FROM stretches WHERE last >= seq ORDER BY last LIMIT 1";
    let sql = format!(
        "SELECT min(seq) FROM receipts WHERE at_ms NOT BETWEEN (SELECT earliest_ms {OF}) AND (SELECT latest_ms {OF})"
    );
    db.query_row(&sql, [], |row| row.get(0))
}

#[cfg(test)]
mod tests;
