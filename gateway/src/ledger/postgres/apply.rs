//! One transaction of the writer, as `batch` has it for a file.

use std::collections::{BTreeMap, HashMap, HashSet};

use postgres::{Client, Transaction};
use tollgate_policies::Usd;

use super::{Session, content, unsigned};
use crate::ledger::batch::{Applied, Change, End, signed};
use crate::ledger::chain::Link;
use crate::ledger::moved::Costly;
use crate::ledger::outcome::{Judged, Promotion};
use crate::ledger::record::{Account, HoldRow, Receipt};
use crate::ledger::store::Store;
use crate::ledger::{Content, LedgerError};

/// A server's database, written by one gateway of several.
pub(crate) struct ServerStore {
    session: Session,
    gateway: String,
}

impl ServerStore {
    /// A store of the gateway of this id.
    pub(crate) fn new(url: &str, gateway: &str, client: Client) -> ServerStore {
        ServerStore { session: Session::of(url, client), gateway: gateway.to_owned() }
    }

    /// The id of the gateway that writes.
    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }
}

impl Store for ServerStore {
    fn apply(&mut self, changes: &[Change]) -> Result<Applied, LedgerError> {
        self.session.with(|client| apply(client, &self.gateway, changes))
    }

    fn rows(&mut self) -> Result<u64, LedgerError> {
        self.session
            .with(|client| Ok(unsigned(client.query_one("SELECT count(*) FROM receipts", &[])?.get(0))))
    }

    fn close(self: Box<Self>) {}
}

/// What a batch comes to.
#[derive(Default)]
struct Sums<'c> {
    holds: HashMap<&'c str, &'c HoldRow>,
    ended: Vec<&'c str>,
    receipts: Vec<(usize, &'c Receipt)>,
    contents: Vec<&'c Content>,
    others: Vec<&'c Change>,
}

