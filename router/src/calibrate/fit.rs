//! Fitting: which inputs and how strong a penalty, by cross-validation on the labels; then the curves, the
//! thresholds and an honest report.
//!
//! Two logistic heads, one a model; their difference is the order. Everything the report and the thresholds
//! say comes from heads that did not see the label in question, on other folds than those that chose.

use std::collections::HashMap;

use super::calibration::{Calibration, Document, Head, Reads, Words};
use super::curve::Curve;
use super::inputs::{Inputs, Scale, round, word_scale};
use super::logistic::{Matrix, base_logit, fit};
use super::measure::Said;
use super::shuffle::Shuffle;
use super::{Example, Label};
use crate::classify::DOMAINS;
use crate::features::{BUCKETS, DENSE};

const FOLDS: usize = 5;
/// Isotonic curves need about this many labels.
const ISOTONIC_FROM: usize = 1000;
/// A word must be in so many labelled prompts to have a weight.
const LEAST_PROMPTS: usize = 2;

/// What is tried; penalties fall, so that each fit starts near its solution.
const CANDIDATES: [(Reads, &[f32]); 4] = [
    (Reads::OwnOutput, &[0.1]),
    (Reads::Outputs, &[1.0, 0.1]),
    (Reads::Values, &[10.0, 3.0, 1.0, 0.3]),
    (Reads::Words, &[32.0, 16.0, 8.0, 4.0]),
];

/// The labels as numbers.
pub(super) struct Data<'a> {
    examples: &'a [Example],
    scale: Scale,
    /// Row of the n-gram table → column.
    words: HashMap<i32, u32>,
    labels: [Vec<bool>; 2],
}

/// Logits of both heads for every label.
type Logits = [Vec<f32>; 2];

