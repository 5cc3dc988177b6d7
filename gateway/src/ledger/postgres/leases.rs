//! Several gateways, one budget: each spends from slices of budget windows that it has leased.
//!
//! For every window: settled + leased ≤ limit. A lease covers what its gateway holds; what is settled moves from the lease to the window's sum in
//! the receipt's own transaction. Holds are on record before an engine is called, so that of a gateway that is gone nothing is
//! unknown: what it held is settled in full, the rest of its leases is free again. A gateway that was cut off cannot
//! put holds on record, so it spends nothing.

use std::time::Duration;

use postgres::{Client, Transaction};
use tollgate_policies::{AccountId, Elsewhere, Quiet, Usd, Want};

use super::apply::write_receipts;
use super::{ServerStore, connect, migrate};
use crate::ledger::batch::signed;
use crate::ledger::record::{HoldRow, Receipt};
use crate::ledger::recovery::Recovery;
use crate::ledger::{LedgerError, Location};

/// A gateway that has not been heard of for this long is taken for gone. By the server's clock alone.
pub(crate) const LIFE: Duration = Duration::from_secs(10);
/// A lease is for this share of the limit at least, so that a busy gateway seldom asks …
const SLICE: i64 = 100;
/// … and for this share of what is free at most, unless it needs more: others want to spend too.
const OF_FREE: i64 = 4;

/// What a window has for a gateway.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) account: AccountId,
    /// Added to its lease.
    pub(crate) granted: Usd,
    /// What others have spent and leased.
    pub(crate) elsewhere: Elsewhere,
    /// Of what this gateway has settled, what is booked.
    pub(crate) booked: Usd,
    /// All that it may settle and hold there: that, and its lease.
    pub(crate) entitled: Usd,
}

/// Signs on as a new gateway, and takes over what gateways that are gone have left.
///
/// # Errors
/// [`LedgerError`] if the server cannot be used.
pub(crate) fn open(url: &str) -> Result<(ServerStore, Recovery), LedgerError> {
    let mut client = connect(url)?;
    migrate(&mut client, &Location::Server(url.to_owned()).to_string())?;
    let gateway = format!("gw_{:016x}", rand::random::<u64>());
    sign_on(&mut client, &gateway)?;
    let recovery = take_over(&mut client)?;
    Ok((ServerStore::new(url, &gateway, client), recovery))
}

/// The gateway is there, with no leases.
pub(crate) fn sign_on(client: &mut Client, gateway: &str) -> Result<(), LedgerError> {
    client.execute(
        "INSERT INTO gateways (id, expires) VALUES ($1, now() + $2 * interval '1 second') ON CONFLICT (id) DO NOTHING",
        &[&gateway, &LIFE.as_secs_f64()],
    )?;
    Ok(())
}

/// The gateway is still there; false if it was taken for gone, and has no leases any more.
pub(crate) fn beat(client: &mut Client, gateway: &str) -> Result<bool, LedgerError> {
    let found = client.execute(
        "UPDATE gateways SET expires = now() + $2 * interval '1 second' WHERE id = $1",
        &[&gateway, &LIFE.as_secs_f64()],
    )?;
    Ok(found > 0)
}

/// The gateway ends, with nothing held: what it has leased is free at once.
pub(crate) fn sign_off(client: &mut Client, gateway: &str) -> Result<(), LedgerError> {
    let mut step = client.transaction()?;
    bury(&mut step, gateway)?;
    step.commit()?;
    Ok(())
}

/// Settles in full what gateways that are gone held, and frees what they had leased.
pub(crate) fn take_over(client: &mut Client) -> Result<Recovery, LedgerError> {
    let mut recovery = Recovery::default();
    loop {
        let mut step = client.transaction()?;
        let gone = step.query_opt(
            "SELECT id FROM gateways WHERE expires <= now() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
            &[],
        )?;
        let Some(gone) = gone else { return Ok(recovery) };
        let holds = bury(&mut step, gone.get(0))?;
        step.commit()?;
        for hold in holds {
            recovery.orphans += 1;
            recovery.orphaned = recovery.orphaned.saturating_add(hold.amount);
        }
    }
}

