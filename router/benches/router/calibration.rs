//! Fits to labelled prompts, and whether the bounds on losses hold on labels that a fit has not seen.

use std::io::BufRead;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tollgate_router::calibrate::Example;
use tollgate_router::{Label, Scorer, Task};

#[derive(Deserialize)]
struct Line {
    prompt: String,
    small_ok: u8,
    large_ok: u8,
}

struct Labelled {
    prompt: String,
    example: Example,
}

fn labelled(scorer: &Scorer) -> Vec<Labelled> {
    let read = |line: std::io::Result<String>| {
        let line: Line = serde_json::from_str(&line.unwrap()).unwrap();
        let label = Label { small_ok: line.small_ok == 1, large_ok: line.large_ok == 1 };
        let example = scorer.example(&Task::prompt(&line.prompt), label).unwrap();
        Labelled { prompt: line.prompt, example }
    };
    std::io::stdin().lock().lines().map(read).collect()
}

/// Fits to the lines on standard input and writes the calibration to the file named.
pub(super) fn fit(scorer: &Scorer) {
    let examples: Vec<Example> = labelled(scorer).into_iter().map(|labelled| labelled.example).collect();
    let start = Instant::now();
    let (calibration, report) = scorer.fit(&examples).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    std::fs::write(std::env::args().nth(2).unwrap(), calibration.to_text()).unwrap();
    super::print(&serde_json::json!({ "report": report, "seconds": seconds }));
}

/// How the bound for one share lost came out over all halvings.
#[derive(Serialize)]
pub(super) struct Promise {
    most: f64,
    /// Halvings, and those of them whose unseen half lost more than `most` (the half varies, too).
    splits: usize,
    exceeded: usize,
    /// Halvings in which no gap could be shown.
    nothing: usize,
    /// Mean shares, of the unseen half.
    to_small: f64,
    lost: f64,
}

/// `resplit SPLITS TRAIN`: fits to TRAIN of the labels, follows the bounds on the others, SPLITS times.
pub(super) fn resplit(scorer: &Scorer) -> Vec<Promise> {
    let number = |nth: usize| std::env::args().nth(nth).unwrap().parse::<usize>().unwrap();
    let (splits, train) = (number(2), number(3));
    let mut all = labelled(scorer);
    let mut promises: Vec<Promise> = [0.05, 0.1, 0.15]
        .map(|most| Promise { most, splits, exceeded: 0, nothing: 0, to_small: 0.0, lost: 0.0 })
        .into();
    let mut state = 1_u64;
    for _ in 0..splits {
        for at in (1..all.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            all.swap(at, (state >> 33) as usize % (at + 1));
        }
        let seen: Vec<Example> = all[..train].iter().map(|labelled| labelled.example.clone()).collect();
        let (calibration, _) = scorer.fit(&seen).unwrap();
        scorer.calibrate(Some(calibration)).unwrap();
        let unseen: Vec<(f64, Label)> = all[train..]
            .iter()
            .map(|labelled| {
                let score = scorer.score(&Task::prompt(&labelled.prompt)).unwrap();
                (f64::from(score.p_large - score.p_small), labelled.example.label)
            })
            .collect();
        let tolerance = scorer.score(&Task::prompt("")).unwrap().tolerance;
        promises.iter_mut().for_each(|promise| promise.keep(&unseen, tolerance.gap_for_loss(promise.most)));
    }
    promises
}

impl Promise {
    fn keep(&mut self, unseen: &[(f64, Label)], gap: Option<f64>) {
        let Some(gap) = gap else {
            self.nothing += 1;
            return;
        };
        let small: Vec<Label> = unseen.iter().filter(|case| case.0 <= gap).map(|case| case.1).collect();
        let lost = small.iter().filter(|label| label.large_ok && !label.small_ok).count();
        let share = lost as f64 / small.len().max(1) as f64;
        self.exceeded += usize::from(share > self.most);
        self.to_small += small.len() as f64 / unseen.len() as f64 / self.splits as f64;
        self.lost += share / self.splits as f64;
    }
}
