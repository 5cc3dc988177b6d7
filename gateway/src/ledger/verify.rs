//! Proof that a ledger is whole: the chain holds, no column was changed, every window's sum is that of its
//! receipts, and no window's settled and held money is above its limit.

use std::collections::HashMap;

use rusqlite::{Connection, Row};
use serde::Serialize;
use tollgate_policies::Usd;

use super::chain::Link;
use super::error::LedgerError;
use super::prune::Tombstone;
use super::reader::Reader;
use super::record::{Account, HoldRow, Receipt};

/// Problems told in full; beyond them only the number grows.
const TOLD: usize = 20;

/// What verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Receipts read.
    pub receipts: u64,
    /// The chain's end, hex: keep it elsewhere, and a later `verify --head` proves that nothing before was cut off.
    pub head: String,
    /// Budget windows checked against a limit.
    pub windows: u64,
    /// Budget windows whose budget has no recorded limit.
    pub unlimited_windows: u64,
    /// Receipts that were pruned: their hashes stand in the chain, what they said can no longer be proved.
    pub pruned: u64,
    /// Holds of requests in flight (or left by a crash, until the next start).
    pub holds: u64,
    /// How many problems there are.
    pub problems: u64,
    /// The first of them.
    pub told: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems == 0
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        self.problems += 1;
        if self.told.len() < TOLD {
            self.told.push(text());
        }
    }
}

impl Reader {
    /// Verifies the whole ledger as of one moment; `expected` is a chain end noted earlier.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read; what is wrong with its contents is in the verdict.
    pub fn verify(&self, expected: Option<&str>) -> Result<Verdict, LedgerError> {
        let db = self.db();
        // One read transaction, so that a gateway writing meanwhile does not make the parts disagree.
        db.execute_batch("BEGIN")?;
        let verdict = verify(db, expected).map_err(|error| error.at(self.path()));
        db.execute_batch("COMMIT")?;
        verdict
    }
}

fn verify(db: &Connection, expected: Option<&str>) -> Result<Verdict, LedgerError> {
    let mut verdict = Verdict::default();
    let check: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        verdict.problem(|| format!("the file is damaged: {check}"));
    }
    let spent = receipts(db, &mut verdict, expected)?;
    sums(db, &mut verdict, &spent)?;
    limits(db, &mut verdict, spent)?;
    Ok(verdict)
}

/// Walks the chain; returns what the receipts say was spent in each window.
fn receipts(
    db: &Connection,
    verdict: &mut Verdict,
    expected: Option<&str>,
) -> Result<HashMap<Account, Usd>, LedgerError> {
    let mut spent: HashMap<Account, Usd> = HashMap::new();
    let mut link = Link::START;
    let mut seen = expected.is_none();
    let mut query = db.prepare(
        "SELECT seq, body, hash, request_id, at_ms, key, team, run, tags, policy, route, selected, model, engine, \
         status, prompt_tokens, completion_tokens, cost_nanos, baseline_nanos, saved_nanos FROM receipts ORDER BY seq",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let body: String = row.get(1)?;
        verdict.receipts += 1;
        let stored = row.get_ref(2)?.as_blob().ok().and_then(Link::from_slice);
        if let Some(stone) = Tombstone::read(&body) {
            verdict.pruned += 1;
            if stone.cost != Usd::from_nanos(row.get(17)?) {
                verdict.problem(|| {
                    format!("receipt {seq}: column cost_nanos does not agree with what was kept")
                });
            }
            for account in stone.accounts {
                let sum = spent.entry(account).or_default();
                *sum = sum.saturating_add(stone.cost);
            }
            link = stored.unwrap_or(link);
            seen = seen || expected.is_some_and(|head| head.eq_ignore_ascii_case(&link.to_string()));
            continue;
        }
        link = link.next(body.as_bytes());
        if stored != Some(link) {
            verdict.problem(|| {
                format!("receipt {seq}: the chain breaks here (changed, removed or inserted rows)")
            });
            // Go on from what is stored: one break is one problem, not one for every later receipt.
            link = stored.unwrap_or(link);
        }
        seen = seen || expected.is_some_and(|head| head.eq_ignore_ascii_case(&link.to_string()));
        match serde_json::from_str::<Receipt>(&body) {
            Ok(receipt) => {
                if let Some(column) = changed_column(row, &receipt)? {
                    verdict.problem(|| {
                        format!("receipt {seq}: column {column} does not agree with the receipt")
                    });
                }
                for account in receipt.accounts {
                    let sum = spent.entry(account).or_default();
                    *sum = sum.saturating_add(receipt.cost);
                }
            }
            Err(error) => verdict.problem(|| format!("receipt {seq}: unreadable: {error}")),
        }
    }
    if !seen {
        verdict.problem(|| {
            "no receipt has the --head given: receipts after or before it were cut off".to_owned()
        });
    }
    verdict.head = link.to_string();
    Ok(spent)
}

