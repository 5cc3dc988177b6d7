//! Proof that a ledger is whole: the chain holds, no column was changed, every window's sum is that of its
//! receipts, and no window's settled and held money is above its limit.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, Row};
use serde::Serialize;
use tollgate_policies::Usd;

use super::batch::signed;
use super::chain::Link;
use super::error::LedgerError;
use super::moved::Costly;
use super::prune::Tombstone;
use super::reader::{Database, Reader};
use super::record::{Account, HoldRow, Receipt};
use super::{requests, stretch};

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

    pub(super) fn problem(&mut self, text: impl FnOnce() -> String) {
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
        let db = match self.database() {
            Database::Server(server) => return server.verify(expected),
            Database::File(db) => db,
        };
        // One read transaction, so that a gateway writing meanwhile does not make the parts disagree.
        db.execute_batch("BEGIN")?;
        let verdict = verify(db, expected).map_err(|error| self.explained(error));
        db.execute_batch("COMMIT")?;
        verdict
    }
}

fn verify(db: &Connection, expected: Option<&str>) -> Result<Verdict, LedgerError> {
    let mut walk = Walk::new(expected);
    let check: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        walk.verdict.problem(|| format!("the file is damaged: {check}"));
    }
    let mut query = db.prepare(&format!("SELECT {} FROM receipts ORDER BY seq", Stored::COLUMNS))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        walk.take(&stored(row)?)?;
    }
    let mut query = db.prepare(&format!("SELECT {} FROM attempts", Costly::COLUMNS))?;
    let attempts = query.query_map([], |row| {
        let cost = Usd::from_nanos(row.get(4)?);
        Ok((row.get(0)?, Costly { number: row.get(1)?, model: row.get(2)?, engine: row.get(3)?, cost }))
    })?;
    walk.attempts(attempts.collect::<rusqlite::Result<_>>()?);
    let mut query = db.prepare("SELECT budget, subject, window_start_ms, settled_nanos FROM windows")?;
    let windows = query.query_map([], |row| {
        let account = Account {
            budget: row.get(0)?,
            subject: row.get(1)?,
            window_start_ms: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
        };
        Ok((account, Usd::from_nanos(row.get(3)?)))
    })?;
    let mut windows = windows.collect::<rusqlite::Result<HashMap<Account, Usd>>>()?;
    // What cannot be read has been told of.
    for (account, amount) in stretch::unbooked(db, |_, _| Ok(()))?.sums() {
        let sum = windows.entry(account).or_default();
        *sum = sum.saturating_add(amount);
    }
    let mut windows: Vec<(Account, Usd)> = windows.into_iter().collect();
    windows.sort_unstable();
    if let Some(seq) = stretch::astray(db)? {
        walk.verdict.problem(|| format!("receipt {seq}: it is newer than its stretch says"));
    }
    if let Some(seq) = requests::astray(db)? {
        walk.verdict
            .problem(|| format!("receipt {seq}: its request has another receipt, or is not found by it"));
    }
    let mut query = db.prepare("SELECT body FROM holds")?;
    let holds = query.query_map([], |row| row.get::<_, String>(0))?;
    let holds =
        holds.map(|body| Ok(serde_json::from_str(&body?)?)).collect::<Result<Vec<HoldRow>, LedgerError>>()?;
    let mut query = db.prepare("SELECT budget, from_ms, limit_nanos FROM limits ORDER BY id")?;
    let limits = query.query_map([], |row| {
        Ok(Limit {
            budget: row.get(0)?,
            from_ms: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
            limit: Usd::from_nanos(row.get(2)?),
        })
    })?;
    Ok(walk.end(&windows, &holds, limits.collect::<rusqlite::Result<_>>()?))
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let number = |index: usize| row.get::<_, i64>(index);
    Ok(Stored {
        seq: row.get(0)?,
        body: row.get(1)?,
        hash: row.get_ref(2)?.as_blob().ok().and_then(Link::from_slice),
        texts: [
            row.get(3)?,
            row.get(8)?,
            row.get(9)?,
            row.get(10)?,
            row.get(11)?,
            row.get(12)?,
            row.get(13)?,
            row.get(14)?,
        ],
        maybe: [row.get(5)?, row.get(6)?, row.get(7)?],
        numbers: [number(4)?, number(15)?, number(16)?, number(17)?, number(18)?, number(19)?],
    })
}

