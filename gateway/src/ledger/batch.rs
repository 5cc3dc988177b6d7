//! One transaction of the ledger's writer: holds in, receipts in, holds out, and at times window sums up.
//!
//! A hold whose receipt is in the same batch never touches the file. A batch is applied whole or not at all;
//! only a duplicate receipt is left out, and reported, without failing its neighbours.

use std::collections::{HashMap, HashSet};

use rusqlite::{CachedStatement, Connection, params};
use tollgate_policies::Usd;

use super::chain::Link;
use super::content::{self, Content};
use super::error::LedgerError;
use super::moved::Costly;
use super::outcome::{self, Judged, Promotion};
use super::record::{HoldRow, Receipt};
use super::stretch::{Counted, Stretch};

/// A change waiting to be written.
#[derive(Debug)]
pub(crate) enum Change {
    /// Money set aside, for the first time.
    Hold(Box<HoldRow>),
    /// More money set aside for the same request: the row it replaces may be in the file.
    Raise(Box<HoldRow>),
    /// A hold given back without a receipt (the call was never made).
    Drop(String),
    /// A request's end.
    Settle(End),
    /// A budget's limit from a time on.
    Limit {
        /// Budget name.
        budget: String,
        /// Its limit.
        limit: Usd,
        /// Since when, Unix milliseconds.
        from_ms: u64,
    },
    /// A verdict on an answer.
    Outcome(Box<Judged>),
    /// Abilities put in force.
    Promotion(Box<Promotion>),
}

/// A request's receipt, and whether there is a hold of it to remove.
#[derive(Debug)]
pub struct End {
    /// Whether its hold was handed to the ledger.
    pub held: bool,
    /// The receipt.
    pub receipt: Box<Receipt>,
    /// What was asked and answered, where that is kept.
    pub content: Option<Box<Content>>,
}

impl End {
    /// The end of a hold that a crash left behind.
    pub(crate) fn orphan(hold: HoldRow) -> End {
        End { held: true, receipt: Box::new(Receipt::orphan(hold)), content: None }
    }
}

/// What a committed batch did.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The chain's new end.
    pub(crate) head: Link,
    /// Receipts written.
    pub(crate) receipts: u64,
    /// Indices into the batch of receipts refused as duplicates.
    pub(crate) duplicates: Vec<usize>,
    /// By how many holds the file has more.
    pub(crate) held: i64,
}

const INSERT_RECEIPT: &str = "INSERT INTO receipts (request_id, at_ms, key, team, run, tags, policy, route, \
    selected, model, engine, status, prompt_tokens, completion_tokens, cost_nanos, baseline_nanos, saved_nanos, \
    body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

// Written only where it differs from the limit last recorded, so restarts and reloads add no rows.
const RECORD_LIMIT: &str = "INSERT INTO limits (budget, limit_nanos, from_ms) SELECT ?1, ?2, ?3 WHERE ?2 IS NOT \
    (SELECT limit_nanos FROM limits WHERE budget = ?1 ORDER BY id DESC LIMIT 1)";

/// The end of the chain in the file.
pub(crate) fn head(db: &Connection) -> rusqlite::Result<Link> {
    let last = db
        .query_row("SELECT hash FROM receipts ORDER BY seq DESC LIMIT 1", [], |row| row.get::<_, Vec<u8>>(0));
    match last {
        Ok(bytes) => Ok(Link::from_slice(&bytes).unwrap_or(Link::START)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Link::START),
        Err(error) => Err(error),
    }
}

/// Applies `changes` in one transaction that continues the chain after `head`, and counts them in `stretch`.
pub(crate) fn apply(
    db: &mut Connection,
    head: Link,
    stretch: &mut Stretch,
    changes: &[Change],
) -> Result<Applied, LedgerError> {
    // Not `Connection::transaction`: it has SQLite read both words anew each time.
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut receipts = Vec::new();
    let written = write(db, head, stretch, changes, &mut receipts).and_then(|written| {
        db.prepare_cached("COMMIT")?.execute([])?;
        Ok(written)
    });
    match written {
        Ok((applied, counted)) => {
            stretch.take(counted, &receipts);
            Ok(applied)
        }
        Err(error) => {
            if !db.is_autocommit()
                && let Err(error) = db.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "what could not be written could not be taken back");
            }
            Err(error)
        }
    }
}

/// Writes `changes` in the open transaction, and puts what it wrote of receipts into `receipts`.
fn write<'c>(
    step: &Connection,
    head: Link,
    stretch: &Stretch,
    changes: &'c [Change],
    receipts: &mut Vec<(i64, &'c Receipt)>,
) -> Result<(Applied, Counted), LedgerError> {
    let mut applied = Applied { head, receipts: 0, duplicates: Vec::new(), held: 0 };
    // With whether an older row of the same request may be in the file.
    let mut new_holds: HashMap<&str, (&HoldRow, bool)> = HashMap::new();
    let mut requests: HashSet<&str> = HashSet::new();
    let mut insert = step.prepare_cached(INSERT_RECEIPT)?;
    for (index, change) in changes.iter().enumerate() {
        match change {
            Change::Hold(hold) => {
                new_holds.insert(&hold.request_id, (hold, false));
            }
            Change::Raise(hold) => {
                let in_file = new_holds.get(hold.request_id.as_str()).is_none_or(|(_, in_file)| *in_file);
                new_holds.insert(&hold.request_id, (hold, in_file));
            }
            Change::Drop(request_id) => {
                if new_holds.remove(request_id.as_str()).is_none_or(|(_, in_file)| in_file) {
                    applied.held -= delete_hold(step, request_id)?;
                }
            }
            Change::Settle(End { held, receipt, content: kept }) => {
                let request_id = receipt.request_id.as_str();
                if *held && new_holds.remove(request_id).is_none_or(|(_, in_file)| in_file) {
                    applied.held -= delete_hold(step, request_id)?;
                }
                if !requests.insert(request_id) || stretch.has(step, request_id)? {
                    applied.duplicates.push(index);
                    continue;
                }
                applied.head = insert_receipt(&mut insert, applied.head, receipt)?;
                let seq = step.last_insert_rowid();
                insert_attempts(step, seq, receipt)?;
                applied.receipts += 1;
                receipts.push((seq, receipt));
                if let Some(kept) = kept {
                    content::insert(step, kept)?;
                }
            }
            Change::Outcome(judged) => outcome::insert(step, judged)?,
            Change::Promotion(promotion) => outcome::promote(step, promotion)?,
            Change::Limit { budget, limit, from_ms } => {
                step.prepare_cached(RECORD_LIMIT)?.execute(params![
                    budget,
                    limit.nanos(),
                    signed(*from_ms)
                ])?;
            }
        }
    }
    for (hold, in_file) in new_holds.into_values() {
        insert_hold(step, hold)?;
        applied.held += i64::from(!in_file);
    }
    let counted = stretch.count(step, receipts)?;
    Ok((applied, counted))
}

