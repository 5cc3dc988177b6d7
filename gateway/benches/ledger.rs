//! How much the ledger takes: receipts per second with group commit, and how long reports, a start, verification and a
//! replay take over them. `make bench-ledger`; with `ARGS="COUNT postgres://…"` in an empty database of a server's.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tollgate::config::{catalog, demo_models};
use tollgate::ledger::{
    Account, Asked, Dimension, End, Ledger, Location, Question, Reader, Receipt, Timings,
};
use tollgate::replay::{Pair, Replay, World};
use tollgate_policies::{Shape, Usage, Usd, check};
use tollgate_router::Catalog;

/// Requests under way at once.
const TASKS: u64 = 256;
/// A day holds this many, so that a report by day has lines.
const A_DAY: u64 = 40_000;
/// Receipts that are replayed.
const REPLAYED: u64 = 100_000;
const POLICY: &str = r#"
[policy]
name = "bench"
baseline = "large"
[objective]
quality = 0.95
pace = true
[[rule]]
name = "hard work"
when = 'domain in ["math", "code"] && difficulty > 0.5'
quality = 1.0
[[budget]]
name = "teams"
scope = "team"
limit_usd = 2.0
window = "1d"
"#;
const DAY_MS: u64 = 86_400_000;
/// When the first one was, Unix milliseconds.
const BEGAN_MS: u64 = 1_780_272_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo bench` adds arguments of its own.
    let count = std::env::args().find_map(|text| text.parse().ok()).unwrap_or(1_000_000);
    let server = std::env::args().find(|text| text.starts_with("postgres"));
    if let Some(url) = server {
        return measure(&Location::of_url(&url, Path::new(""))?, count);
    }
    let folder = std::env::temp_dir().join(format!("tollgate-bench-ledger-{}", std::process::id()));
    let measured = measure(&Location::File(folder.join("ledger.db")), count);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(place: &Location, count: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    let (ledger, _) = Ledger::open(place)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    let took = runtime.block_on(fill(&ledger, count))?;
    writeln!(out, "{count} receipts at {:.0} a second, {TASKS} at once", count as f64 / took.as_secs_f64())?;
    runtime.block_on(ledger.close())?;
    if let Location::File(path) = place {
        let bytes = std::fs::metadata(path)?.len();
        writeln!(out, "the file has {:.0} bytes a receipt", bytes as f64 / count as f64)?;
    }
    let began = Instant::now();
    let (ledger, recovery) = Ledger::open(place)?;
    writeln!(out, "start {:.3} s, {} budget windows", began.elapsed().as_secs_f64(), recovery.settled.len())?;
    runtime.block_on(ledger.close())?;
    for by in ["model", "team", "key", "run", "route", "day", "hour", "tag.env"] {
        let question = Question { by: vec![by.parse::<Dimension>()?], ..Question::default() };
        let began = Instant::now();
        let report = Reader::open(place)?.report(&question)?;
        writeln!(
            out,
            "report --by {by} {:.3} s, {} lines",
            began.elapsed().as_secs_f64(),
            report.lines.len()
        )?;
    }
    let began = Instant::now();
    let verdict = Reader::open(place)?.verify(None)?;
    let whole = if verdict.is_whole() { "whole" } else { "NOT whole" };
    writeln!(out, "verify {:.1} s, {whole}", began.elapsed().as_secs_f64())?;
    let began = Instant::now();
    let pair = replay(place)?;
    writeln!(
        out,
        "replay of {} receipts {:.1} s, {} move",
        pair.before.answered,
        began.elapsed().as_secs_f64(),
        pair.moved
    )?;
    Ok(())
}

/// Replays the first receipts through a policy with a rule, a budget and pacing.
fn replay(place: &Location) -> Result<Pair, Box<dyn std::error::Error>> {
    let (reader, until) = (Reader::open(place)?, BEGAN_MS + REPLAYED * DAY_MS / A_DAY);
    let policy = check("bench.toml", POLICY, None).map_err(|problems| problems.to_string())?;
    let mut models = catalog(&demo_models(), "large").models().to_vec();
    models[0].name = "small".to_owned();
    let world = World {
        catalog: Catalog::new(models),
        tolerance: Arc::default(),
        speeds: reader.speeds(None, Some(until))?,
        keys: HashMap::new(),
        daily: Shape::of(reader.hours(0, until)?),
    };
    let (mut replay, mut pair) = (Replay::new(&world, &policy), Pair::new("recorded", "bench"));
    reader.each_receipt(None, Some(until), |_, body, _| {
        let receipt: Receipt = serde_json::from_str(body)?;
        if let Some(asked) = &receipt.asked {
            pair.take(Vec::new(), &world.recorded(&receipt, asked), &replay.take(&receipt, asked));
        }
        Ok(())
    })?;
    pair.finish();
    Ok(pair)
}

/// Settles this many receipts, each as a request does: it waits for its own to be committed.
async fn fill(ledger: &Ledger, count: u64) -> Result<Duration, Box<dyn std::error::Error>> {
    let ledger = Arc::new(ledger.clone());
    let (mut tasks, began) = (JoinSet::new(), Instant::now());
    for task in 0..TASKS {
        let ledger = Arc::clone(&ledger);
        tasks.spawn(async move {
            for number in (task..count).step_by(TASKS as usize) {
                let _unwritten = ledger.begin()?;
                ledger.settle(End { held: false, receipt: Box::new(receipt(number)), content: None }).await?;
            }
            Ok::<(), tollgate::ledger::LedgerError>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(began.elapsed())
}

fn receipt(number: u64) -> Receipt {
    let at_ms = BEGAN_MS + number * DAY_MS / A_DAY;
    let small = !number.is_multiple_of(5);
    let (model, nanos) = if small { ("small", 41_000) } else { ("large", 1_730_000) };
    let day = at_ms / DAY_MS * DAY_MS;
    let account = |budget: &str, subject: &str| Account {
        budget: budget.to_owned(),
        subject: subject.to_owned(),
        window_start_ms: day,
    };
    let team = format!("team-{}", number % 7);
    Receipt {
        request_id: format!("req_{number:032x}"),
        at_ms,
        key: Some(format!("key_{}", number % 40)),
        run: Some(format!("run-{}", number / 20)),
        tags: [("env".to_owned(), "prod".to_owned())].into(),
        policy_name: "default".to_owned(),
        policy_sha: "0".repeat(64),
        price_version: "0123456789abcdef".to_owned(),
        route: "objective".to_owned(),
        reason: "p(good) 0.91 reaches the wanted 0.87, best by cost and time of 2 that do".to_owned(),
        domain: "chat".to_owned(),
        difficulty: Some(0.31),
        p_small: Some(0.82),
        p_large: Some(0.91),
        propensity: 1.0,
        selected: model.to_owned(),
        model: model.to_owned(),
        engine: model.to_owned(),
        http_status: 200,
        usage: Usage { prompt_tokens: 310, completion_tokens: 120, ..Usage::default() },
        estimate: Usd::from_nanos(nanos),
        held: Usd::from_nanos(nanos * 4),
        cost: Usd::from_nanos(nanos),
        baseline_cost: Usd::from_nanos(1_730_000),
        saved: Usd::from_nanos(1_730_000 - nanos),
        accounts: vec![account("all", ""), account("teams", &team)],
        team: Some(team),
        timings: Timings {
            overhead_us: 190,
            score_us: 40,
            total_ms: 900,
            ttft_ms: Some(90),
            ..Timings::default()
        },
        asked: Some(Asked {
            model: "auto".to_owned(),
            prompt_tokens: 300,
            prompt_tokens_upper: 420,
            max_tokens: 1024,
            choices: 1,
            turns: 1,
            familiar: true,
            output_tokens: (110, 300),
            ..Asked::default()
        }),
        ..Receipt::default()
    }
}