impl<'a> Data<'a> {
    pub(super) fn new(examples: &'a [Example]) -> Data<'a> {
        let mut prompts = vec![0usize; BUCKETS];
        for example in examples {
            let mut ids = example.inputs.ids.clone();
            ids.sort_unstable();
            ids.dedup();
            ids.iter().for_each(|id| prompts[*id as usize] += 1);
        }
        let kept = (0..BUCKETS as i32).filter(|id| prompts[*id as usize] >= LEAST_PROMPTS);
        Data {
            examples,
            scale: Scale::of(examples.iter().map(|example| example.inputs.values.as_slice())),
            words: kept.zip(0..).collect(),
            labels: [
                examples.iter().map(|example| example.label.small_ok).collect(),
                examples.iter().map(|example| example.label.large_ok).collect(),
            ],
        }
    }

    /// Columns: words, values, dense counts by domain.
    fn row(&self, inputs: &Inputs, reads: Reads, head: usize) -> Vec<(u32, f32)> {
        let (words, values) = (self.words.len() as u32, inputs.values.len());
        let dense = self.scale.dense();
        let mut row = Vec::with_capacity(inputs.ids.len() + 2 * values);
        if reads == Reads::Words {
            let known = inputs.ids.iter().zip(&inputs.weights);
            row.extend(known.filter_map(|(id, weight)| Some((*self.words.get(id)?, *weight))));
            let scale = word_scale(row.iter().map(|(_, weight)| weight * weight).sum());
            row.iter_mut().for_each(|(_, weight)| *weight *= scale);
        }
        let read = match reads {
            Reads::OwnOutput => head..head + 1,
            Reads::Outputs => 0..dense,
            Reads::Values | Reads::Words => 0..values,
        };
        for at in read {
            let value = self.scale.at(at, inputs.values[at]);
            row.push((words + at as u32, value));
            if at >= dense {
                row.push(((words as usize + values + inputs.domain * DENSE + at - dense) as u32, value));
            }
        }
        row
    }

    fn matrix(&self, reads: Reads, head: usize) -> Matrix {
        let mut matrix = Matrix::new(self.words.len() + self.scale.mean.len() + DOMAINS.len() * DENSE);
        self.examples.iter().for_each(|example| matrix.push(self.row(&example.inputs, reads, head)));
        matrix
    }

    /// Logits of every label from heads that did not see it, for each penalty.
    fn unseen(&self, reads: Reads, ridges: &[f32], folds: &[usize]) -> Vec<Logits> {
        let matrices = [0, 1].map(|head| self.matrix(reads, head));
        let fold = |fold: usize| {
            let (held, seen): (Vec<usize>, Vec<usize>) = (0..folds.len()).partition(|at| folds[*at] == fold);
            let mut found = Vec::new();
            for (head, matrix) in matrices.iter().enumerate() {
                let mut weights = Vec::new();
                for (nth, ridge) in ridges.iter().enumerate() {
                    weights = self.fitted(matrix, reads, head, &seen, *ridge, weights);
                    found.extend(held.iter().map(|at| (nth, head, *at, matrix.dot(*at, &weights))));
                }
            }
            found
        };
        let mut all = vec![[vec![0.0; folds.len()], vec![0.0; folds.len()]]; ridges.len()];
        let found = std::thread::scope(|scope| {
            let fold = &fold;
            let threads: Vec<_> = (0..FOLDS).map(|at| scope.spawn(move || fold(at))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect::<Vec<_>>()
        });
        found.into_iter().for_each(|(nth, head, at, logit)| all[nth][head][at] = logit);
        all
    }

    /// Weights of a head; a recalibration never turns the order of the graph's own probability round.
    fn fitted(
        &self,
        matrix: &Matrix,
        reads: Reads,
        head: usize,
        rows: &[usize],
        ridge: f32,
        start: Vec<f32>,
    ) -> Vec<f32> {
        let mut weights = fit(matrix, &self.labels[head], rows, ridge, start);
        if reads == Reads::OwnOutput {
            let own = self.words.len() + head;
            if weights[own] < 0.0 {
                weights[own] = 0.0;
                // The bias is the last.
                let bias = base_logit(rows.iter().map(|row| self.labels[head][*row]));
                weights.last_mut().into_iter().for_each(|weight| *weight = bias);
            }
        }
        weights
    }

    /// The candidate whose difference of probabilities is nearest the difference of outcomes.
    pub(super) fn choose(&self) -> (Reads, f32) {
        let folds = folds(self.examples, &self.labels, 1);
        let mut best = (f64::INFINITY, (Reads::OwnOutput, 0.1));
        for (reads, ridges) in CANDIDATES {
            for (logits, ridge) in self.unseen(reads, ridges, &folds).iter().zip(ridges) {
                let lines = [0, 1].map(|head| Curve::platt(&logits[head], &self.labels[head]));
                let miss = self.miss(logits, &lines);
                if miss < best.0 {
                    best = (miss, (reads, *ridge));
                }
            }
        }
        best.1
    }

    fn miss(&self, logits: &Logits, curves: &[Curve; 2]) -> f64 {
        let one = |good: bool| f32::from(u8::from(good));
        let squares = (0..self.examples.len()).map(|at| {
            let said = curves[1].at(logits[1][at]) - curves[0].at(logits[0][at]);
            let miss = said - (one(self.labels[1][at]) - one(self.labels[0][at]));
            f64::from(miss * miss)
        });
        squares.sum()
    }

    /// What calibrated heads say of every label without having seen it, and the logits behind it.
    pub(super) fn crossed(&self, reads: Reads, ridge: f32) -> (Vec<Said>, Logits) {
        let folds = folds(self.examples, &self.labels, 2);
        let logits = self.unseen(reads, &[ridge], &folds).remove(0);
        let count = self.examples.len();
        let mut said = vec![Said { order: 0.0, p_small: 0.0, p_large: 0.0 }; count];
        for fold in 0..FOLDS {
            // The curves of a fold come from the others.
            let others: Vec<usize> = (0..count).filter(|at| folds[*at] != fold).collect();
            let curves = [0, 1].map(|head| self.curves(&logits[head], head, &others));
            for at in (0..count).filter(|at| folds[*at] == fold) {
                let [small, large] = [0, 1].map(|head: usize| {
                    let (line, curve) = &curves[head];
                    let logit = logits[head][at];
                    (line.at(logit), curve.as_ref().unwrap_or(line).at(logit))
                });
                said[at] = Said { order: large.0 - small.0, p_small: small.1, p_large: large.1 };
            }
        }
        (said, logits)
    }

    /// Platt's line, and the isotonic curve where there are labels enough for it.
    fn curves(&self, logits: &[f32], head: usize, rows: &[usize]) -> (Curve, Option<Curve>) {
        let (logits, labels): (Vec<f32>, Vec<bool>) =
            rows.iter().map(|at| (logits[*at], self.labels[head][*at])).unzip();
        let enough = self.examples.len() >= ISOTONIC_FROM;
        (Curve::platt(&logits, &labels), enough.then(|| Curve::isotonic(&logits, &labels)))
    }

    /// The calibration: heads from all labels, curves from the logits of unseen ones.
    pub(super) fn finish(
        &self,
        graph: &str,
        reads: Reads,
        ridge: f32,
        said: &[Said],
        logits: &Logits,
    ) -> Calibration {
        let all: Vec<usize> = (0..self.examples.len()).collect();
        let weights =
            [0, 1].map(|head| self.fitted(&self.matrix(reads, head), reads, head, &all, ridge, Vec::new()));
        let [small, large] =
            [0, 1].map(|head| self.head(&weights[head], self.curves(&logits[head], head, &all), reads));
        let labels: Vec<Label> = self.examples.iter().map(|example| example.label).collect();
        let orders: Vec<f32> = said.iter().map(|said| said.order).collect();
        let difficulties: Vec<f32> = self.examples.iter().map(|example| example.score.difficulty).collect();
        Calibration::new(Document {
            tollgate_calibration: 1,
            graph: graph.to_owned(),
            labels: labels.len(),
            reads,
            ridge,
            scale: self.scale.clone(),
            small,
            large,
            words: self.words_of(&weights, reads),
            difficulty: super::thresholds::difficulty(&orders, &difficulties),
            quality: super::thresholds::table(said, &labels, &prompts(self.examples)),
        })
    }

    fn head(&self, weights: &[f32], (line, curve): (Curve, Option<Curve>), reads: Reads) -> Head {
        let (words, values) = (self.words.len(), self.scale.mean.len());
        let part =
            |from: usize, count: usize| weights[from..from + count].iter().copied().map(round).collect();
        let by_domain = matches!(reads, Reads::Values | Reads::Words);
        Head {
            bias: weights[weights.len() - 1],
            values: part(words, values),
            by_domain: part(words + values, if by_domain { DOMAINS.len() * DENSE } else { 0 }),
            line: Some(line),
            curve,
        }
    }

    fn words_of(&self, weights: &[Vec<f32>; 2], reads: Reads) -> Words {
        if reads != Reads::Words {
            return Words::default();
        }
        let mut ids: Vec<(i32, u32)> = self.words.iter().map(|(id, column)| (*id, *column)).collect();
        ids.sort_unstable();
        let of = |head: usize| ids.iter().map(|(_, column)| round(weights[head][*column as usize])).collect();
        Words { ids: ids.iter().map(|(id, _)| *id as u32).collect(), small: of(0), large: of(1) }
    }
}

/// Which prompt each label is of, counted from 0 in the order in which they come.
pub(super) fn prompts(examples: &[Example]) -> Vec<usize> {
    let mut known = HashMap::new();
    let place = |example: &Example| {
        let next = known.len();
        *known.entry(example.prompt).or_insert(next)
    };
    examples.iter().map(place).collect()
}

/// A fold for each label; every mix of outcomes is spread over all folds, and a prompt that is labelled more than once
/// is in one fold, so that none is known from the other side.
fn folds(examples: &[Example], labels: &[Vec<bool>; 2], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels[0].len()).collect();
    Shuffle::new(seed).shuffle(&mut order);
    order.sort_by_key(|at| (labels[0][*at], labels[1][*at]));
    let mut folds = vec![0; order.len()];
    let mut first: HashMap<&[i32], usize> = HashMap::new();
    for (nth, at) in order.into_iter().enumerate() {
        folds[at] = *first.entry(&examples[at].inputs.ids).or_insert(nth % FOLDS);
    }
    folds
}
