//! Pacing against a hard cut-off, on days of made-up traffic over real prompts: `make bench-pacing`.
//!
//! What is replayed: the demo models' graded prompts (`router/training/demo/outcomes.jsonl`), scored by the classifier,
//! decided by the router, held and settled in real budgets, on a clock of its own. What is made up: when they come, and
//! what the large model costs. An answer's quality is what the grader said of it, and what the router expected.

#[path = "pacing/day.rs"]
mod day;
#[path = "pacing/traffic.rs"]
mod traffic;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use tollgate::config::{catalog, demo_models};
use tollgate_engine::models::onnxruntime;
use tollgate_policies::{Usd, check};
use tollgate_router::{Scorer, Task, prompt_tokens, prompt_tokens_upper};

use day::{Day, Rules, World};
use traffic::{Prompt, SCENARIOS};

/// Days in a row: the first one knows nothing of its traffic.
const DAYS: u64 = 3;
/// What a day may cost, as a share of what it costs without a limit.
const SHARES: [f64; 2] = [0.5, 0.75];
const POLICY: &str = r#"
[policy]
name = "paced"
baseline = "large"
[objective]
quality = 0.95
pace = true
"#;

/// One graded prompt, as the file has it.
#[derive(Deserialize)]
struct Graded {
    prompt: String,
    small_ok: u8,
    large_ok: u8,
    prompt_tokens: u64,
    small_tokens: u64,
    large_tokens: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../router/training/demo/outcomes.jsonl");
    let scorer = Scorer::load(&onnxruntime()?, 1)?;
    let world = World {
        policy: check("bench.toml", POLICY, None).map_err(|problems| problems.to_string())?,
        catalog: catalog(&demo_models(), "large"),
        prompts: prompts(&file, &scorer)?,
    };
    let mut lines = Vec::new();
    for scenario in SCENARIOS {
        let free = replay(&world, scenario, Rules::FREE, Usd::MAX);
        for share in SHARES {
            let limit = Usd::from_nanos((free[0].spent.as_f64() * share * 1e9) as i64);
            for rules in [Rules::CUT_OFF, Rules::DOWNGRADE, Rules::PACED, Rules::PACED_DAILY] {
                for (day, done) in replay(&world, scenario, rules, limit).iter().enumerate() {
                    lines.push(json!({
                        "scenario": scenario.name, "share": share, "rules": rules.name, "day": day,
                        "limit_usd": limit, "free_usd": free[day].spent, "spent_usd": done.spent,
                        "of_limit": done.spent.as_f64() / limit.as_f64(), "requests": done.requests, "refused": done.refused,
                        "expected": done.expected / done.requests as f64, "graded": done.graded / done.requests as f64,
                        "free_expected": free[day].expected / free[day].requests as f64,
                        "curve": done.curve, "prices": done.prices,
                    }));
                }
            }
        }
    }
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn prompts(file: &Path, scorer: &Scorer) -> Result<Vec<Prompt>, Box<dyn std::error::Error>> {
    let mut prompts = Vec::new();
    for line in BufReader::new(File::open(file)?).lines() {
        let graded: Graded = serde_json::from_str(&line?)?;
        let score = scorer.score(&Task::prompt(&graded.prompt))?;
        prompts.push(Prompt {
            tokens: prompt_tokens([graded.prompt.as_str()]),
            tokens_upper: prompt_tokens_upper(graded.prompt.len() as u64, 1),
            good: [graded.small_ok == 1, graded.large_ok == 1],
            used: [(graded.prompt_tokens, graded.small_tokens), (graded.prompt_tokens, graded.large_tokens)],
            score,
        });
    }
    Ok(prompts)
}

/// The same days under these rules.
fn replay(world: &World, scenario: traffic::Scenario, rules: Rules, limit: Usd) -> Vec<Day> {
    let mut run = day::Run::new(world, rules, limit);
    (0..DAYS).map(|day| run.day(day, &traffic::day(scenario, &world.prompts, day))).collect()
}