/// Ends a gateway: its holds become receipts, its leases are given back.
fn bury(step: &mut Transaction<'_>, gateway: &str) -> Result<Vec<HoldRow>, LedgerError> {
    step.execute("DELETE FROM gateways WHERE id = $1", &[&gateway])?;
    // The chain, then the windows in their order, as everybody takes them.
    step.query_one("SELECT 1 FROM chain FOR UPDATE", &[])?;
    step.query(
        "SELECT 1 FROM windows JOIN leases USING (budget, subject, window_start_ms) WHERE gateway = $1 \
         ORDER BY budget COLLATE \"C\", subject COLLATE \"C\", window_start_ms FOR UPDATE OF windows",
        &[&gateway],
    )?;
    let rows = step.query("DELETE FROM holds WHERE gateway = $1 RETURNING body", &[&gateway])?;
    let holds = rows
        .iter()
        .map(|row| Ok(serde_json::from_str(row.get(0))?))
        .collect::<Result<Vec<HoldRow>, LedgerError>>()?;
    let receipts: Vec<Receipt> = holds.iter().cloned().map(Receipt::orphan).collect();
    let receipts: Vec<(usize, &Receipt)> = receipts.iter().enumerate().collect();
    write_receipts(step, gateway, &receipts)?;
    step.execute(
        "UPDATE windows SET leased_nanos = windows.leased_nanos - leases.amount_nanos FROM leases WHERE leases.gateway = $1 \
         AND leases.budget = windows.budget AND leases.subject = windows.subject \
         AND leases.window_start_ms = windows.window_start_ms",
        &[&gateway],
    )?;
    step.execute("DELETE FROM leases WHERE gateway = $1", &[&gateway])?;
    Ok(holds)
}

/// Leases what is wanted where it is free, window by window.
pub(crate) fn lease(client: &mut Client, gateway: &str, wants: &[Want]) -> Result<Vec<Given>, LedgerError> {
    let mut wants: Vec<&Want> = wants.iter().collect();
    // In one order, so that two gateways never wait for each other.
    wants.sort_by(|one, other| one.account.cmp(&other.account));
    let mut step = client.transaction()?;
    if step.query_opt("SELECT 1 FROM gateways WHERE id = $1 FOR SHARE", &[&gateway])?.is_none() {
        return Err(LedgerError::Expired);
    }
    let mut given = Vec::new();
    for want in wants {
        let AccountId { budget, subject, window_start_ms } = &want.account;
        let start = signed(*window_start_ms);
        step.execute(
            "INSERT INTO windows (budget, subject, window_start_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            &[budget, subject, &start],
        )?;
        let mut seen = look(&mut step, gateway, &want.account)?;
        let free = want.limit.nanos().saturating_sub(seen.settled).saturating_sub(seen.leased);
        let needed = want.amount.nanos();
        if needed > 0 && needed <= free {
            let slice = (want.limit.nanos() / SLICE).min(free / OF_FREE).max(needed);
            step.execute(
                "INSERT INTO leases (gateway, budget, subject, window_start_ms, amount_nanos) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (gateway, budget, subject, window_start_ms) \
                 DO UPDATE SET amount_nanos = leases.amount_nanos + excluded.amount_nanos",
                &[&gateway, budget, subject, &start, &slice],
            )?;
            step.execute(
                "UPDATE windows SET leased_nanos = leased_nanos + $4 WHERE budget = $1 AND subject = $2 AND window_start_ms = $3",
                &[budget, subject, &start, &slice],
            )?;
            seen.granted = slice;
        }
        given.push(seen.given(want.account.clone()));
    }
    step.commit()?;
    Ok(given)
}

