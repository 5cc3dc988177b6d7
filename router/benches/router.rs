//! What the router costs and what it says, for `make bench-router`.
//!
//! `score [CALIBRATION]` reads JSON lines (`{"prompt"}`) and writes what the classifier and the shipped default
//! policy make of each; `calibrate OUT` fits to labelled lines and prints the report; `resplit` tries the bounds on
//! losses by fitting to one half and looking at the other; `latency` prints times, memory and allocations as one JSON object. Needs ONNX Runtime's
//! library in TOLLGATE_ONNXRUNTIME. The tables are made of both by router/training/bench.py.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tollgate_policies::{PerToken, Policy, Price, TokenPrice, check, shipped};
use tollgate_router::{Calibration, Catalog, Live, Model, Needs, Score, Scorer, Task, decide, prompt_tokens};

#[path = "router/calibration.rs"]
mod calibration;
#[path = "router/latency.rs"]
mod latency;

#[derive(Deserialize)]
struct Line {
    prompt: String,
}

#[derive(Serialize)]
struct Scored {
    #[serde(flatten)]
    score: Score,
    /// Whether the default policy sends it to the small model.
    small: bool,
}

fn main() {
    let library = PathBuf::from(std::env::var_os("TOLLGATE_ONNXRUNTIME").unwrap());
    // Cargo adds its own `--bench`.
    match std::env::args().nth(1).as_deref() {
        Some("score") => {
            let scorer = Scorer::load(&library, 1).unwrap();
            let file = std::env::args().nth(2).filter(|file| file != "--bench");
            let calibration =
                file.map(|file| Calibration::parse(&std::fs::read_to_string(file).unwrap()).unwrap());
            scorer.calibrate(calibration).unwrap();
            score(&scorer);
        }
        Some("calibrate") => calibration::fit(&Scorer::load(&library, 1).unwrap()),
        Some("resplit") => print(&calibration::resplit(&Scorer::load(&library, 1).unwrap())),
        Some("latency") => print(&latency::measure(&library)),
        _ => print(
            &"say what to do: `cargo bench -p tollgate-router --bench router -- score|calibrate|resplit|latency`",
        ),
    }
}

fn print(value: &impl Serialize) {
    println!("{}", serde_json::to_string(value).unwrap());
}

fn score(scorer: &Scorer) {
    let (file, text) = shipped().iter().find(|(file, _)| file.ends_with("default.toml")).unwrap();
    let policy = check(file, text, None).unwrap();
    let catalog = Catalog::new(vec![model("small", 0.0, 50_000), model("large", 1.0, 300_000)]);
    for line in std::io::stdin().lock().lines() {
        let line: Line = serde_json::from_str(&line.unwrap()).unwrap();
        let score = scorer.score(&Task::prompt(&line.prompt)).unwrap();
        let small = routed_small(&policy, &catalog, &score, &line.prompt);
        print(&Scored { score, small });
    }
}

/// The two reference models, at prices of which only the order matters here.
fn model(name: &str, ability: f64, picos: u64) -> Model {
    let price = TokenPrice::new(PerToken::from_picos(picos), PerToken::from_picos(2 * picos));
    Model {
        name: name.into(),
        engine: name.into(),
        upstream_model: name.into(),
        bits: None,
        price: Price::Tokens(price),
        context: 1 << 20,
        can: Default::default(),
        part_tokens: 4_096,
        regions: Vec::new(),
        ability: ability.into(),
    }
}

fn routed_small(policy: &Policy, catalog: &Catalog, score: &Score, prompt: &str) -> bool {
    let (tags, tokens) = (BTreeMap::new(), prompt_tokens([prompt]));
    let facts = score.facts(tokens, &tags, policy.objective.quality);
    let needs = Needs { prompt_tokens: tokens, prompt_tokens_upper: tokens, ..Needs::default() };
    let decision = decide(policy, catalog, &[Live::default(); 2], score, &facts, &needs, 0.0).unwrap();
    decision.ranked[0] == 0
}
