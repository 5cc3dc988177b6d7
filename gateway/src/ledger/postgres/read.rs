//! Reading a ledger in PostgreSQL: reports, verification, export, outcomes. Each question sees the ledger as of one moment.

use std::cell::RefCell;
use std::collections::BTreeMap;

use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, IsolationLevel, Row, Transaction};
use tollgate_policies::Usd;
use tollgate_router::RouterId;

use super::{connect, migrate, unsigned};
use crate::ledger::batch::signed;
use crate::ledger::chain::Link;
use crate::ledger::moved::{self, Costly};
use crate::ledger::outcome::{Judged, Promotion, Source, Tally};
use crate::ledger::prune::Tombstone;
use crate::ledger::record::{Account, HoldRow, Receipt};
use crate::ledger::report::{Dimension, ENOUGH, Line, Question, Speed};
use crate::ledger::verify::{Limit, Stored, Verdict, Walk};
use crate::ledger::{LedgerError, Location};

type Values<'v> = Vec<&'v (dyn ToSql + Sync)>;

/// A server's ledger, opened for reading.
pub(crate) struct ServerReader(RefCell<Client>);

impl ServerReader {
    pub(crate) fn open(url: &str) -> Result<ServerReader, LedgerError> {
        let mut client = connect(url)?;
        migrate(&mut client, &Location::Server(url.to_owned()).to_string())?;
        Ok(ServerReader(RefCell::new(client)))
    }