/// What windows have, without leasing anything of them.
pub(crate) fn see(
    client: &mut Client,
    gateway: &str,
    accounts: &[AccountId],
) -> Result<Vec<Given>, LedgerError> {
    let budgets: Vec<&str> = accounts.iter().map(|account| &*account.budget).collect();
    let subjects: Vec<&str> = accounts.iter().map(|account| &*account.subject).collect();
    let starts: Vec<i64> = accounts.iter().map(|account| signed(account.window_start_ms)).collect();
    // One statement, so that a sum and its lease are of one moment.
    let rows = client.query(
        "SELECT coalesce(settled_nanos, 0), coalesce(leased_nanos, 0), coalesce(amount_nanos, 0), coalesce(booked_nanos, 0) \
         FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS asked (budget, subject, window_start_ms, place) \
         LEFT JOIN windows USING (budget, subject, window_start_ms) \
         LEFT JOIN (SELECT * FROM leases WHERE gateway = $1) AS own USING (budget, subject, window_start_ms) ORDER BY place",
        &[&gateway, &budgets, &subjects, &starts],
    )?;
    let seen = rows.iter().map(|row| Seen {
        settled: row.get(0),
        leased: row.get(1),
        own: row.get(2),
        booked: row.get(3),
        granted: 0,
    });
    Ok(seen.zip(accounts).map(|(seen, account)| seen.given(account.clone())).collect())
}

/// Gives back what a gateway has leased of windows that it does not use, save for what it has spent there and not booked yet.
pub(crate) fn give_back(client: &mut Client, gateway: &str, quiet: &[Quiet]) -> Result<(), LedgerError> {
    let mut quiet: Vec<&Quiet> = quiet.iter().collect();
    quiet.sort_by(|one, other| one.account.cmp(&other.account));
    let mut step = client.transaction()?;
    for Quiet { account, settled } in quiet {
        // The window first, as everybody takes them.
        let seen = look(&mut step, gateway, account)?;
        let back = seen.own - (settled.nanos() - seen.booked).max(0);
        if back <= 0 {
            continue;
        }
        let AccountId { budget, subject, window_start_ms } = account;
        let start = signed(*window_start_ms);
        step.execute(
            "UPDATE windows SET leased_nanos = leased_nanos - $4 WHERE budget = $1 AND subject = $2 AND window_start_ms = $3",
            &[budget, subject, &start, &back],
        )?;
        step.execute(
            "UPDATE leases SET amount_nanos = amount_nanos - $5 \
             WHERE gateway = $1 AND budget = $2 AND subject = $3 AND window_start_ms = $4",
            &[&gateway, budget, subject, &start, &back],
        )?;
    }
    step.commit()?;
    Ok(())
}

/// Forgets a lease of nothing.
pub(crate) fn forget(client: &mut Client, gateway: &str, account: &AccountId) -> Result<(), LedgerError> {
    let AccountId { budget, subject, window_start_ms } = account;
    client.execute(
        "DELETE FROM leases WHERE gateway = $1 AND budget = $2 AND subject = $3 AND window_start_ms = $4 AND amount_nanos = 0",
        &[&gateway, budget, subject, &signed(*window_start_ms)],
    )?;
    Ok(())
}

/// A window as one gateway sees it, nanodollars.
struct Seen {
    settled: i64,
    leased: i64,
    own: i64,
    booked: i64,
    granted: i64,
}

impl Seen {
    fn given(&self, account: AccountId) -> Given {
        Given {
            account,
            granted: Usd::from_nanos(self.granted),
            elsewhere: Elsewhere {
                settled: Usd::from_nanos(self.settled - self.booked),
                held: Usd::from_nanos(self.leased - self.own),
            },
            booked: Usd::from_nanos(self.booked),
            entitled: Usd::from_nanos(self.booked.saturating_add(self.own).saturating_add(self.granted)),
        }
    }
}

/// Looks at a window, which is locked.
fn look(step: &mut Transaction<'_>, gateway: &str, account: &AccountId) -> Result<Seen, LedgerError> {
    let AccountId { budget, subject, window_start_ms } = account;
    let start = signed(*window_start_ms);
    let window = step.query_opt(
        "SELECT settled_nanos, leased_nanos FROM windows WHERE budget = $1 AND subject = $2 AND window_start_ms = $3 FOR UPDATE",
        &[budget, subject, &start],
    )?;
    let lease = step.query_opt(
        "SELECT amount_nanos, booked_nanos FROM leases \
         WHERE gateway = $1 AND budget = $2 AND subject = $3 AND window_start_ms = $4",
        &[&gateway, budget, subject, &start],
    )?;
    let (settled, leased) = window.map_or((0, 0), |row| (row.get(0), row.get(1)));
    let (own, booked) = lease.map_or((0, 0), |row| (row.get(0), row.get(1)));
    Ok(Seen { settled, leased, own, booked, granted: 0 })
}
