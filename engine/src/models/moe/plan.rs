//! Reads a plan: for each layer the order of its neurons, shared ones first, the router, and perhaps corrections.
//!
//! A plan is a GGUF file of its own architecture. It is checked on reading: every order is a permutation, every
//! router fits, so what cuts the model need not doubt it.

use std::io::Cursor;

use super::correction::Correction;
use super::recipe::{Matrix, MoeShape};
use crate::models::gguf::{Gguf, GgufError, Tensor, TensorType};

/// What is done to each layer.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shape: MoeShape,
    pub(crate) layers: Vec<LayerPlan>,
}

/// What is done to one layer.
#[derive(Debug)]
pub(crate) struct LayerPlan {
    /// The dense model's neuron at each place; a permutation.
    pub(crate) order: Vec<u16>,
    /// The router's weights, single precision, a row for each expert, as they stand in a file.
    pub(crate) router: Vec<u8>,
    gate: Option<Correction>,
    up: Option<Correction>,
    down: Option<Correction>,
}

impl LayerPlan {
    /// What is added to `matrix` before it is cut, if the plan has learnt something about it.
    pub(crate) fn correction(&self, matrix: Matrix) -> Option<&Correction> {
        match matrix {
            Matrix::Gate => self.gate.as_ref(),
            Matrix::Up => self.up.as_ref(),
            Matrix::Down => self.down.as_ref(),
        }
    }
}

impl Plan {
    /// Reads a plan from the bytes of its file.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, GgufError> {
        let gguf = Gguf::read(Cursor::new(bytes), bytes.len() as u64)?;
        let shape = shape(&gguf)?;
        let count = gguf.tensors.iter().filter(|tensor| tensor.name.ends_with(".router")).count();
        let layers =
            (0..count).map(|layer| layer_plan(&gguf, bytes, layer, shape)).collect::<Result<_, _>>()?;
        Ok(Self { shape, layers })
    }
}

fn shape(gguf: &Gguf) -> Result<MoeShape, GgufError> {
    let key = "tollgate.shared_neurons";
    let bad = |_| GgufError::MissingKey(key.to_owned());
    let shared_neurons = u32::try_from(gguf.number(key)?).map_err(bad)?;
    let router = gguf.tensor("blk.0.router")?;
    let order = gguf.tensor("blk.0.permutation")?;
    let damaged = || router.damaged("its shape does not fit the plan");
    let [width, experts] = router.shape[..] else { return Err(damaged()) };
    let experts = u16::try_from(experts).map_err(|_| damaged())?;
    let routed = order.elements()?.checked_sub(shared_neurons.into()).ok_or_else(damaged)?;
    if !routed.is_multiple_of(experts.into()) {
        return Err(damaged());
    }
    let expert_neurons = u32::try_from(routed / u64::from(experts)).map_err(|_| damaged())?;
    let width = u32::try_from(width).map_err(|_| damaged())?;
    Ok(MoeShape { width, shared_neurons, experts, expert_neurons })
}

fn layer_plan(gguf: &Gguf, bytes: &[u8], layer: usize, shape: MoeShape) -> Result<LayerPlan, GgufError> {
    let order = gguf.tensor(&format!("blk.{layer}.permutation"))?;
    let router = gguf.tensor(&format!("blk.{layer}.router"))?;
    let fits = |tensor: &Tensor, kind, wanted: &[u64]| tensor.kind == kind && tensor.shape == wanted;
    if !fits(order, TensorType::I16, &[shape.neurons() as u64]) {
        return Err(order.damaged("its shape does not fit the plan"));
    }
    if !fits(router, TensorType::F32, &[shape.width.into(), shape.experts.into()]) {
        return Err(router.damaged("its shape does not fit the plan"));
    }
    let data = gguf.data(Cursor::new(bytes), order)?;
    let places: Vec<u16> = data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    if !is_permutation(&places) {
        return Err(order.damaged("it names a neuron twice, or one that is not there"));
    }
    let correction = |matrix| Correction::read(gguf, bytes, (layer, matrix), shape);
    Ok(LayerPlan {
        order: places,
        router: gguf.data(Cursor::new(bytes), router)?,
        gate: correction(Matrix::Gate)?,
        up: correction(Matrix::Up)?,
        down: correction(Matrix::Down)?,
    })
}

fn is_permutation(places: &[u16]) -> bool {
    let mut seen = vec![false; places.len()];
    places
        .iter()
        .all(|place| seen.get_mut(usize::from(*place)).is_some_and(|seen| !std::mem::replace(seen, true)))
}
