//! Logistic regression with ridge penalty over sparse rows, by accelerated gradient descent.
//!
//! The loss is smooth and convex; Nesterov's method, whose momentum starts afresh whenever it points uphill,
//! converges in some tens of passes, and nothing is random. The bias is the last weight and is not penalised.

/// Rows of `(column, value)`; the last column is 1 in every row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix {
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
    width: usize,
}

impl Matrix {
    /// An empty matrix of `width` columns; one more is added for the bias.
    pub(crate) fn new(width: usize) -> Matrix {
        Matrix { starts: vec![0], width: width + 1, ..Matrix::default() }
    }

    /// Adds a row; columns may repeat.
    pub(crate) fn push(&mut self, entries: impl IntoIterator<Item = (u32, f32)>) {
        for (column, value) in entries {
            self.columns.push(column);
            self.values.push(value);
        }
        self.columns.push((self.width - 1) as u32);
        self.values.push(1.0);
        self.starts.push(self.columns.len());
    }

    fn row(&self, at: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.starts[at]..self.starts[at + 1];
        self.columns[range.clone()]
            .iter()
            .map(|column| *column as usize)
            .zip(self.values[range].iter().copied())
    }

    /// The product of a row with some weights.
    pub(crate) fn dot(&self, at: usize, weights: &[f32]) -> f32 {
        self.row(at).map(|(column, value)| value * weights[column]).sum()
    }

    /// Adds `factor` times a row to `to`.
    fn add(&self, at: usize, factor: f32, to: &mut [f32]) {
        self.row(at).for_each(|(column, value)| to[column] += factor * value);
    }

    /// The largest eigenvalue of XᵀX over some rows, from above, by power iteration.
    fn largest_eigenvalue(&self, rows: &[usize]) -> f32 {
        let mut direction = vec![(self.width as f32).sqrt().recip(); self.width];
        let mut eigenvalue = 1.0;
        for _ in 0..12 {
            let mut image = vec![0.0; self.width];
            rows.iter().for_each(|row| self.add(*row, self.dot(*row, &direction), &mut image));
            eigenvalue = image.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-6);
            direction = image.iter().map(|value| value / eigenvalue).collect();
        }
        1.1 * eigenvalue
    }
}

/// Passes over the rows, at most.
const PASSES: usize = 300;
/// Done when no weight's gradient exceeds this share of a row's.
const TOLERANCE: f32 = 1e-3;

/// The weights (bias last) that fit `labels` (indexed by row) on some rows; starts from `weights`.
pub(crate) fn fit(
    matrix: &Matrix,
    labels: &[bool],
    rows: &[usize],
    ridge: f32,
    weights: Vec<f32>,
) -> Vec<f32> {
    let bias = matrix.width - 1;
    let steepest = 0.25 * matrix.largest_eigenvalue(rows) + ridge;
    let mut weights = if weights.len() == matrix.width { weights } else { vec![0.0; matrix.width] };
    let mut ahead = weights.clone();
    let mut gradient = vec![0.0; matrix.width];
    let mut pace: f32 = 1.0;
    for _ in 0..PASSES {
        gradient.iter_mut().zip(&ahead).for_each(|(gradient, weight)| *gradient = ridge * weight);
        gradient[bias] = 0.0;
        for row in rows {
            let miss = sigmoid(matrix.dot(*row, &ahead)) - f32::from(u8::from(labels[*row]));
            matrix.add(*row, miss, &mut gradient);
        }
        let largest = gradient.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let next = (1.0 + (1.0 + 4.0 * pace * pace).sqrt()) / 2.0;
        let momentum = (pace - 1.0) / next;
        pace = next;
        let mut uphill = 0.0;
        for ((weight, ahead), gradient) in weights.iter_mut().zip(&mut ahead).zip(&gradient) {
            let next = *ahead - gradient / steepest;
            uphill += gradient * (next - *weight);
            *ahead = next + momentum * (next - *weight);
            *weight = next;
        }
        if uphill > 0.0 {
            pace = 1.0;
        }
        if largest < TOLERANCE * (rows.len() as f32).sqrt() {
            break;
        }
    }
    weights
}

pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The logit of the share of good labels.
pub(crate) fn base_logit(labels: impl Iterator<Item = bool>) -> f32 {
    let (good, count) =
        labels.fold((0.0, 0.0), |(good, count), label| (good + f32::from(u8::from(label)), count + 1.0));
    logit((good + 0.5) / (count + 1.0))
}

pub(crate) fn logit(p: f32) -> f32 {
    let p = p.clamp(1e-4, 1.0 - 1e-4);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_columns_the_bias_is_the_base_rate() {
        let mut matrix = Matrix::new(0);
        (0..10).for_each(|_| matrix.push([]));
        let labels: Vec<bool> = (0..10).map(|row| row < 7).collect();
        let weights = fit(&matrix, &labels, &(0..10).collect::<Vec<_>>(), 1.0, Vec::new());
        assert!((sigmoid(weights[0]) - 0.7).abs() < 1e-3, "{weights:?}");
    }

    #[test]
    fn the_solution_has_no_gradient() {
        let mut matrix = Matrix::new(3);
        let labels: Vec<bool> = (0..60).map(|row| row % 3 == 0 || row % 7 == 0).collect();
        (0..60u32).for_each(|row| matrix.push([(row % 3, 1.0), (2, (row % 7) as f32 / 7.0)]));
        let rows: Vec<usize> = (0..60).collect();
        let weights = fit(&matrix, &labels, &rows, 0.5, Vec::new());
        for column in 0..4 {
            let mut gradient = if column == 3 { 0.0 } else { 0.5 * weights[column] };
            for row in &rows {
                let miss = sigmoid(matrix.dot(*row, &weights)) - f32::from(u8::from(labels[*row]));
                gradient += matrix
                    .row(*row)
                    .filter(|(at, _)| *at == column)
                    .map(|(_, value)| value * miss)
                    .sum::<f32>();
            }
            assert!(gradient.abs() < 0.02, "column {column}: {gradient}");
        }
    }

    #[test]
    fn a_stronger_penalty_gives_smaller_weights() {
        let mut matrix = Matrix::new(1);
        let labels: Vec<bool> = (0..40).map(|row| row >= 20).collect();
        (0..40).for_each(|row| matrix.push([(0, if row >= 20 { 1.0 } else { -1.0 })]));
        let rows: Vec<usize> = (0..40).collect();
        let of = |ridge| fit(&matrix, &labels, &rows, ridge, Vec::new())[0];
        assert!(of(0.1) > of(1.0) && of(1.0) > of(10.0) && of(10.0) > 0.0);
    }
}