impl<'c> Sums<'c> {
    fn of(changes: &'c [Change]) -> Sums<'c> {
        let mut sums = Sums::default();
        for (index, change) in changes.iter().enumerate() {
            match change {
                Change::Hold(hold) | Change::Raise(hold) => {
                    sums.holds.insert(&hold.request_id, hold);
                }
                Change::Drop(request_id) => {
                    sums.holds.remove(request_id.as_str());
                    sums.ended.push(request_id);
                }
                Change::Settle(End { held, receipt, content }) => {
                    if *held {
                        sums.holds.remove(receipt.request_id.as_str());
                        sums.ended.push(&receipt.request_id);
                    }
                    sums.receipts.push((index, receipt));
                    sums.contents.extend(content.as_deref());
                }
                other => sums.others.push(other),
            }
        }
        sums
    }
}

/// Applies `changes` in one transaction that continues the chain.
pub(super) fn apply(client: &mut Client, gateway: &str, changes: &[Change]) -> Result<Applied, LedgerError> {
    let sums = Sums::of(changes);
    let mut step = client.transaction()?;
    if !sums.holds.is_empty() {
        is_live(&mut step, gateway)?;
        write_holds(&mut step, gateway, &sums.holds)?;
    }
    if !sums.ended.is_empty() {
        step.execute("DELETE FROM holds WHERE request_id = ANY($1)", &[&sums.ended])?;
    }
    let applied = write_receipts(&mut step, gateway, &sums.receipts)?;
    content::write(&mut step, &sums.contents)?;
    for other in sums.others {
        match other {
            Change::Outcome(judged) => write_outcome(&mut step, judged)?,
            Change::Promotion(promotion) => write_promotion(&mut step, promotion)?,
            Change::Limit { budget, limit, from_ms } => {
                let values: &[&(dyn postgres::types::ToSql + Sync)] =
                    &[budget, &limit.nanos(), &signed(*from_ms)];
                step.execute(
                    "INSERT INTO limits (budget, limit_nanos, from_ms) SELECT $1, $2, $3 WHERE $2 IS DISTINCT FROM \
                     (SELECT limit_nanos FROM limits WHERE budget = $1 ORDER BY id DESC LIMIT 1)",
                    values,
                )?;
            }
            Change::Hold(_) | Change::Raise(_) | Change::Drop(_) | Change::Settle(_) => {}
        }
    }
    step.commit()?;
    Ok(applied)
}

/// A gateway that was taken for dead has no leases any more: it may not begin to spend.
fn is_live(step: &mut Transaction<'_>, gateway: &str) -> Result<(), LedgerError> {
    let live =
        step.query_opt("SELECT 1 FROM gateways WHERE id = $1 AND expires > now() FOR SHARE", &[&gateway])?;
    match live {
        Some(_) => Ok(()),
        None => Err(LedgerError::Expired),
    }
}

fn write_holds(
    step: &mut Transaction<'_>,
    gateway: &str,
    holds: &HashMap<&str, &HoldRow>,
) -> Result<(), LedgerError> {
    let ids: Vec<&str> = holds.keys().copied().collect();
    let amounts: Vec<i64> = holds.values().map(|hold| hold.amount.nanos()).collect();
    let bodies = holds
        .values()
        .map(|hold| Ok(serde_json::to_string(hold)?))
        .collect::<Result<Vec<_>, LedgerError>>()?;
    step.execute(
        "INSERT INTO holds (request_id, gateway, amount_nanos, body) \
         SELECT id, $2, amount, body FROM unnest($1::text[], $3::bigint[], $4::text[]) AS new (id, amount, body) \
         ON CONFLICT (request_id) DO UPDATE SET amount_nanos = excluded.amount_nanos, body = excluded.body",
        &[&ids, &gateway, &amounts, &bodies],
    )?;
    Ok(())
}

pub(super) fn write_receipts(
    step: &mut Transaction<'_>,
    gateway: &str,
    receipts: &[(usize, &Receipt)],
) -> Result<Applied, LedgerError> {
    let mut applied = Applied { head: Link::START, receipts: 0, duplicates: Vec::new(), held: 0 };
    if receipts.is_empty() {
        return Ok(applied);
    }
    // Whoever has this row writes the next receipts: those of all gateways are one chain.
    let end = step.query_one("SELECT seq, hash FROM chain FOR UPDATE", &[])?;
    let mut seq: i64 = end.get(0);
    applied.head = Link::from_slice(end.get(1)).unwrap_or(Link::START);
    let ids: Vec<&str> = receipts.iter().map(|(_, receipt)| receipt.request_id.as_str()).collect();
    let there = step.query("SELECT request_id, body FROM receipts WHERE request_id = ANY($1)", &[&ids])?;
    let there: HashMap<String, String> = there.iter().map(|row| (row.get(0), row.get(1))).collect();
    let (mut rows, mut seen) = (Columns::default(), HashSet::new());
    let mut spent: BTreeMap<&Account, (Usd, u64)> = BTreeMap::new();
    for (index, receipt) in receipts {
        let body = receipt.canonical()?;
        if let Some(written) = there.get(&receipt.request_id) {
            // The same text: a commit of ours whose answer was lost.
            if *written != body {
                applied.duplicates.push(*index);
            }
            continue;
        }
        if !seen.insert(receipt.request_id.as_str()) {
            applied.duplicates.push(*index);
            continue;
        }
        seq += 1;
        applied.receipts += 1;
        applied.head = applied.head.next(body.as_bytes());
        for account in &receipt.accounts {
            let (sum, latest) = spent.entry(account).or_default();
            *sum = sum.saturating_add(receipt.cost);
            *latest = receipt.at_ms.max(*latest);
        }
        rows.push(seq, receipt, body, applied.head)?;
    }
    rows.insert(step)?;
    book(step, gateway, &spent)?;
    step.execute("UPDATE chain SET seq = $1, hash = $2", &[&seq, &applied.head.as_bytes().as_slice()])?;
    Ok(applied)
}

/// What was spent moves from this gateway's leases to the windows' sums. A request that cost more than it held takes no more from the lease
/// than is there: else others would be lent the difference, which is spent.
///
/// No sum can fail to fit, whatever is charged. Nothing here is negative, so a sum that grows by at most what it lacks to the greatest
/// number stays at that: 9.2 billion dollars, which no limit passes, so such a window is as spent as can be. What a lease gives up is
/// no more than it has, and what all leases of a window have is what the window says of them, of which the limit is the bound.
fn book(
    step: &mut Transaction<'_>,
    gateway: &str,
    spent: &BTreeMap<&Account, (Usd, u64)>,
) -> Result<(), LedgerError> {
    // In order, so that two gateways never wait for each other.
    let add = step.prepare(
        "INSERT INTO windows (budget, subject, window_start_ms, settled_nanos, updated_ms) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (budget, subject, window_start_ms) DO UPDATE SET settled_nanos = windows.settled_nanos + \
         least(excluded.settled_nanos, 9223372036854775807 - windows.settled_nanos), updated_ms = greatest(windows.updated_ms, excluded.updated_ms)",
    )?;
    let take = step.prepare(
        "WITH lease AS (SELECT least(amount_nanos, $5) AS taken FROM leases \
             WHERE gateway = $1 AND budget = $2 AND subject = $3 AND window_start_ms = $4), \
         given AS (UPDATE leases SET amount_nanos = amount_nanos - lease.taken, \
             booked_nanos = booked_nanos + least($5, 9223372036854775807 - booked_nanos) FROM lease \
             WHERE gateway = $1 AND budget = $2 AND subject = $3 AND window_start_ms = $4) \
         UPDATE windows SET leased_nanos = leased_nanos - lease.taken FROM lease \
             WHERE budget = $2 AND subject = $3 AND window_start_ms = $4",
    )?;
    for (account, (amount, latest)) in spent {
        let (start, nanos) = (signed(account.window_start_ms), amount.nanos());
        step.execute(&add, &[&account.budget, &account.subject, &start, &nanos, &signed(*latest)])?;
        step.execute(&take, &[&gateway, &account.budget, &account.subject, &start, &nanos])?;
    }
    Ok(())
}

/// The columns of new receipts, one array each: one statement writes them all.
#[derive(Default)]
struct Columns<'r> {
    seq: Vec<i64>,
    at_ms: Vec<i64>,
    texts: [Vec<&'r str>; 7],
    maybe: [Vec<Option<&'r str>>; 3],
    tags: Vec<String>,
    numbers: [Vec<i64>; 5],
    bodies: Vec<String>,
    hashes: Vec<Vec<u8>>,
    /// What tries cost, with the receipt's number.
    attempts: Vec<(i64, Costly)>,
}

impl<'r> Columns<'r> {
    fn push(&mut self, seq: i64, receipt: &'r Receipt, body: String, link: Link) -> Result<(), LedgerError> {
        self.seq.push(seq);
        self.at_ms.push(signed(receipt.at_ms));
        let texts = [
            &receipt.request_id,
            &receipt.policy_name,
            &receipt.route,
            &receipt.selected,
            &receipt.model,
            &receipt.engine,
        ];
        let texts = texts.into_iter().map(String::as_str).chain([receipt.status.as_str()]);
        self.texts.iter_mut().zip(texts).for_each(|(column, text)| column.push(text));
        let maybe = [&receipt.key, &receipt.team, &receipt.run];
        self.maybe.iter_mut().zip(maybe).for_each(|(column, text)| column.push(text.as_deref()));
        let numbers = [
            signed(receipt.usage.prompt_tokens),
            signed(receipt.usage.completion_tokens),
            receipt.cost.nanos(),
            receipt.baseline_cost.nanos(),
            receipt.saved.nanos(),
        ];
        self.numbers.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number));
        self.tags.push(serde_json::to_string(&receipt.tags)?);
        self.bodies.push(body);
        self.hashes.push(link.as_bytes().to_vec());
        self.attempts.extend(Costly::of(receipt).map(|costly| (seq, costly)));
        Ok(())
    }

