//! What a plan has learnt about a down projection: a change of low rank, `leftᵀ · right`, in the dense model's order of
//! neurons. It is added to the weights before they are cut and quantized, so it costs nothing when answering.
//!
//! Checked on reading: both factors are there or neither, and they fit the layer and each other.

use std::io::Cursor;

use super::recipe::MoeShape;
use crate::llama::quantize;
use crate::models::gguf::{Gguf, GgufError, Tensor};

/// A layer's correction.
#[derive(Debug)]
pub(crate) struct Correction {
    /// For each rank a number for each output.
    left: Vec<f32>,
    /// For each rank a number for each neuron.
    right: Vec<f32>,
    outputs: usize,
    neurons: usize,
}

impl Correction {
    /// The correction of `layer` in a plan's file, if it has one.
    pub(crate) fn read(
        gguf: &Gguf,
        bytes: &[u8],
        layer: usize,
        shape: MoeShape,
    ) -> Result<Option<Self>, GgufError> {
        let name = |side: &str| format!("blk.{layer}.down_{side}");
        if gguf.tensors.iter().all(|tensor| tensor.name != name("left") && tensor.name != name("right")) {
            return Ok(None);
        }
        let (left, right) = (gguf.tensor(&name("left"))?, gguf.tensor(&name("right"))?);
        let [outputs, rank] = left.shape[..] else { return Err(left.damaged("it is no matrix")) };
        if outputs != u64::from(shape.width) {
            return Err(left.damaged("its shape does not fit the plan"));
        }
        if right.shape != [shape.neurons() as u64, rank] {
            return Err(right.damaged("its shape does not fit the plan"));
        }
        let numbers = |tensor: &Tensor| {
            quantize::to_f32(tensor.kind, &gguf.data(Cursor::new(bytes), tensor)?)
                .ok_or_else(|| tensor.damaged("its type cannot be turned into numbers"))
        };
        let (outputs, neurons) = (shape.width as usize, shape.neurons());
        Ok(Some(Self { left: numbers(left)?, right: numbers(right)?, outputs, neurons }))
    }

    /// Adds the change to `down`, a row for each output.
    pub(crate) fn add_to(&self, down: &mut [f32]) {
        for (left, right) in self.left.chunks_exact(self.outputs).zip(self.right.chunks_exact(self.neurons)) {
            for (row, by) in down.chunks_exact_mut(self.neurons).zip(left) {
                for (weight, change) in row.iter_mut().zip(right) {
                    *weight += by * change;
                }
            }
        }
    }
}
