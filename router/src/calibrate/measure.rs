//! How well an order of prompts and its probabilities do on labels: APGR, calls saved, calibration error.
//!
//! The same measures as router/training's evaluate.py and measures.py, for the report of a fit.

use serde::Serialize;

use super::Label;
use super::shuffle::Shuffle;

/// Resamples behind every interval.
const ROUNDS: usize = 300;
/// The share of the large model's quality at which saved calls are counted.
const KEPT: f64 = 0.95;

/// A figure with its 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// On all labels.
    pub value: f64,
    /// 2.5 % of the resamples are below.
    pub low: f64,
    /// 2.5 % of the resamples are above.
    pub high: f64,
}

/// What one way of scoring achieves.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quality {
    /// Share of the gap between the models that is recovered, averaged over thresholds; 0.5 is random.
    pub apgr: Figure,
    /// Largest share of calls the small model can take while 95 % of the large model's quality stays.
    pub saved_at_95: Figure,
    /// Expected calibration error of p(small), 15 bins.
    pub ece_small: Figure,
    /// Expected calibration error of p(large), 15 bins.
    pub ece_large: Figure,
}

/// What was said about a label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    /// The order: higher = needs the large model.
    pub(crate) order: f32,
    pub(crate) p_small: f32,
    pub(crate) p_large: f32,
}

/// A label and what was said about it.
type Case = (Said, Label);

/// All measures with their intervals; `prompts` says which prompt each label is of, and prompts are what is drawn again.
pub(crate) fn quality(said: &[Said], labels: &[Label], prompts: &[usize]) -> Quality {
    let cases: Vec<Case> = said.iter().copied().zip(labels.iter().copied()).collect();
    let mut of_prompts: Vec<Vec<Case>> = vec![Vec::new(); prompts.iter().max().map_or(0, |most| most + 1)];
    prompts.iter().zip(&cases).for_each(|(prompt, case)| of_prompts[*prompt].push(*case));
    let of = |measure: &dyn Fn(&[Case]) -> f64| {
        let mut chance = Shuffle::new(1);
        let mut resampled: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let draw = |_| of_prompts[chance.below(of_prompts.len())].iter().copied();
                let drawn: Vec<Case> = (0..of_prompts.len()).flat_map(draw).collect();
                measure(&drawn)
            })
            .collect();
        resampled.sort_by(f64::total_cmp);
        Figure {
            value: measure(&cases),
            low: resampled[ROUNDS / 40],
            high: resampled[ROUNDS - 1 - ROUNDS / 40],
        }
    };
    Quality {
        apgr: of(&apgr),
        saved_at_95: of(&saved),
        ece_small: of(&|cases| ece(cases.iter().map(|(said, label)| (said.p_small, label.small_ok)))),
        ece_large: of(&|cases| ece(cases.iter().map(|(said, label)| (said.p_large, label.large_ok)))),
    }
}

/// Outcomes from the prompt that needs the large model least to the one that needs it most.
fn in_order(cases: &[Case]) -> Vec<Label> {
    let mut sorted: Vec<&Case> = cases.iter().collect();
    sorted.sort_by(|a, b| a.0.order.total_cmp(&b.0.order));
    sorted.into_iter().map(|case| case.1).collect()
}

/// Sum of outcomes when the first `n` in order go to the small model, for every `n`.
fn totals(cases: &[Case]) -> Vec<f64> {
    let one = |good: bool| f64::from(u8::from(good));
    let large: f64 = cases.iter().map(|case| one(case.1.large_ok)).sum();
    let mut totals = vec![large];
    let mut total = large;
    for label in in_order(cases) {
        total += one(label.small_ok) - one(label.large_ok);
        totals.push(total);
    }
    totals
}

/// RouteLLM's: eleven thresholds at the tenths of the order, trapezoids between.
fn apgr(cases: &[Case]) -> f64 {
    let totals = totals(cases);
    let count = cases.len();
    let (large, small) = (totals[0], totals[count]);
    let edges: Vec<usize> = (0..=10).map(|tenth| (tenth * (count - 1)).div_ceil(10)).collect();
    // The last edge sends nothing up, which the trapezoids end with.
    let points: Vec<usize> = edges[..10].iter().copied().chain([count]).collect();
    let area: f64 = points
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64 * (f64::midpoint(totals[pair[0]], totals[pair[1]]) - small))
        .sum();
    if (large - small).abs() < 1e-9 { 0.5 } else { area / count as f64 / (large - small) }
}

fn saved(cases: &[Case]) -> f64 {
    let totals = totals(cases);
    let kept = totals.iter().rposition(|total| *total >= KEPT * totals[0]);
    kept.unwrap_or(0) as f64 / cases.len() as f64
}

fn ece(cases: impl Iterator<Item = (f32, bool)>) -> f64 {
    let mut bins = [(0.0, 0.0); 15];
    let mut count = 0.0;
    for (p, good) in cases {
        let bin = &mut bins[((p * 15.0) as usize).min(14)];
        bin.0 += f64::from(p);
        bin.1 += f64::from(u8::from(good));
        count += 1.0;
    }
    bins.iter().map(|(said, came)| (said - came).abs()).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(order: f32, small_ok: bool, large_ok: bool) -> (Said, Label) {
        (Said { order, p_small: 0.5, p_large: 0.5 }, Label { small_ok, large_ok })
    }

    #[test]
    fn a_perfect_order_saves_all_that_can_be_saved() {
        // 60 that both solve come first, 40 that only the large one solves last.
        let cases: Vec<_> = (0..100).map(|at| case(at as f32, at < 60, true)).collect();
        // 60 and five of the forty may fail.
        assert!((saved(&cases) - 0.65).abs() < 1e-9);
        assert!((apgr(&cases) - 0.8).abs() < 0.01, "{}", apgr(&cases));
        let reversed: Vec<_> = (0..100).map(|at| case(-(at as f32), at < 60, true)).collect();
        assert!((saved(&reversed) - 0.05).abs() < 1e-9 && apgr(&reversed) < 0.35);
    }

    #[test]
    fn a_meaningless_order_is_worth_a_half() {
        let cases: Vec<_> = (0..4_000).map(|at| case((at * 37 % 4_001) as f32, at % 3 == 0, true)).collect();
        assert!((apgr(&cases) - 0.5).abs() < 0.02, "{}", apgr(&cases));
    }

    #[test]
    fn calibration_error_is_the_distance_of_said_and_came() {
        let right = (0..10).map(|at| (0.3, at < 3));
        assert!(ece(right) < 1e-6);
        assert!((ece((0..10).map(|_| (0.9, false))) - 0.9).abs() < 1e-6);
    }

    #[test]
    fn an_interval_holds_its_value() {
        let (said, labels): (Vec<_>, Vec<_>) =
            (0..300).map(|at| case((at * 7 % 301) as f32, at % 4 != 0, at % 9 != 0)).unzip();
        let each: Vec<usize> = (0..labels.len()).collect();
        let quality = quality(&said, &labels, &each);
        for figure in [quality.apgr, quality.saved_at_95] {
            assert!(figure.low <= figure.value && figure.value <= figure.high && figure.low < figure.high);
        }
    }
}
