//! Spend, grouped by any dimension over any span of time.
//!
//! Sums are made by SQLite over whole nanodollars; no float is involved before a figure is shown.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde::Serialize;
use tollgate_policies::Usd;

use super::batch::signed;
use super::error::LedgerError;
use super::moved;
use super::reader::{Database, Reader};
use super::record::Receipt;
use super::stretch::{self, SPAN};

/// As many answers say how fast models are; to read all of a long time's takes longer than to replay them.
pub(super) const ENOUGH: i64 = 50_000;

/// What receipts can be grouped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// Model that served.
    Model,
    /// Engine that served.
    Engine,
    /// Team charged.
    Team,
    /// Virtual key.
    Key,
    /// Agent run.
    Run,
    /// Rule or `objective`.
    Route,
    /// Policy that decided.
    Policy,
    /// How the request ended.
    Status,
    /// Hour in UTC.
    Hour,
    /// Day in UTC.
    Day,
    /// The value of a tag.
    Tag(String),
}

/// A word that is no dimension.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not one of model, engine, team, key, run, route, policy, status, hour, day, tag.NAME")]
pub struct NotADimension(String);

impl FromStr for Dimension {
    type Err = NotADimension;

    fn from_str(word: &str) -> Result<Dimension, NotADimension> {
        Ok(match word {
            "model" => Dimension::Model,
            "engine" => Dimension::Engine,
            "team" => Dimension::Team,
            "key" => Dimension::Key,
            "run" => Dimension::Run,
            "route" => Dimension::Route,
            "policy" => Dimension::Policy,
            "status" => Dimension::Status,
            "hour" => Dimension::Hour,
            "day" => Dimension::Day,
            _ => match word.strip_prefix("tag.").filter(|name| !name.is_empty()) {
                Some(name) => Dimension::Tag(name.to_owned()),
                None => return Err(NotADimension(word.to_owned())),
            },
        })
    }
}

impl Dimension {
    /// Whether it is a span of time: those read from the first to the last, everything else from the dearest to the cheapest.
    #[must_use]
    pub fn is_time(&self) -> bool {
        matches!(self, Dimension::Day | Dimension::Hour)
    }

    /// The heading of its column.
    #[must_use]
    pub fn heading(&self) -> String {
        match self {
            Dimension::Tag(name) => format!("tag.{name}"),
            fixed => format!("{fixed:?}").to_lowercase(),
        }
    }

    /// What a receipt is grouped under; a key by its id.
    #[must_use]
    pub fn of(&self, receipt: &Receipt) -> Option<String> {
        let time = |format: &str| {
            let at = Timestamp::from_millisecond(signed(receipt.at_ms)).ok()?;
            Some(at.strftime(format).to_string())
        };
        match self {
            Dimension::Model => Some(receipt.model.clone()),
            Dimension::Engine => Some(receipt.engine.clone()),
            Dimension::Team => receipt.team.clone(),
            Dimension::Key => receipt.key.clone(),
            Dimension::Run => receipt.run.clone(),
            Dimension::Route => Some(receipt.route.clone()),
            Dimension::Policy => Some(receipt.policy_name.clone()),
            Dimension::Status => Some(receipt.status.as_str().to_owned()),
            Dimension::Hour => time("%Y-%m-%d %H:00"),
            Dimension::Day => time("%Y-%m-%d"),
            Dimension::Tag(name) => receipt.tags.get(name).cloned(),
        }
    }

    /// The SQL it groups by; a tag's name is bound as parameter `number`.
    fn sql(&self, number: usize) -> String {
        match self {
            Dimension::Model => "model".to_owned(),
            Dimension::Engine => "engine".to_owned(),
            Dimension::Team => "team".to_owned(),
            Dimension::Key => {
                "coalesce((SELECT name FROM keys WHERE keys.id = receipts.key), key)".to_owned()
            }
            Dimension::Run => "run".to_owned(),
            Dimension::Route => "route".to_owned(),
            Dimension::Policy => "policy".to_owned(),
            Dimension::Status => "status".to_owned(),
            Dimension::Hour => "strftime('%Y-%m-%d %H:00', at_ms / 1000, 'unixepoch')".to_owned(),
            Dimension::Day => "strftime('%Y-%m-%d', at_ms / 1000, 'unixepoch')".to_owned(),
            Dimension::Tag(_) => {
                format!("(SELECT value FROM json_each(tags) WHERE json_each.key = ?{number})")
            }
        }
    }
}

