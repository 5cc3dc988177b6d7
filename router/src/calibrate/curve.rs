//! From a head's logit to a probability: Platt's line, or isotonic steps where there are labels enough.

use serde::{Deserialize, Serialize};

use super::logistic::{Matrix, base_logit, fit, sigmoid};

/// A monotone map from logits to probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Curve {
    /// `sigmoid(slope * logit + intercept)`.
    Platt {
        /// Never negative.
        slope: f32,
        /// Moves the mean.
        intercept: f32,
    },
    /// `(logit, probability)`, both rising; straight between, level outside.
    Isotonic(Vec<(f32, f32)>),
}

/// Keeps isotonic ends away from certainty: a pool of so many further cases, half of them good.
const PRIOR: f32 = 2.0;

/// The least that a line rises, so that an order remains an order.
const LEAST_SLOPE: f32 = 0.01;

impl Curve {
    /// The probability of a logit.
    pub(crate) fn at(&self, z: f32) -> f32 {
        match self {
            Curve::Platt { slope, intercept } => sigmoid(slope * z + intercept),
            Curve::Isotonic(knots) => interpolate(knots, z),
        }
    }

    /// Platt's line through some cases; never one that turns the order round.
    pub(crate) fn platt(logits: &[f32], labels: &[bool]) -> Curve {
        let mut matrix = Matrix::new(1);
        logits.iter().for_each(|z| matrix.push([(0, *z)]));
        let rows: Vec<usize> = (0..logits.len()).collect();
        let weights = fit(&matrix, labels, &rows, 0.05, vec![1.0, 0.0]);
        if weights[0] >= LEAST_SLOPE {
            return Curve::Platt { slope: weights[0], intercept: weights[1] };
        }
        // Logits that say nothing: the mean alone counts, and the intercept of another slope would be wrong.
        let mean = logits.iter().sum::<f32>() / logits.len().max(1) as f32;
        Curve::Platt {
            slope: LEAST_SLOPE,
            intercept: base_logit(labels.iter().copied()) - LEAST_SLOPE * mean,
        }
    }

    /// Pool-adjacent-violators over some cases.
    pub(crate) fn isotonic(logits: &[f32], labels: &[bool]) -> Curve {
        struct Pool {
            z: f32,
            good: f32,
            size: f32,
        }
        let mut cases: Vec<(f32, bool)> = logits.iter().copied().zip(labels.iter().copied()).collect();
        cases.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut pools: Vec<Pool> = Vec::new();
        for (z, label) in cases {
            let mut pool = Pool { z, good: f32::from(u8::from(label)), size: 1.0 };
            while let Some(last) = pools.pop_if(|last| last.good * pool.size >= pool.good * last.size) {
                pool.z += last.z;
                pool.good += last.good;
                pool.size += last.size;
            }
            pools.push(pool);
        }
        let knot = |pool: &Pool| (pool.z / pool.size, (pool.good + PRIOR / 2.0) / (pool.size + PRIOR));
        let mut knots: Vec<(f32, f32)> = pools.iter().map(knot).collect();
        // The prior bends small pools towards a half, which may break the order again.
        for at in 1..knots.len() {
            knots[at].1 = knots[at].1.max(knots[at - 1].1);
        }
        Curve::Isotonic(knots)
    }

    /// Whether it is a map as described.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Curve::Platt { slope, intercept } => slope.is_finite() && *slope >= 0.0 && intercept.is_finite(),
            Curve::Isotonic(knots) => is_rising(knots) && knots.iter().all(|(_, p)| (0.0..=1.0).contains(p)),
        }
    }
}

/// Whether there are points, and neither coordinate falls.
pub(crate) fn is_rising(points: &[(f32, f32)]) -> bool {
    let finite = points.iter().all(|(x, y)| x.is_finite() && y.is_finite());
    finite
        && !points.is_empty()
        && points.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1)
}

/// Straight between points, level outside.
pub(crate) fn interpolate(points: &[(f32, f32)], x: f32) -> f32 {
    let above = points.partition_point(|point| point.0 <= x);
    let (Some(low), Some(high)) = (points.get(above.wrapping_sub(1)), points.get(above)) else {
        let end = if above == 0 { points.first() } else { points.last() };
        return end.map_or(0.5, |point| point.1);
    };
    low.1 + (high.1 - low.1) * (x - low.0) / (high.0 - low.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Logits between -3 and 3 whose true probability is sigmoid(2z + 0.5).
    fn cases(count: usize) -> (Vec<f32>, Vec<bool>) {
        let share = |at: usize| (at as f32 + 0.5) / count as f32;
        let logits: Vec<f32> = (0..count).map(|at| 6.0 * share(at) - 3.0).collect();
        // A low-discrepancy sequence in place of chance.
        let labels =
            logits.iter().enumerate().map(|(at, z)| (at as f32 * 0.618_034).fract() < sigmoid(2.0 * z + 0.5));
        let labels = labels.collect();
        (logits, labels)
    }

    #[test]
    fn platt_finds_the_line() {
        let (logits, labels) = cases(2000);
        let Curve::Platt { slope, intercept } = Curve::platt(&logits, &labels) else { panic!("not a line") };
        assert!((slope - 2.0).abs() < 0.2 && (intercept - 0.5).abs() < 0.2, "{slope} {intercept}");
    }

    #[test]
    fn isotonic_follows_the_truth() {
        let (logits, labels) = cases(4000);
        let curve = Curve::isotonic(&logits, &labels);
        for z in [-2.0, -1.0, -0.25, 0.5, 1.0, 2.0] {
            assert!((curve.at(z) - sigmoid(2.0 * z + 0.5)).abs() < 0.06, "{z}: {}", curve.at(z));
        }
    }

    #[test]
    fn platt_never_turns_the_order_round() {
        let curve = Curve::platt(&[-1.0, -0.5, 0.5, 1.0], &[true, true, false, false]);
        assert!(curve.at(1.0) >= curve.at(-1.0));
        assert!((curve.at(0.0) - 0.5).abs() < 0.01, "and keeps the mean: {}", curve.at(0.0));
    }

    proptest! {
        #[test]
        fn curves_rise_and_stay_probabilities(
            cases in proptest::collection::vec((-5.0f32..5.0, any::<bool>()), 1..80),
            a in -9.0f32..9.0,
            b in -9.0f32..9.0,
        ) {
            let (logits, labels): (Vec<f32>, Vec<bool>) = cases.into_iter().unzip();
            for curve in [Curve::platt(&logits, &labels), Curve::isotonic(&logits, &labels)] {
                prop_assert!(curve.is_sound(), "{curve:?}");
                prop_assert!(curve.at(a.min(b)) <= curve.at(a.max(b)) + 1e-6);
                prop_assert!((0.0..=1.0).contains(&curve.at(a)));
            }
        }
    }
}