fn insert_hold(step: &Connection, hold: &HoldRow) -> Result<(), LedgerError> {
    step.prepare_cached("INSERT OR REPLACE INTO holds (request_id, amount_nanos, body) VALUES (?1, ?2, ?3)")?
        .execute(params![hold.request_id, hold.amount.nanos(), serde_json::to_string(hold)?])?;
    Ok(())
}

/// Removes a hold and says whether there was one.
fn delete_hold(step: &Connection, request_id: &str) -> rusqlite::Result<i64> {
    let deleted = step.prepare_cached("DELETE FROM holds WHERE request_id = ?1")?.execute([request_id])?;
    Ok(i64::from(deleted > 0))
}

/// Writes a receipt and says its link.
fn insert_receipt(
    insert: &mut CachedStatement<'_>,
    head: Link,
    receipt: &Receipt,
) -> Result<Link, LedgerError> {
    let body = receipt.canonical()?;
    let link = head.next(body.as_bytes());
    insert.execute(params![
        receipt.request_id,
        signed(receipt.at_ms),
        receipt.key,
        receipt.team,
        receipt.run,
        serde_json::to_string(&receipt.tags)?,
        receipt.policy_name,
        receipt.route,
        receipt.selected,
        receipt.model,
        receipt.engine,
        receipt.status.as_str(),
        signed(receipt.usage.prompt_tokens),
        signed(receipt.usage.completion_tokens),
        receipt.cost.nanos(),
        receipt.baseline_cost.nanos(),
        receipt.saved.nanos(),
        body,
        link.as_bytes(),
    ])?;
    Ok(link)
}

/// What tries cost, of the receipt with this number.
fn insert_attempts(step: &Connection, seq: i64, receipt: &Receipt) -> rusqlite::Result<()> {
    for Costly { number, model, engine, cost } in Costly::of(receipt) {
        step.prepare_cached(
            "INSERT INTO attempts (receipt, number, model, engine, cost_nanos) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![seq, number, model, engine, cost.nanos()])?;
    }
    Ok(())
}

/// SQLite's integers are signed; times and token counts never come near the edge.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::schema;

    fn hold(amount: i64) -> Box<HoldRow> {
        let amount = Usd::from_nanos(amount);
        Box::new(HoldRow { request_id: "r".to_owned(), amount, ..HoldRow::default() })
    }

    fn settle(held: bool) -> Change {
        let receipt = Receipt { request_id: "r".to_owned(), ..Receipt::default() };
        Change::Settle(End { held, receipt: Box::new(receipt), content: None })
    }

    /// Amounts held in the file after these batches.
    fn held(batches: &[&[Change]]) -> Vec<i64> {
        let mut db = Connection::open_in_memory().unwrap();
        schema::migrate(&mut db).unwrap();
        let (mut head, mut stretch) = (Link::START, Stretch::start(&mut db).unwrap());
        for changes in batches {
            head = apply(&mut db, head, &mut stretch, changes).unwrap().head;
        }
        let mut query = db.prepare("SELECT amount_nanos FROM holds").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_raised_hold_replaces_the_one_before_and_ends_with_its_request() {
        let raise = || Change::Raise(hold(2));
        assert_eq!(held(&[&[Change::Hold(hold(1))], &[raise()]]), [2]);
        assert_eq!(held(&[&[Change::Hold(hold(1)), raise()]]), [2]);
        assert!(held(&[&[Change::Hold(hold(1))], &[raise(), settle(true)]]).is_empty());
        assert!(held(&[&[Change::Hold(hold(1)), raise(), settle(true)]]).is_empty());
        assert!(held(&[&[Change::Hold(hold(1))], &[raise(), Change::Drop("r".to_owned())]]).is_empty());
    }

    #[test]
    fn a_receipt_without_a_hold_is_written_alone() {
        let mut db = Connection::open_in_memory().unwrap();
        schema::migrate(&mut db).unwrap();
        let mut stretch = Stretch::start(&mut db).unwrap();
        let applied = apply(&mut db, Link::START, &mut stretch, &[settle(false)]).unwrap();
        assert_eq!((applied.receipts, applied.duplicates.len()), (1, 0));
        let again = apply(&mut db, applied.head, &mut stretch, &[settle(false)]).unwrap();
        assert_eq!((again.receipts, again.duplicates), (0, vec![0]));
    }
}