/// Which receipts, and grouped how.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Outermost first; none = one line for everything.
    pub by: Vec<Dimension>,
    /// From this moment on, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Before this moment, Unix milliseconds.
    pub until_ms: Option<u64>,
}

/// How fast a model answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// Its name.
    pub model: String,
    /// Tokens of its answers over the time they took from the first byte of the request to the last of the answer.
    pub tokens_per_second: f64,
}

/// One line of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// A value for each dimension asked for; `None` where a receipt has none.
    pub group: Vec<Option<String>>,
    /// Receipts.
    pub requests: u64,
    /// Their prompt tokens.
    pub prompt_tokens: u64,
    /// Their completion tokens.
    pub completion_tokens: u64,
    /// Money charged.
    pub cost_usd: Usd,
    /// What the baseline would have cost.
    pub baseline_usd: Usd,
    /// The difference.
    pub saved_usd: Usd,
}

/// A report: its lines, dearest first, and their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The groups.
    pub lines: Vec<Line>,
    /// All of them together.
    pub total: Line,
}

impl Reader {
    /// How fast each model answered: of a long time, by some fifty thousand of its answers, spread evenly.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn speeds(&self, since_ms: Option<u64>, until_ms: Option<u64>) -> Result<Vec<Speed>, LedgerError> {
        let db = match self.database() {
            Database::Server(server) => return server.speeds(since_ms, until_ms),
            Database::File(db) => db,
        };
        let mut query = db.prepare(&format!(
            "SELECT model, sum(completion_tokens), sum(json_extract(body, '$.timings.total_ms')) FROM receipts \
             WHERE {SPAN} AND seq % ?3 = 0 AND completion_tokens > 0 AND json_extract(body, '$.timings') NOT NULL \
             GROUP BY model",
        ))?;
        let [since, until] = [signed(since_ms.unwrap_or(0)), signed(until_ms.unwrap_or(u64::MAX))];
        let each = (stretch::receipts_in(db, since, until)? / ENOUGH).max(1);
        let speeds = query.query_map([since, until, each], |row| {
            let (tokens, ms): (f64, f64) = (row.get(1)?, row.get(2)?);
            Ok(Speed { model: row.get(0)?, tokens_per_second: tokens * 1000.0 / ms.max(1.0) })
        })?;
        Ok(speeds.collect::<rusqlite::Result<_>>()?)
    }

    /// Receipts in each hour of the day, in UTC, from one moment to another.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn hours(&self, since_ms: u64, until_ms: u64) -> Result<[f64; 24], LedgerError> {
        let db = match self.database() {
            Database::Server(server) => return server.hours(since_ms, until_ms),
            Database::File(db) => db,
        };
        let mut hours = [0.0; 24];
        let mut query = db.prepare(&format!(
            "SELECT at_ms / 3600000 % 24, count(*) FROM receipts WHERE {SPAN} GROUP BY 1",
        ))?;
        let mut rows = query.query([signed(since_ms), signed(until_ms)])?;
        while let Some(row) = rows.next()? {
            let (hour, count): (u16, u32) = (row.get(0)?, row.get(1)?);
            if let Some(place) = hours.get_mut(usize::from(hour)) {
                *place = f64::from(count);
            }
        }
        Ok(hours)
    }

    /// Answers a question about spend.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn report(&self, question: &Question) -> Result<Report, LedgerError> {
        let lines = match self.database() {
            Database::Server(server) => server.lines(question),
            Database::File(db) => grouped(db, question),
        };
        let lines = lines.map_err(|error| self.explained(error))?;
        let mut report = Report { lines, total: Line::default() };
        let sum = |add: fn(&Line) -> Usd| {
            report.lines.iter().fold(Usd::ZERO, |sum, line| sum.saturating_add(add(line)))
        };
        report.total = Line {
            group: Vec::new(),
            requests: report.lines.iter().map(|line| line.requests).sum(),
            prompt_tokens: report.lines.iter().map(|line| line.prompt_tokens).sum(),
            completion_tokens: report.lines.iter().map(|line| line.completion_tokens).sum(),
            cost_usd: sum(|line| line.cost_usd),
            baseline_usd: sum(|line| line.baseline_usd),
            saved_usd: sum(|line| line.saved_usd),
        };
        Ok(report)
    }
}

