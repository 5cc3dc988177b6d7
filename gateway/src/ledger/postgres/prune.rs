//! Forgetting in a server, as `prune` has it for a file. Gateways go on meanwhile: what they have leased of a window stays as it is,
//! and so do its receipts, until it is given back, which is seconds after its run or key has fallen silent.

use std::collections::{BTreeMap, HashSet};

use postgres::types::ToSql;
use postgres::{Client, Transaction};
use tollgate_policies::Usd;

use super::{connect, migrate};
use crate::ledger::batch::signed;
use crate::ledger::prune::{Names, Pruned, STEP, Tombstone};
use crate::ledger::record::{Account, Receipt};
use crate::ledger::{Forget, LedgerError, Location};

/// What is forgotten, as SQL with `$1` for its value.
struct Which {
    condition: &'static str,
    value: Box<dyn ToSql + Sync>,
    key: Option<String>,
}

/// A receipt of the step, and what it becomes.
struct Grave {
    seq: i64,
    body: String,
    receipt: Receipt,
    accounts: Vec<Account>,
}

pub(crate) fn prune(url: &str, forget: &Forget, now_ms: u64) -> Result<Pruned, LedgerError> {
    let mut client = connect(url)?;
    migrate(&mut client, &Location::Server(url.to_owned()).to_string())?;
    let Which { condition, value, key } = which(&mut client, forget)?;
    let value = value.as_ref();
    let newest: i64 = client.query_one("SELECT coalesce(max(seq), 0) FROM receipts", &[])?.get(0);
    let going_on = format!(
        "SELECT run FROM receipts WHERE run IS NOT NULL AND {condition} \
         INTERSECT SELECT run FROM receipts WHERE NOT coalesce({condition}, false)"
    );
    let going_on = set(&mut client, &going_on, &[value])?;
    let live = set(&mut client, "SELECT name FROM keys WHERE revoked_ms IS NULL", &[])?;
    let mut names = Names::new(going_on, live, key);
    let sql = format!(
        "SELECT seq, body FROM receipts WHERE {condition} AND seq > $2 AND seq <= $3 AND body NOT LIKE '{}%' ORDER BY seq LIMIT {STEP}",
        Tombstone::PREFIX
    );
    let (mut pruned, mut last) = (Pruned::default(), 0_i64);
    loop {
        let rows = client.query(&sql, &[value, &last, &newest])?;
        let Some(end) = rows.last() else { break };
        last = end.get(0);
        let mut graves = Vec::new();
        for row in &rows {
            let body: String = row.get(1);
            let Ok(receipt) = serde_json::from_str::<Receipt>(&body) else {
                pruned.skip(row.get(0));
                continue;
            };
            // A run whose money is counted under its name keeps its receipts until the last of them is old.
            if matches!(forget, Forget::Before(_)) && names.is_counted_on(&receipt) {
                continue;
            }
            let accounts = receipt.accounts.iter().map(|account| names.other(account, &receipt)).collect();
            graves.push(Grave { seq: row.get(0), body, receipt, accounts });
        }
        bury(&mut client, graves, now_ms, &mut pruned)?;
    }
    Ok(pruned)
}

fn which(client: &mut Client, forget: &Forget) -> Result<Which, LedgerError> {
    Ok(match forget {
        Forget::Before(at_ms) => {
            Which { condition: "at_ms < $1", value: Box::new(signed(*at_ms)), key: None }
        }
        Forget::Run(run) => Which { condition: "run = $1", value: Box::new(run.clone()), key: None },
        Forget::Key(key) => {
            let row = client.query_opt(
                "SELECT id, name, revoked_ms IS NULL FROM keys WHERE id = $1 OR name = $1 ORDER BY revoked_ms IS NULL DESC LIMIT 1",
                &[key],
            )?;
            let row = row.ok_or_else(|| LedgerError::NoSuchKey { key: key.clone() })?;
            if row.get(2) {
                return Err(LedgerError::LiveKey { key: key.clone() });
            }
            Which { condition: "key = $1", value: Box::new(row.get::<_, String>(0)), key: Some(row.get(1)) }
        }
    })
}