    fn insert(&self, step: &mut Transaction<'_>) -> Result<(), LedgerError> {
        let [request_id, policy, route, selected, model, engine, status] = &self.texts;
        let [key, team, run] = &self.maybe;
        let [prompt, completion, cost, baseline, saved] = &self.numbers;
        step.execute(
            "INSERT INTO receipts (seq, request_id, at_ms, key, team, run, tags, policy, route, selected, model, engine, status, \
             prompt_tokens, completion_tokens, cost_nanos, baseline_nanos, saved_nanos, body, hash) SELECT * FROM unnest( \
             $1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], \
             $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], \
             $18::bigint[], $19::text[], $20::bytea[])",
            &[
                &self.seq, request_id, &self.at_ms, key, team, run, &self.tags, policy, route, selected, model, engine, status,
                prompt, completion, cost, baseline, saved, &self.bodies, &self.hashes,
            ],
        )?;
        self.insert_attempts(step)
    }

    fn insert_attempts(&self, step: &mut Transaction<'_>) -> Result<(), LedgerError> {
        for (seq, Costly { number, model, engine, cost }) in &self.attempts {
            step.execute(
                "INSERT INTO attempts (receipt, number, model, engine, cost_nanos) VALUES ($1, $2, $3, $4, $5)",
                &[seq, number, model, engine, &cost.nanos()],
            )?;
        }
        Ok(())
    }
}

fn write_outcome(step: &mut Transaction<'_>, judged: &Judged) -> Result<(), LedgerError> {
    let choice = judged.choice.as_ref().map(serde_json::to_string).transpose()?;
    step.execute(
        "DELETE FROM outcomes WHERE request_id = $1 AND model = $2 AND source = $3",
        &[&judged.request_id, &judged.model, &judged.source.as_str()],
    )?;
    step.execute(
        "INSERT INTO outcomes (request_id, at_ms, policy, model, source, good, propensity, choice) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            &judged.request_id,
            &signed(judged.at_ms),
            &judged.policy,
            &judged.model,
            &judged.source.as_str(),
            &judged.good,
            &judged.propensity,
            &choice,
        ],
    )?;
    Ok(())
}

fn write_promotion(step: &mut Transaction<'_>, promotion: &Promotion) -> Result<(), LedgerError> {
    step.execute(
        "INSERT INTO promotions (at_ms, configured, abilities, trial, router) VALUES ($1, $2, $3, $4, $5)",
        &[
            &signed(promotion.at_ms),
            &serde_json::to_string(&promotion.configured)?,
            &serde_json::to_string(&promotion.abilities)?,
            &promotion.trial,
            &promotion.router.to_string(),
        ],
    )?;
    Ok(())
}
