//! What a plan has learnt about a matrix of a feed-forward layer: a change of low rank, in the dense model's order of
//! neurons. It is added to the weights before they are cut and quantized, so it costs nothing when answering.
//!
//! Checked on reading: both factors are there or neither, and they fit the layer and each other.

use std::io::Cursor;

use super::recipe::{Matrix, MoeShape};
use crate::llama::quantize;
use crate::models::gguf::{Gguf, GgufError, Tensor};

/// A matrix's correction: `rowsᵀ · columns`.
#[derive(Debug)]
pub(crate) struct Correction {
    /// For each rank a number for each row of the matrix.
    rows: Vec<f32>,
    /// For each rank a number for each column.
    columns: Vec<f32>,
    row_count: usize,
    column_count: usize,
}

impl Correction {
    /// The correction of `layer`'s `matrix` in a plan's file, if it has one. Of its two factors `left` has a number for each
    /// place of the residual stream, and `right` one for each neuron.
    pub(crate) fn read(
        gguf: &Gguf,
        bytes: &[u8],
        (layer, matrix): (usize, Matrix),
        shape: MoeShape,
    ) -> Result<Option<Self>, GgufError> {
        let name = |side: &str| format!("blk.{layer}.{}_{side}", matrix.name());
        if gguf.tensors.iter().all(|tensor| tensor.name != name("left") && tensor.name != name("right")) {
            return Ok(None);
        }
        let (left, right) = (gguf.tensor(&name("left"))?, gguf.tensor(&name("right"))?);
        let [width, rank] = left.shape[..] else { return Err(left.damaged("it is no matrix")) };
        if width != u64::from(shape.width) {
            return Err(left.damaged("its shape does not fit the plan"));
        }
        if right.shape != [shape.neurons() as u64, rank] {
            return Err(right.damaged("its shape does not fit the plan"));
        }
        let numbers = |tensor: &Tensor| {
            quantize::to_f32(tensor.kind, &gguf.data(Cursor::new(bytes), tensor)?)
                .ok_or_else(|| tensor.damaged("its type cannot be turned into numbers"))
        };
        let (left, right) = (numbers(left)?, numbers(right)?);
        let (width, neurons) = (shape.width as usize, shape.neurons());
        Ok(Some(match matrix {
            Matrix::Down => Self { rows: left, columns: right, row_count: width, column_count: neurons },
            Matrix::Gate | Matrix::Up => {
                Self { rows: right, columns: left, row_count: neurons, column_count: width }
            }
        }))
    }

    /// Adds the change to `weights`, row after row.
    pub(crate) fn add_to(&self, weights: &mut [f32]) {
        let ranks = self.rows.chunks_exact(self.row_count).zip(self.columns.chunks_exact(self.column_count));
        for (rows, columns) in ranks {
            for (row, by) in weights.chunks_exact_mut(self.column_count).zip(rows) {
                for (weight, change) in row.iter_mut().zip(columns) {
                    *weight += by * change;
                }
            }
        }
    }
}