    /// Runs `work` in one snapshot.
    fn snapshot<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut client = self.0.borrow_mut();
        let mut step = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()?;
        let done = work(&mut step)?;
        step.rollback()?;
        Ok(done)
    }

    /// Calls `each` with every row, as they come: a ledger does not fit into memory.
    pub(super) fn stream(
        &self,
        sql: &str,
        values: Values<'_>,
        mut each: impl FnMut(&Row) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        self.snapshot(|step| {
            let mut rows = step.query_raw(sql, values)?;
            while let Some(row) = rows.next()? {
                each(&row)?;
            }
            Ok(())
        })
    }

    pub(crate) fn each_receipt(
        &self,
        since_ms: Option<u64>,
        until_ms: Option<u64>,
        each: &mut dyn FnMut(i64, &str, Link) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let (since, until) = (signed(since_ms.unwrap_or(0)), signed(until_ms.unwrap_or(u64::MAX)));
        let pruned = format!("{}%", Tombstone::PREFIX);
        let sql = "SELECT seq, body, hash FROM receipts WHERE at_ms >= $1 AND at_ms < $2 AND body NOT LIKE $3 ORDER BY seq";
        self.stream(sql, vec![&since, &until, &pruned], |row| {
            each(row.get(0), row.get(1), Link::from_slice(row.get(2)).unwrap_or(Link::START))
        })
    }

    pub(crate) fn verify(&self, expected: Option<&str>) -> Result<Verdict, LedgerError> {
        let mut walk = Walk::new(expected);
        self.snapshot(|step| {
            let sql = format!("SELECT {} FROM receipts ORDER BY seq", Stored::COLUMNS);
            let mut rows = step.query_raw(&sql, Values::new())?;
            while let Some(row) = rows.next()? {
                walk.take(&stored(&row))?;
            }
            drop(rows);
            let attempts = step.query(&format!("SELECT {} FROM attempts", Costly::COLUMNS), &[])?;
            walk.attempts(attempts.iter().map(costly).collect());
            let end = step.query_one("SELECT hash FROM chain", &[])?;
            let rows = step.query(
                "SELECT budget, subject, window_start_ms, settled_nanos, leased_nanos FROM windows",
                &[],
            )?;
            let windows: Vec<(Account, Usd)> =
                rows.iter().map(|row| (account(row, 0), Usd::from_nanos(row.get(3)))).collect();
            let leased: String =
                step.query_one("SELECT coalesce(sum(amount_nanos), 0)::text FROM leases", &[])?.get(0);
            let granted: i128 = rows.iter().map(|row| i128::from(row.get::<_, i64>(4))).sum();
            if leased != granted.to_string() {
                walk.verdict
                    .problem(|| format!("leases come to {leased} nanodollars, windows say {granted}"));
            }
            let holds = step.query("SELECT body FROM holds", &[])?;
            let holds = holds
                .iter()
                .map(|row| Ok(serde_json::from_str(row.get(0))?))
                .collect::<Result<Vec<HoldRow>, LedgerError>>()?;
            let limits = step.query("SELECT budget, from_ms, limit_nanos FROM limits ORDER BY id", &[])?;
            let limits = limits.iter().map(|row| Limit {
                budget: row.get(0),
                from_ms: unsigned(row.get(1)),
                limit: Usd::from_nanos(row.get(2)),
            });
            let verdict = walk.end(&windows, &holds, limits.collect());
            let mut verdict = verdict;
            if verdict.receipts > 0
                && Link::from_slice(end.get(0)).map(|link| link.to_string()).as_ref() != Some(&verdict.head)
            {
                verdict.problem(|| {
                    "the chain's end is not the last receipt's: receipts were cut off".to_owned()
                });
            }
            Ok(verdict)
        })
    }

    pub(crate) fn lines(&self, question: &Question) -> Result<Vec<Line>, LedgerError> {
        let (since, until) =
            (signed(question.since_ms.unwrap_or(0)), signed(question.until_ms.unwrap_or(u64::MAX)));
        let mut values: Values<'_> = vec![&since, &until];
        let mut columns = String::new();
        for dimension in &question.by {
            if let Dimension::Tag(name) = dimension {
                values.push(name);
            }
            columns.push_str(&sql(dimension, values.len()));
            columns.push_str(", ");
        }
        let count = question.by.len();
        let places: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
        let group = if count == 0 { String::new() } else { format!("GROUP BY {}", places.join(", ")) };
        let time = question.by.iter().position(Dimension::is_time);
        let order = match time {
            Some(place) => (place + 1).to_string(),
            None if count == 0 => "1".to_owned(),
            None => "cost DESC, 1".to_owned(),
        };
        // Saturating, as the windows' sums are.
        let sum = |column: &str| {
            format!(
                "greatest(least(coalesce(sum({column}), 0), 9223372036854775807), -9223372036854775807)::bigint"
            )
        };
        let statement = format!(
            "SELECT {columns} count(*), {}, {}, {} AS cost, {}, {} FROM receipts WHERE at_ms >= $1 AND at_ms < $2 {group} ORDER BY {order}",
            sum("prompt_tokens"),
            sum("completion_tokens"),
            sum("cost_nanos"),
            sum("baseline_nanos"),
            sum("saved_nanos"),
        );
        let rows = self.0.borrow_mut().query(&statement, &values)?;
        let lines = rows.iter().map(|row| {
            let number = |index: usize| unsigned(row.get(index));
            Line {
                group: (0..count).map(|index| row.get(index)).collect(),
                requests: number(count),
                prompt_tokens: number(count + 1),
                completion_tokens: number(count + 2),
                cost_usd: Usd::from_nanos(row.get(count + 3)),
                baseline_usd: Usd::from_nanos(row.get(count + 4)),
                saved_usd: Usd::from_nanos(row.get(count + 5)),
            }
        });
        // Without receipts there is no line, as in a file.
        let mut lines = lines.filter(|line| line.requests > 0).collect();
        if moved::concerns(question) {
            let sum = sum("cost_nanos");
            let statement = format!(
                "SELECT {columns} {sum} FROM {} WHERE at_ms >= $1 AND at_ms < $2 GROUP BY {}",
                moved::MOVES,
                places.join(", ")
            );
            let rows = self.0.borrow_mut().query(&statement, &values)?;
            let moves = rows.iter().map(|row| {
                ((0..count).map(|index| row.get(index)).collect(), Usd::from_nanos(row.get(count)))
            });
            moved::apply(&mut lines, moves.collect(), question);
        }
        Ok(lines)
    }

    pub(crate) fn hours(&self, since_ms: u64, until_ms: u64) -> Result<[f64; 24], LedgerError> {
        let mut hours = [0.0; 24];
        let rows = self.0.borrow_mut().query(
            "SELECT at_ms / 3600000 % 24, count(*) FROM receipts WHERE at_ms >= $1 AND at_ms < $2 GROUP BY 1",
            &[&signed(since_ms), &signed(until_ms)],
        )?;
        for row in &rows {
            let hour = usize::try_from(row.get::<_, i64>(0)).unwrap_or(usize::MAX);
            if let Some(place) = hours.get_mut(hour) {
                *place = row.get::<_, i64>(1) as f64;
            }
        }
        Ok(hours)
    }

    pub(crate) fn speeds(
        &self,
        since_ms: Option<u64>,
        until_ms: Option<u64>,
    ) -> Result<Vec<Speed>, LedgerError> {
        let rows = self.0.borrow_mut().query(
            "SELECT model, sum(completion_tokens)::float8, sum((body::jsonb #>> '{timings,total_ms}')::bigint)::float8 FROM receipts \
             WHERE at_ms >= $1 AND at_ms < $2 AND completion_tokens > 0 AND body NOT LIKE $3 AND seq % \
             (SELECT greatest(count(*) / $4::bigint, 1) FROM receipts WHERE at_ms >= $1 AND at_ms < $2) = 0 GROUP BY model",
            &[
                &signed(since_ms.unwrap_or(0)),
                &signed(until_ms.unwrap_or(u64::MAX)),
                &format!("{}%", Tombstone::PREFIX),
                &ENOUGH,
            ],
        )?;
        let speed = |row: &Row| {
            let (tokens, ms): (f64, f64) = (row.get(1), row.get(2));
            Speed { model: row.get(0), tokens_per_second: tokens * 1000.0 / ms.max(1.0) }
        };
        Ok(rows.iter().map(speed).collect())
    }

    pub(crate) fn receipt(&self, request_id: &str) -> Result<Option<Receipt>, LedgerError> {
        let row = self
            .0
            .borrow_mut()
            .query_opt("SELECT body FROM receipts WHERE request_id = $1", &[&request_id])?;
        Ok(row.map(|row| serde_json::from_str(row.get(0))).transpose()?)
    }

    pub(crate) fn judged(&self, newest: usize) -> Result<Vec<Judged>, LedgerError> {
        let rows = self.0.borrow_mut().query(
            "SELECT request_id, at_ms, policy, model, source, good, propensity, choice FROM outcomes ORDER BY seq DESC LIMIT $1",
            &[&signed(newest as u64)],
        )?;
        let read = |row: &Row| {
            let choice: Option<String> = row.get(7);
            Ok(Judged {
                request_id: row.get(0),
                at_ms: unsigned(row.get(1)),
                policy: row.get(2),
                model: row.get(3),
                source: Source::read(row.get(4)),
                good: row.get(5),
                propensity: row.get(6),
                choice: choice.map(|choice| serde_json::from_str(&choice)).transpose()?,
            })
        };
        rows.iter().rev().map(read).collect()
    }

    pub(crate) fn tallies(&self) -> Result<Vec<Tally>, LedgerError> {
        let sql = "SELECT model, source, good, count(*) FROM outcomes GROUP BY 1, 2, 3 ORDER BY 1";
        let rows = self.0.borrow_mut().query(sql, &[])?;
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for row in &rows {
            let model: String = row.get(0);
            let empty = || Tally { model: model.clone(), good: BTreeMap::new(), bad: BTreeMap::new() };
            let tally = tallies.entry(model.clone()).or_insert_with(empty);
            let side = if row.get(2) { &mut tally.good } else { &mut tally.bad };
            side.insert(row.get(1), unsigned(row.get(3)));
        }
        Ok(tallies.into_values().collect())
    }

    pub(crate) fn promotion(&self, router: RouterId) -> Result<Option<Promotion>, LedgerError> {
        let sql = "SELECT at_ms, configured, abilities, trial FROM promotions WHERE router = $1 ORDER BY id DESC LIMIT 1";
        let Some(row) = self.0.borrow_mut().query_opt(sql, &[&router.to_string()])? else { return Ok(None) };
        Ok(Some(Promotion {
            at_ms: unsigned(row.get(0)),
            router,
            configured: serde_json::from_str(row.get(1))?,
            abilities: serde_json::from_str(row.get(2))?,
            trial: row.get(3),
        }))
    }

    pub(crate) fn promotions_besides(&self, router: RouterId) -> Result<u64, LedgerError> {
        let sql = "SELECT count(*) FROM promotions WHERE router IS DISTINCT FROM $1";
        Ok(unsigned(self.0.borrow_mut().query_one(sql, &[&router.to_string()])?.get(0)))
    }
}