/// A receipt's row: the body, the hash, and the columns that repeat what reports group and filter by.
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) body: String,
    pub(super) hash: Option<Link>,
    /// `request_id`, `tags`, `policy`, `route`, `selected`, `model`, `engine`, `status`.
    pub(super) texts: [String; 8],
    /// `key`, `team`, `run`.
    pub(super) maybe: [Option<String>; 3],
    /// `at_ms`, `prompt_tokens`, `completion_tokens`, `cost_nanos`, `baseline_nanos`, `saved_nanos`.
    pub(super) numbers: [i64; 6],
}

impl Stored {
    /// What is selected of a receipt's row, in the order in which rows are read.
    pub(super) const COLUMNS: &'static str = "seq, body, hash, request_id, at_ms, key, team, run, tags, policy, route, selected, model, \
        engine, status, prompt_tokens, completion_tokens, cost_nanos, baseline_nanos, saved_nanos";

    /// The first column that says something else than the receipt.
    fn changed_column(&self, receipt: &Receipt) -> Result<Option<&'static str>, LedgerError> {
        let tags = serde_json::to_string(&receipt.tags)?;
        let texts: [(&str, &str); 8] = [
            ("request_id", &receipt.request_id),
            ("tags", &tags),
            ("policy", &receipt.policy_name),
            ("route", &receipt.route),
            ("selected", &receipt.selected),
            ("model", &receipt.model),
            ("engine", &receipt.engine),
            ("status", receipt.status.as_str()),
        ];
        let maybe = [("key", &receipt.key), ("team", &receipt.team), ("run", &receipt.run)];
        let numbers = [
            ("at_ms", signed(receipt.at_ms)),
            ("prompt_tokens", signed(receipt.usage.prompt_tokens)),
            ("completion_tokens", signed(receipt.usage.completion_tokens)),
            ("cost_nanos", receipt.cost.nanos()),
            ("baseline_nanos", receipt.baseline_cost.nanos()),
            ("saved_nanos", receipt.saved.nanos()),
        ];
        let texts = self.texts.iter().zip(texts).map(|(stored, (column, said))| (column, stored == said));
        let maybe = self.maybe.iter().zip(maybe).map(|(stored, (column, said))| (column, stored == said));
        let numbers =
            self.numbers.iter().zip(numbers).map(|(stored, (column, said))| (column, *stored == said));
        Ok(texts.chain(maybe).chain(numbers).find(|(_, same)| !same).map(|(column, _)| column))
    }
}

/// A budget's limit from a moment on.
pub(super) struct Limit {
    pub(super) budget: String,
    pub(super) from_ms: u64,
    pub(super) limit: Usd,
}

/// A walk along the chain, and what it has found.
pub(super) struct Walk {
    pub(super) verdict: Verdict,
    link: Link,
    expected: Option<String>,
    seen: bool,
    spent: HashMap<Account, Usd>,
    /// What tries cost, by the receipts' numbers.
    attempts: HashMap<i64, Vec<Costly>>,
    pruned: HashSet<i64>,
}

impl Walk {
    pub(super) fn new(expected: Option<&str>) -> Walk {
        Walk {
            verdict: Verdict::default(),
            link: Link::START,
            expected: expected.map(str::to_owned),
            seen: expected.is_none(),
            spent: HashMap::new(),
            attempts: HashMap::new(),
            pruned: HashSet::new(),
        }
    }

    /// The next receipt.
    pub(super) fn take(&mut self, row: &Stored) -> Result<(), LedgerError> {
        let seq = row.seq;
        self.verdict.receipts += 1;
        if let Some(stone) = Tombstone::read(&row.body) {
            self.verdict.pruned += 1;
            self.pruned.insert(seq);
            if stone.cost.nanos() != row.numbers[3] {
                self.verdict.problem(|| {
                    format!("receipt {seq}: column cost_nanos does not agree with what was kept")
                });
            }
            self.link = row.hash.unwrap_or(self.link);
            self.spend(stone.accounts, stone.cost);
        } else {
            self.link = self.link.next(row.body.as_bytes());
            if row.hash != Some(self.link) {
                self.verdict.problem(|| {
                    format!("receipt {seq}: the chain breaks here (changed, removed or inserted rows)")
                });
                // Go on from what is stored: one break is one problem, not one for every later receipt.
                self.link = row.hash.unwrap_or(self.link);
            }
            match serde_json::from_str::<Receipt>(&row.body) {
                Ok(receipt) => {
                    if let Some(column) = row.changed_column(&receipt)? {
                        self.verdict.problem(|| {
                            format!("receipt {seq}: column {column} does not agree with the receipt")
                        });
                    }
                    let costly: Vec<Costly> = Costly::of(&receipt).collect();
                    if !costly.is_empty() {
                        self.attempts.insert(seq, costly);
                    }
                    self.spend(receipt.accounts, receipt.cost);
                }
                Err(error) => self.verdict.problem(|| format!("receipt {seq}: unreadable: {error}")),
            }
        }
        let link = self.link;
        self.seen |= self.expected.as_ref().is_some_and(|head| head.eq_ignore_ascii_case(&link.to_string()));
        Ok(())
    }

