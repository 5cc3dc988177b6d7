//! Times of features alone and of a whole score, by length; memory of a session; allocations.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tollgate_router::features::Features;
use tollgate_router::tokens::text_tokens;
use tollgate_router::{Scorer, Task};

const LENGTHS: [u64; 4] = [20, 128, 512, 2_000];
/// Different texts of each length, so that nothing is learned by heart.
const TEXTS: usize = 64;
const ROUNDS: usize = 40;
/// Sessions beside the first, over which the memory of one is averaged.
const MORE_SESSIONS: usize = 8;

#[derive(Serialize)]
pub(super) struct Report {
    lengths: Vec<Length>,
    thousand_s: f64,
    first_session_mb: f64,
    further_session_mb: f64,
}

#[derive(Serialize)]
struct Length {
    tokens: u64,
    features_us: Quantiles,
    score_us: Quantiles,
    allocations: u64,
    allocated_bytes: u64,
}

#[derive(Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
}

pub(super) fn measure(library: &Path) -> Report {
    // The library and the page cache are warm before the session that is weighed.
    drop(Scorer::load(library, 1).unwrap());
    let before = resident_mb();
    let scorer = Scorer::load(library, 1).unwrap();
    let one = resident_mb();
    let more = Scorer::load(library, 1 + MORE_SESSIONS).unwrap();
    let all = resident_mb();
    drop(more);
    Report {
        lengths: LENGTHS.iter().map(|tokens| length(&scorer, *tokens)).collect(),
        thousand_s: thousand(&scorer),
        first_session_mb: one - before,
        // The other classifier has a table of its own, as the first had.
        further_session_mb: (all - one - (one - before)) / MORE_SESSIONS as f64,
    }
}

fn length(scorer: &Scorer, tokens: u64) -> Length {
    let texts = texts(tokens);
    let mut features = Features::default();
    let features_us = quantiles(&texts, |text| {
        features.extract(&Task::prompt(text));
        black_box(features.ids.len());
    });
    let score_us = quantiles(&texts, |text| {
        black_box(scorer.score(&Task::prompt(text)).unwrap());
    });
    let allocated = allocation_counter::measure(|| {
        black_box(scorer.score(&Task::prompt(&texts[0])).unwrap());
    });
    Length {
        tokens,
        features_us,
        score_us,
        allocations: allocated.count_total,
        allocated_bytes: allocated.bytes_total,
    }
}

fn quantiles(texts: &[String], mut call: impl FnMut(&str)) -> Quantiles {
    texts.iter().for_each(|text| call(text));
    let mut times = Vec::with_capacity(ROUNDS * texts.len());
    for _ in 0..ROUNDS {
        for text in texts {
            let start = Instant::now();
            call(text);
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    Quantiles { p50: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
}

/// A thousand prompts of a hundred words as `tollgate score` takes them: JSON line in, JSON line out.
fn thousand(scorer: &Scorer) -> f64 {
    #[derive(Deserialize)]
    struct Line {
        prompt: String,
    }
    let mut words = Words::new(7);
    let lines: Vec<String> =
        (0..1_000).map(|_| serde_json::json!({ "prompt": words.take(100) }).to_string()).collect();
    let start = Instant::now();
    for line in &lines {
        let line: Line = serde_json::from_str(line).unwrap();
        let score = scorer.score(&Task::prompt(&line.prompt)).unwrap();
        black_box(serde_json::to_string(&score).unwrap());
    }
    start.elapsed().as_secs_f64()
}

fn texts(tokens: u64) -> Vec<String> {
    let mut words = Words::new(tokens);
    let text = |_| {
        let mut text = words.take(1);
        while text_tokens(&text) < tokens {
            text.push(' ');
            text.push_str(&words.take(1));
        }
        text
    };
    (0..TEXTS).map(text).collect()
}

/// Words of everyday requests in a shuffled order that is always the same.
struct Words {
    words: Vec<&'static str>,
    state: u64,
}

impl Words {
    fn new(seed: u64) -> Words {
        let lines = include_str!("../../tests/everyday.txt").lines();
        let words = lines.filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
        Words { words, state: seed }
    }

    fn take(&mut self, count: usize) -> String {
        let next = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 33) as usize
        };
        let words: Vec<&str> =
            (0..count).map(|_| self.words[next(&mut self.state) % self.words.len()]).collect();
        words.join(" ")
    }
}

/// Resident memory of this process, by Linux; 0 where it cannot be read.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1024.0
}
