//! `tollgate ledger`: what was spent, proof that the record is whole, and the record itself.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tollgate::ledger::{Dimension, Exported, Line, Question, Reader, ReceiptStatus, Report, Wanted};

use super::outcomes::OutcomesArgs;
use super::output;
use super::page;
use super::prune::PruneArgs;
use super::time::{self, Moment};
use super::{CliError, Place};

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Spend by any dimension over any span of time.
    Report(ReportArgs),
    /// Prove that the receipts' chain is whole and that no budget window is over its limit; exit 1 if not.
    Verify(VerifyArgs),
    /// Write the receipts as JSON lines or CSV.
    Export(ExportArgs),
    /// Forget who asked, by age, run or key; what was spent stays.
    Prune(PruneArgs),
    /// Answers judged so far, and what they say of the models' abilities.
    Outcomes(OutcomesArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Group by model, engine, team, key, run, route, policy, status, hour, day or tag.NAME; several, joined by commas.
    #[arg(long, value_name = "DIMENSION", value_delimiter = ',', default_value = "model")]
    by: Vec<Dimension>,
    /// Only from then on: a date, a time, or an age such as 24h.
    #[arg(long, value_name = "WHEN", value_parser = time::past)]
    since: Option<Moment>,
    /// Only before then.
    #[arg(long, value_name = "WHEN", value_parser = time::past)]
    until: Option<Moment>,
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV.
    #[arg(long)]
    csv: bool,
    /// Print one self-contained HTML page, with a chart and tables by model, team, key, route and what is asked for.
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    html: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A chain end printed by an earlier verify: proves that nothing up to it was cut off.
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// CSV instead of JSON lines.
    #[arg(long)]
    csv: bool,
    /// Charges by hour, model, team and key, as CSV in the columns of FOCUS, which FinOps tools read.
    #[arg(long, conflicts_with = "csv")]
    focus: bool,
    /// Conversations for fine-tuning, as JSON lines in ShareGPT's form; kept only under `[content]` of the configuration.
    #[arg(long, conflicts_with_all = ["csv", "focus"])]
    sharegpt: bool,
    /// Of those, the ones that ended so: escalated, ok, fallback, or all.
    #[arg(long, value_name = "STATUS", default_value = "escalated", requires = "sharegpt", value_parser = status)]
    status: Status,
    /// Of those, the ones that this model answered.
    #[arg(long, value_name = "MODEL", requires = "sharegpt")]
    model: Option<String>,
    /// Only from then on: a date, a time, or an age such as 24h.
    #[arg(long, value_name = "WHEN", value_parser = time::past)]
    since: Option<Moment>,
    /// Write here instead of to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// How exported conversations ended; `None` = in any way.
#[derive(Debug, Clone)]
struct Status(Option<ReceiptStatus>);

fn status(word: &str) -> Result<Status, String> {
    let answered = [ReceiptStatus::Escalated, ReceiptStatus::Ok, ReceiptStatus::Fallback];
    match answered.into_iter().find(|status| status.as_str() == word) {
        Some(status) => Ok(Status(Some(status))),
        None if word == "all" => Ok(Status(None)),
        None => Err("it is one of escalated, ok, fallback, all".to_owned()),
    }
}

impl Ledger {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Ledger::Report(command) => command.run(),
            Ledger::Verify(command) => command.run(),
            Ledger::Export(command) => command.run(),
            Ledger::Prune(command) => command.run(),
            Ledger::Outcomes(command) => command.run(),
        }
    }
}