/// The first column that says something else than the receipt's body.
fn changed_column(row: &Row<'_>, receipt: &Receipt) -> Result<Option<&'static str>, LedgerError> {
    let unsigned = |index: usize| row.get::<_, i64>(index).map(|n| u64::try_from(n).unwrap_or(u64::MAX));
    let text = |index: usize| row.get::<_, String>(index);
    let maybe = |index: usize| row.get::<_, Option<String>>(index);
    let money = |index: usize| row.get::<_, i64>(index).map(Usd::from_nanos);
    let agrees = [
        ("request_id", text(3)? == receipt.request_id),
        ("at_ms", unsigned(4)? == receipt.at_ms),
        ("key", maybe(5)? == receipt.key),
        ("team", maybe(6)? == receipt.team),
        ("run", maybe(7)? == receipt.run),
        ("tags", text(8)? == serde_json::to_string(&receipt.tags)?),
        ("policy", text(9)? == receipt.policy_name),
        ("route", text(10)? == receipt.route),
        ("selected", text(11)? == receipt.selected),
        ("model", text(12)? == receipt.model),
        ("engine", text(13)? == receipt.engine),
        ("status", text(14)? == receipt.status.as_str()),
        ("prompt_tokens", unsigned(15)? == receipt.usage.prompt_tokens),
        ("completion_tokens", unsigned(16)? == receipt.usage.completion_tokens),
        ("cost_nanos", money(17)? == receipt.cost),
        ("baseline_nanos", money(18)? == receipt.baseline_cost),
        ("saved_nanos", money(19)? == receipt.saved),
    ];
    Ok(agrees.into_iter().find(|(_, same)| !same).map(|(column, _)| column))
}

/// The running sums against the receipts.
fn sums(db: &Connection, verdict: &mut Verdict, spent: &HashMap<Account, Usd>) -> Result<(), LedgerError> {
    let mut query = db.prepare("SELECT budget, subject, window_start_ms, settled_nanos FROM windows")?;
    let mut rows = query.query([])?;
    let mut found = 0;
    while let Some(row) = rows.next()? {
        let account = Account {
            budget: row.get(0)?,
            subject: row.get(1)?,
            window_start_ms: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
        };
        let stored = Usd::from_nanos(row.get(3)?);
        let real = spent.get(&account).copied();
        found += usize::from(real.is_some());
        if real != Some(stored) {
            let real = real.unwrap_or_default();
            verdict.problem(|| {
                format!("{}: the window's sum is {stored} USD, its receipts say {real} USD", told(&account))
            });
        }
    }
    if found < spent.len() {
        let missing = spent.len() - found;
        verdict.problem(|| format!("{missing} budget windows have receipts but no sum"));
    }
    Ok(())
}

/// Settled and held money of every window against the highest limit that was in force during it.
fn limits(db: &Connection, verdict: &mut Verdict, settled: HashMap<Account, Usd>) -> Result<(), LedgerError> {
    let mut held: HashMap<Account, Usd> = HashMap::new();
    let mut query = db.prepare("SELECT body FROM holds")?;
    for body in query.query_map([], |row| row.get::<_, String>(0))? {
        let hold: HoldRow = serde_json::from_str(&body?)?;
        verdict.holds += 1;
        for account in hold.accounts {
            let sum = held.entry(account).or_default();
            *sum = sum.saturating_add(hold.amount);
        }
    }
    let mut query = db.prepare("SELECT budget, from_ms, limit_nanos FROM limits ORDER BY id")?;
    let mut history: HashMap<String, Vec<(u64, Usd)>> = HashMap::new();
    for row in query
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?
    {
        let (budget, from, nanos) = row?;
        let from = u64::try_from(from).unwrap_or(0);
        history.entry(budget).or_default().push((from, Usd::from_nanos(nanos)));
    }
    let mut accounts: Vec<&Account> = settled.keys().chain(held.keys()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    for account in accounts {
        let Some(limit) = history.get(&account.budget).and_then(|all| highest(all, account.window_start_ms))
        else {
            verdict.unlimited_windows += 1;
            continue;
        };
        verdict.windows += 1;
        let (settled, held) = (sum_of(&settled, account), sum_of(&held, account));
        if settled.saturating_add(held) > limit {
            verdict.problem(|| {
                format!(
                    "{}: settled {settled} + held {held} USD is above the limit {limit} USD",
                    told(account)
                )
            });
        }
    }
    Ok(())
}

fn sum_of(sums: &HashMap<Account, Usd>, account: &Account) -> Usd {
    sums.get(account).copied().unwrap_or_default()
}

/// The highest limit in force at or after `start`.
fn highest(history: &[(u64, Usd)], start: u64) -> Option<Usd> {
    let at_start = history.iter().rfind(|(from, _)| *from <= start);
    let later = history.iter().filter(|(from, _)| *from > start);
    at_start.into_iter().chain(later).map(|(_, limit)| *limit).max()
}

fn told(account: &Account) -> String {
    let whose = if account.subject.is_empty() { String::new() } else { format!(" of {:?}", account.subject) };
    format!("budget {:?}{whose}, window from {} ms", account.budget, account.window_start_ms)
}