    fn spend(&mut self, accounts: Vec<Account>, cost: Usd) {
        for account in accounts {
            let sum = self.spent.entry(account).or_default();
            *sum = sum.saturating_add(cost);
        }
    }

    /// Compares what the receipts say of tries that cost something with the table of them, by receipt and number. Of a pruned receipt it
    /// is the table alone that says it.
    pub(super) fn attempts(&mut self, mut stored: Vec<(i64, Costly)>) {
        stored.sort_by_key(|(seq, costly)| (*seq, costly.number));
        let mut found: HashMap<i64, Vec<Costly>> = HashMap::new();
        for (seq, costly) in stored {
            found.entry(seq).or_default().push(costly);
        }
        found.retain(|seq, _| !self.pruned.contains(seq));
        let mut differ: Vec<i64> = found.keys().chain(self.attempts.keys()).copied().collect();
        differ.sort_unstable();
        differ.dedup();
        for seq in differ.into_iter().filter(|seq| found.get(seq) != self.attempts.get(seq)) {
            self.verdict
                .problem(|| format!("receipt {seq}: its rows in attempts do not agree with the receipt"));
        }
    }

    /// Compares what the receipts say with the windows' sums, and with the limits that were in force.
    pub(super) fn end(
        mut self,
        windows: &[(Account, Usd)],
        holds: &[HoldRow],
        limits: Vec<Limit>,
    ) -> Verdict {
        if !self.seen {
            self.verdict.problem(|| {
                "no receipt has the --head given: receipts after or before it were cut off".to_owned()
            });
        }
        self.verdict.head = self.link.to_string();
        self.sums(windows);
        self.limits(holds, limits);
        self.verdict
    }

    /// The running sums against the receipts. A window of nothing needs no sum, nor one that is only leased receipts.
    fn sums(&mut self, windows: &[(Account, Usd)]) {
        let mut found = 0;
        for (account, stored) in windows {
            let real = self.spent.get(account).copied().unwrap_or_default();
            found += usize::from(real != Usd::ZERO);
            if real != *stored {
                self.verdict.problem(|| {
                    format!(
                        "{}: the window's sum is {stored} USD, its receipts say {real} USD",
                        told(account)
                    )
                });
            }
        }
        let missing = self.spent.values().filter(|spent| **spent != Usd::ZERO).count() - found;
        if missing > 0 {
            self.verdict.problem(|| format!("{missing} budget windows have receipts but no sum"));
        }
    }

    /// Settled and held money of every window against the highest limit that was in force during it.
    fn limits(&mut self, holds: &[HoldRow], limits: Vec<Limit>) {
        let mut held: HashMap<&Account, Usd> = HashMap::new();
        for hold in holds {
            self.verdict.holds += 1;
            for account in &hold.accounts {
                let sum = held.entry(account).or_default();
                *sum = sum.saturating_add(hold.amount);
            }
        }
        let mut history: HashMap<String, Vec<(u64, Usd)>> = HashMap::new();
        for Limit { budget, from_ms, limit } in limits {
            history.entry(budget).or_default().push((from_ms, limit));
        }
        let mut accounts: Vec<&Account> = self.spent.keys().chain(held.keys().copied()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts {
            let Some(limit) =
                history.get(&account.budget).and_then(|all| highest(all, account.window_start_ms))
            else {
                self.verdict.unlimited_windows += 1;
                continue;
            };
            self.verdict.windows += 1;
            let settled = self.spent.get(account).copied().unwrap_or_default();
            let held = held.get(account).copied().unwrap_or_default();
            if settled.saturating_add(held) > limit {
                self.verdict.problem(|| {
                    format!(
                        "{}: settled {settled} + held {held} USD is above the limit {limit} USD",
                        told(account)
                    )
                });
            }
        }
    }
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