impl ReportArgs {
    fn run(self) -> Result<ExitCode, CliError> {
        if self.html {
            return self.page();
        }
        let heads: Vec<String> = self.by.iter().map(Dimension::heading).collect();
        let question = Question {
            by: self.by,
            since_ms: self.since.map(|at| at.0),
            until_ms: self.until.map(|at| at.0),
        };
        let report = Reader::open(&self.place.ledger()?)?.report(&question)?;
        if self.json {
            output::json(&JsonReport { by: &heads, report: &report })?;
        } else if self.csv {
            csv_report(&heads, &report)?;
        } else if report.lines.is_empty() {
            output::line("There are no receipts in that time.")?;
        } else {
            output::line(&table_report(&heads, &report))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl ReportArgs {
    fn page(self) -> Result<ExitCode, CliError> {
        let ledger = Reader::open(&self.place.ledger()?)?;
        let (since_ms, until_ms) = (self.since.map(|at| at.0), self.until.map(|at| at.0));
        let report = |by: Vec<Dimension>| ledger.report(&Question { by, since_ms, until_ms });
        let by_day = report(vec![Dimension::Day, Dimension::Model])?;
        let mut wanted =
            vec![vec![Dimension::Model], vec![Dimension::Team], vec![Dimension::Key], vec![Dimension::Route]];
        if !wanted.contains(&self.by) {
            wanted.insert(0, self.by);
        }
        let mut tables = Vec::new();
        for by in wanted {
            let heads: Vec<String> = by.iter().map(Dimension::heading).collect();
            tables.push((heads.join(", "), report(by)?));
        }
        let told = |at: Option<Moment>, word: &str| at.map(|at| format!("{word} {}", time::shown(at.0)));
        let span =
            [told(self.since, "since"), told(self.until, "until")].into_iter().flatten().collect::<Vec<_>>();
        let span = if span.is_empty() { "of all time".to_owned() } else { span.join(", ") };
        output::line(page::page(&span, &by_day, &tables).trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(serde::Serialize)]
struct JsonReport<'r> {
    by: &'r [String],
    #[serde(flatten)]
    report: &'r Report,
}

const FIGURES: [&str; 6] =
    ["requests", "prompt_tokens", "completion_tokens", "cost_usd", "baseline_usd", "saved_usd"];

fn figures(line: &Line) -> [String; 6] {
    [
        line.requests.to_string(),
        line.prompt_tokens.to_string(),
        line.completion_tokens.to_string(),
        line.cost_usd.to_string(),
        line.baseline_usd.to_string(),
        line.saved_usd.to_string(),
    ]
}

fn cells(line: &Line, width: usize, absent: &str) -> Vec<String> {
    let group = (0..width).map(|index| {
        let value = line.group.get(index).cloned().flatten().filter(|value| !value.is_empty());
        value.unwrap_or_else(|| absent.to_owned())
    });
    group.chain(figures(line)).collect()
}

fn table_report(heads: &[String], report: &Report) -> String {
    let head: Vec<&str> = heads.iter().map(String::as_str).chain(FIGURES).collect();
    let mut rows: Vec<Vec<String>> = report.lines.iter().map(|line| cells(line, heads.len(), "-")).collect();
    let mut total = cells(&report.total, heads.len(), "");
    if let Some(first) = total.first_mut() {
        "total".clone_into(first);
    }
    rows.push(total);
    output::table(&head, heads.len(), rows).to_string()
}

fn csv_report(heads: &[String], report: &Report) -> Result<(), CliError> {
    let mut table = csv::Writer::from_writer(std::io::stdout().lock());
    let head = heads.iter().map(String::as_str).chain(FIGURES);
    let mut written = table.write_record(head);
    for line in &report.lines {
        written = written.and_then(|()| table.write_record(cells(line, heads.len(), "")));
    }
    let flushed = table.flush();
    output::done(written.map_err(std::io::Error::from).and(flushed))
}

impl VerifyArgs {
    fn run(self) -> Result<ExitCode, CliError> {
        let verdict = Reader::open(&self.place.ledger()?)?.verify(self.head.as_deref())?;
        if self.json {
            output::json(&verdict)?;
        } else {
            for problem in &verdict.told {
                output::line(&format!("WRONG  {problem}"))?;
            }
            let more = verdict.problems - verdict.told.len() as u64;
            if more > 0 {
                output::line(&format!("WRONG  and {more} more problems"))?;
            }
            output::line(&format!(
                "{} receipts ({} pruned), {} budget windows checked against their limits, {} without a recorded limit, {} holds in \
                 flight\nchain end {}\n{}",
                verdict.receipts,
                verdict.pruned,
                verdict.windows,
                verdict.unlimited_windows,
                verdict.holds,
                verdict.head,
                if verdict.is_whole() { "the ledger is whole" } else { "the ledger is NOT whole" }
            ))?;
        }
        Ok(if verdict.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl ExportArgs {
    fn run(self) -> Result<ExitCode, CliError> {
        let ledger = Reader::open(&self.place.ledger()?)?;
        let mut out: Box<dyn Write> = match &self.out {
            Some(path) => {
                let file = File::create(path)
                    .map_err(|source| CliError::Io { what: path.display().to_string(), source })?;
                Box::new(BufWriter::new(file))
            }
            None => Box::new(BufWriter::new(std::io::stdout().lock())),
        };
        let since = self.since.map(|at| at.0);
        if self.sharegpt {
            let wanted = Wanted { since_ms: since, status: self.status.0, model: self.model };
            let exported = ledger.export_sharegpt(&wanted, &mut out)?;
            let Exported { written, left_out } = exported;
            output::complain(&format!(
                "{written} conversations written, {left_out} left out (tools, images)"
            ));
            if exported == Exported::default() {
                output::complain(
                    "none are kept: [content] keep = \"escalated\" in the configuration keeps those to come",
                );
            }
            return Ok(ExitCode::SUCCESS);
        }
        let exported = match (self.csv, self.focus) {
            (_, true) => ledger.export_focus(since, &mut out),
            (true, false) => ledger.export_csv(since, &mut out),
            (false, false) => ledger.export_json(since, &mut out),
        };
        match exported {
            Err(tollgate::ledger::LedgerError::Io { source, .. }) => output::done(Err(source))?,
            other => other?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