fn set(
    client: &mut Client,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<HashSet<String>, LedgerError> {
    Ok(client.query(sql, values)?.iter().map(|row| row.get(0)).collect())
}

/// Replaces receipts by their tombstones, and moves their money.
fn bury(
    client: &mut Client,
    mut graves: Vec<Grave>,
    now_ms: u64,
    pruned: &mut Pruned,
) -> Result<(), LedgerError> {
    let mut step = client.transaction()?;
    // The chain, then windows in their order, as everybody locks.
    step.execute("SELECT 1 FROM chain FOR UPDATE", &[])?;
    let in_use = in_use(&mut step, &graves)?;
    let before = graves.len();
    graves.retain(|grave| !moves(grave).any(|(old, _)| in_use.contains(old)));
    pruned.in_use += (before - graves.len()) as u64;
    let seqs: Vec<i64> = graves.iter().map(|grave| grave.seq).collect();
    let bodies: Vec<&str> = graves.iter().map(|grave| grave.body.as_str()).collect();
    let stone = |grave: &Grave| Tombstone {
        pruned_at_ms: now_ms,
        cost: grave.receipt.cost,
        accounts: grave.accounts.clone(),
    };
    let stones = graves.iter().map(|grave| Ok(serde_json::to_string(&stone(grave))?));
    let stones = stones.collect::<Result<Vec<_>, LedgerError>>()?;
    // Another pruning may have been faster.
    let buried = step.query(
        "UPDATE receipts SET request_id = 'pruned-' || receipts.seq, key = NULL, run = NULL, tags = '{}', body = stone \
         FROM unnest($1::bigint[], $2::text[], $3::text[]) AS new (seq, was, stone) \
         WHERE receipts.seq = new.seq AND receipts.body = new.was RETURNING receipts.seq",
        &[&seqs, &bodies, &stones],
    )?;
    let buried: HashSet<i64> = buried.iter().map(|row| row.get(0)).collect();
    graves.retain(|grave| buried.contains(&grave.seq));
    pruned.receipts += graves.len() as u64;
    let requests: Vec<&str> = graves.iter().map(|grave| grave.receipt.request_id.as_str()).collect();
    step.execute("DELETE FROM outcomes WHERE request_id = ANY($1)", &[&requests])?;
    step.execute("DELETE FROM contents WHERE request_id = ANY($1)", &[&requests])?;
    move_money(&mut step, &graves)?;
    step.commit()?;
    Ok(())
}

/// Windows that a receipt's money leaves, and where it goes.
fn moves(grave: &Grave) -> impl Iterator<Item = (&Account, &Account)> {
    grave.receipt.accounts.iter().zip(&grave.accounts).filter(|(old, new)| old != new)
}

/// Locks the windows that money leaves; those of them that a gateway has leased.
fn in_use(step: &mut Transaction<'_>, graves: &[Grave]) -> Result<HashSet<Account>, LedgerError> {
    let mut windows: Vec<&Account> = graves.iter().flat_map(moves).map(|(old, _)| old).collect();
    windows.sort_unstable();
    windows.dedup();
    let budgets: Vec<&str> = windows.iter().map(|window| window.budget.as_str()).collect();
    let subjects: Vec<&str> = windows.iter().map(|window| window.subject.as_str()).collect();
    let starts: Vec<i64> = windows.iter().map(|window| signed(window.window_start_ms)).collect();
    let wanted =
        "(budget, subject, window_start_ms) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]))";
    let values: &[&(dyn ToSql + Sync)] = &[&budgets, &subjects, &starts];
    step.execute(
        &format!("SELECT 1 FROM windows WHERE {wanted} ORDER BY budget, subject, window_start_ms FOR UPDATE"),
        values,
    )?;
    let leased = step.query(
        &format!("SELECT DISTINCT budget, subject, window_start_ms FROM leases WHERE {wanted}"),
        values,
    )?;
    Ok(leased.iter().map(|row| super::read::account(row, 0)).collect())
}

/// From now on what these receipts spent is counted elsewhere. A window that nothing is left in goes at once: however this ends, no
/// name stays whose receipts are gone.
fn move_money(step: &mut Transaction<'_>, graves: &[Grave]) -> Result<(), LedgerError> {
    let mut sums: BTreeMap<(&Account, &Account), Usd> = BTreeMap::new();
    for grave in graves {
        for both in moves(grave) {
            let sum = sums.entry(both).or_default();
            *sum = sum.saturating_add(grave.receipt.cost);
        }
    }
    for ((old, new), sum) in sums {
        let (start, nanos) = (signed(old.window_start_ms), sum.nanos());
        step.execute(
            "INSERT INTO windows (budget, subject, window_start_ms, settled_nanos, updated_ms) \
             SELECT budget, $4, window_start_ms, $5, updated_ms FROM windows WHERE budget = $1 AND subject = $2 AND window_start_ms = $3 \
             ON CONFLICT (budget, subject, window_start_ms) DO UPDATE SET settled_nanos = windows.settled_nanos + \
             least(excluded.settled_nanos, 9223372036854775807 - windows.settled_nanos)",
            &[&old.budget, &old.subject, &start, &new.subject, &nanos],
        )?;
        step.execute(
            "UPDATE windows SET settled_nanos = settled_nanos - $4 WHERE budget = $1 AND subject = $2 AND window_start_ms = $3",
            &[&old.budget, &old.subject, &start, &nanos],
        )?;
        step.execute(
            "DELETE FROM windows WHERE budget = $1 AND subject = $2 AND window_start_ms = $3 AND settled_nanos = 0 AND leased_nanos = 0 \
             AND NOT EXISTS (SELECT 1 FROM leases WHERE budget = $1 AND subject = $2 AND window_start_ms = $3)",
            &[&old.budget, &old.subject, &start],
        )?;
    }
    Ok(())
}