/// What a dimension groups by; a tag's name is bound as parameter `number`.
fn sql(dimension: &Dimension, number: usize) -> String {
    let time = |format: &str| format!("to_char(to_timestamp(at_ms / 1000) AT TIME ZONE 'UTC', '{format}')");
    match dimension {
        Dimension::Key => "coalesce((SELECT name FROM keys WHERE keys.id = receipts.key), key)".to_owned(),
        Dimension::Hour => time("YYYY-MM-DD HH24:00"),
        Dimension::Day => time("YYYY-MM-DD"),
        Dimension::Tag(_) => format!("tags::jsonb ->> ${number}"),
        column => column.heading(),
    }
}

fn costly(row: &Row) -> (i64, Costly) {
    let cost = Usd::from_nanos(row.get(4));
    (row.get(0), Costly { number: row.get(1), model: row.get(2), engine: row.get(3), cost })
}

pub(super) fn account(row: &Row, first: usize) -> Account {
    Account {
        budget: row.get(first),
        subject: row.get(first + 1),
        window_start_ms: unsigned(row.get(first + 2)),
    }
}

fn stored(row: &Row) -> Stored {
    Stored {
        seq: row.get(0),
        body: row.get(1),
        hash: Link::from_slice(row.get(2)),
        texts: [
            row.get(3),
            row.get(8),
            row.get(9),
            row.get(10),
            row.get(11),
            row.get(12),
            row.get(13),
            row.get(14),
        ],
        maybe: [row.get(5), row.get(6), row.get(7)],
        numbers: [row.get(4), row.get(15), row.get(16), row.get(17), row.get(18), row.get(19)],
    }
}
