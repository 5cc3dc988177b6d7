//! Cuts the three matrices of a feed-forward layer into a shared part and experts, and stores matrices anew.

use std::borrow::Cow;

use super::correction::Correction;
use super::recipe::{Architecture, MoeShape};
use crate::llama::quantize;
use crate::models::gguf::{GgufError, Tensor, TensorType};

/// Which neurons a piece has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Shared,
    Routed,
}

/// The rows of a gate or up projection that belong to `part`, bit for bit: a row is a neuron.
pub(crate) fn rows(data: &[u8], order: &[u16], part: Part, shape: MoeShape) -> Vec<u8> {
    let row_bytes = data.len() / shape.neurons();
    let mut out = Vec::with_capacity(row_bytes * order.len());
    for neuron in part_of(order, part, shape) {
        let begin = usize::from(*neuron) * row_bytes;
        out.extend_from_slice(&data[begin..begin + row_bytes]);
    }
    out
}

/// The numbers of a matrix, row after row, with what was learnt about it.
pub(crate) fn numbers(
    tensor: &Tensor,
    data: &[u8],
    correction: Option<&Correction>,
) -> Result<Vec<f32>, GgufError> {
    let mut numbers = quantize::to_f32(tensor.kind, data)
        .ok_or_else(|| tensor.damaged("its type cannot be turned into numbers"))?;
    if let Some(correction) = correction {
        correction.add_to(&mut numbers);
    }
    Ok(numbers)
}

/// A whole tensor with what was learnt about it, stored as `kind`; bit for bit as it is if neither changes it.
pub(crate) fn stored<'a>(
    tensor: &Tensor,
    data: &'a [u8],
    kind: TensorType,
    correction: Option<&Correction>,
) -> Result<Cow<'a, [u8]>, GgufError> {
    if kind == tensor.kind && correction.is_none() {
        return Ok(Cow::Borrowed(data));
    }
    let row = tensor.shape.first().and_then(|row| usize::try_from(*row).ok()).unwrap_or(0);
    quantize::from_f32(kind, &numbers(tensor, data, correction)?, row)
        .map(Cow::Owned)
        .ok_or_else(|| tensor.damaged("it does not fit the type to store it in"))
}

/// The columns of a down projection that belong to `part`, scaled as `architecture` wants them and quantized.
pub(crate) fn columns(
    tensor: &Tensor,
    numbers: &[f32],
    order: &[u16],
    (part, shape, architecture): (Part, MoeShape, Architecture),
    kind: TensorType,
) -> Result<Vec<u8>, GgufError> {
    let neurons = part_of(order, part, shape);
    let (piece, scale) = match part {
        Part::Shared => (shape.shared(), architecture.shared_scale()),
        Part::Routed => (shape.expert_neurons as usize, architecture.routed_scale(shape.experts)),
    };
    let mut cut = Vec::with_capacity(neurons.len() * shape.width as usize);
    for expert in neurons.chunks(piece) {
        for row in numbers.chunks_exact(shape.neurons()) {
            cut.extend(expert.iter().map(|neuron| row[usize::from(*neuron)] * scale));
        }
    }
    quantize::from_f32(kind, &cut, piece)
        .ok_or_else(|| tensor.damaged("its pieces do not fit the type to store them in"))
}

/// Weights for a gate that must be (almost) indifferent. Exactly zero would make llama.cpp divide nothing by nothing.
pub(crate) fn indifferent_gate(width: u32) -> Vec<u8> {
    (0..width).flat_map(|at| if at % 2 == 0 { 1e-5_f32 } else { -1e-5 }.to_le_bytes()).collect()
}

fn part_of(order: &[u16], part: Part, shape: MoeShape) -> &[u16] {
    let (shared, routed) = order.split_at(shape.shared());
    match part {
        Part::Shared => shared,
        Part::Routed => routed,
    }
}