/// Lines of whole nanodollars; where sums of absurd costs do not fit, of as many as there are, nearly, up to the greatest number.
fn grouped(db: &Connection, question: &Question) -> Result<Vec<Line>, LedgerError> {
    let exact = summed(db, question, |column| format!("sum({column})"));
    match exact {
        Err(LedgerError::Database(rusqlite::Error::SqliteFailure(_, Some(said))))
            if said == "integer overflow" =>
        {
            summed(db, question, |column| format!("CAST(total({column}) AS INTEGER)"))
        }
        exact => exact,
    }
}

fn summed(
    db: &Connection,
    question: &Question,
    sum: impl Fn(&str) -> String,
) -> Result<Vec<Line>, LedgerError> {
    let mut values = vec![
        Value::Integer(signed(question.since_ms.unwrap_or(0))),
        Value::Integer(signed(question.until_ms.unwrap_or(u64::MAX))),
    ];
    let mut columns = String::new();
    for dimension in &question.by {
        if let Dimension::Tag(name) = dimension {
            values.push(Value::Text(name.clone()));
        }
        columns.push_str(&dimension.sql(values.len()));
        columns.push_str(", ");
    }
    let count = question.by.len();
    let time = question.by.iter().position(Dimension::is_time);
    let order = time.map_or_else(|| "cost DESC, 1".to_owned(), |place| (place + 1).to_string());
    let group: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    let group = if count == 0 { "'all'".to_owned() } else { group.join(", ") };
    let sql = format!(
        "SELECT {columns} count(*), sum(prompt_tokens), sum(completion_tokens), {} AS cost, {}, {} \
         FROM receipts WHERE {SPAN} GROUP BY {group} ORDER BY {order}",
        sum("cost_nanos"),
        sum("baseline_nanos"),
        sum("saved_nanos"),
    );
    let mut query = db.prepare(&sql)?;
    let lines = query.query_map(params_from_iter(&values), |row| {
        let unsigned = |index: usize| row.get::<_, i64>(index).map(|n| u64::try_from(n).unwrap_or(0));
        Ok(Line {
            group: (0..count).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?,
            requests: unsigned(count)?,
            prompt_tokens: unsigned(count + 1)?,
            completion_tokens: unsigned(count + 2)?,
            cost_usd: Usd::from_nanos(row.get(count + 3)?),
            baseline_usd: Usd::from_nanos(row.get(count + 4)?),
            saved_usd: Usd::from_nanos(row.get(count + 5)?),
        })
    })?;
    let mut lines = lines.collect::<rusqlite::Result<_>>()?;
    if moved::concerns(question) {
        let sql = format!(
            "SELECT {columns} {} FROM {} WHERE at_ms >= ?1 AND at_ms < ?2 GROUP BY {group}",
            sum("cost_nanos"),
            moved::MOVES
        );
        let mut query = db.prepare(&sql)?;
        let moves = query.query_map(params_from_iter(&values), |row| {
            let group = (0..count).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?;
            Ok((group, Usd::from_nanos(row.get(count)?)))
        })?;
        moved::apply(&mut lines, moves.collect::<rusqlite::Result<_>>()?, question);
    }
    Ok(lines)
}
