//! Writes the mixture of experts: the dense model's tensors in their order, the feed-forward ones cut in pieces.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::plan::{LayerPlan, Plan};
use super::recipe::{Matrix, MoeShape, Recipe};
use super::split::{self, Part};
use crate::models::Progress;
use crate::models::gguf::{Gguf, GgufError, NewTensor, Tensor, TensorType, Value, Writer};

/// Makes the model that `recipe` describes out of the dense one at `dense` and writes it to `out`.
pub(crate) fn assemble<W: Write>(
    dense: &Path,
    out: BufWriter<W>,
    recipe: &Recipe,
    progress: &dyn Progress,
) -> Result<(), GgufError> {
    let source = Gguf::open(dense)?;
    let plan = Plan::read(recipe.plan)?;
    check(&source, &plan, recipe)?;
    let pieces =
        source.tensors.iter().map(|tensor| pieces(tensor, &plan, recipe)).collect::<Result<Vec<_>, _>>()?;
    let announced = pieces.iter().flatten().map(|piece| piece.new.clone()).collect();
    let mut writer = Writer::begin(out, &metadata(&source, &plan, recipe), announced)?;
    let mut file = File::open(dense)?;
    progress.advance(source.data_start);
    for (tensor, pieces) in source.tensors.iter().zip(&pieces) {
        let data = source.data(&mut file, tensor)?;
        write_pieces(&mut writer, tensor, &data, pieces, (&plan, recipe))?;
        progress.advance(data.len() as u64);
    }
    writer.finish()?;
    Ok(())
}

/// The dense model must be the one that the plan was made for.
fn check(source: &Gguf, plan: &Plan, recipe: &Recipe) -> Result<(), GgufError> {
    let dense = recipe.architecture.dense();
    let is = |key: &str, wanted: u64| match source.number(&format!("{dense}.{key}")) {
        Ok(found) if found == wanted => Ok(()),
        _ => Err(GgufError::MissingKey(format!("{dense}.{key} = {wanted}"))),
    };
    is("block_count", plan.layers.len() as u64)?;
    is("embedding_length", plan.shape.width.into())?;
    is("feed_forward_length", plan.shape.neurons() as u64)
}

fn metadata(source: &Gguf, plan: &Plan, recipe: &Recipe) -> Vec<(String, Value)> {
    let (dense, name) = (recipe.architecture.dense(), recipe.architecture.name());
    let renamed = |key: &String| match key.strip_prefix(dense).filter(|rest| rest.starts_with('.')) {
        Some(rest) => format!("{name}{rest}"),
        None => key.clone(),
    };
    let mut metadata: Vec<_> =
        source.metadata.iter().map(|(key, value)| (renamed(key), value.clone())).collect();
    for (key, value) in &mut metadata {
        match key.as_str() {
            "general.architecture" => *value = Value::text(name),
            "general.name" => *value = Value::text(recipe.title),
            _ => {}
        }
    }
    let own = recipe.architecture.metadata(plan.shape, recipe.active);
    metadata.extend(own.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
    metadata
}

/// A tensor of the result and how it comes from one of the source.
struct Piece {
    new: NewTensor,
    made: Made,
}

#[derive(Clone, Copy)]
enum Made {
    Whole,
    Rows(usize, Part),
    Columns(usize, Part),
    Router(usize),
    SharedGate,
}

fn pieces(tensor: &Tensor, plan: &Plan, recipe: &Recipe) -> Result<Vec<Piece>, GgufError> {
    let kind = recipe.stored(tensor);
    let Some((layer, matrix)) = Matrix::of(&tensor.name) else {
        let new = NewTensor { name: tensor.name.clone(), shape: tensor.shape.clone(), kind };
        return Ok(vec![Piece { new, made: Made::Whole }]);
    };
    let MoeShape { width, shared_neurons, experts, expert_neurons } = plan.shape;
    let (width, shared, experts, each) =
        (width.into(), shared_neurons.into(), experts.into(), expert_neurons.into());
    let neurons = plan.shape.neurons() as u64;
    let down = matrix == Matrix::Down;
    if layer >= plan.layers.len() || tensor.shape != (if down { [neurons, width] } else { [width, neurons] })
    {
        return Err(tensor.damaged("its shape is not the one the plan was made for"));
    }
    let piece = |suffix: &str, shape: Vec<u64>, kind, made| Piece {
        new: NewTensor { name: format!("blk.{layer}.ffn_{suffix}.weight"), shape, kind },
        made,
    };
    if down {
        return Ok(vec![
            piece("down_shexp", vec![shared, width], kind, Made::Columns(layer, Part::Shared)),
            piece("down_exps", vec![each, width, experts], kind, Made::Columns(layer, Part::Routed)),
        ]);
    }
    let name = matrix.name();
    let mut made = vec![
        piece(&format!("{name}_shexp"), vec![width, shared], kind, Made::Rows(layer, Part::Shared)),
        piece(&format!("{name}_exps"), vec![width, each, experts], kind, Made::Rows(layer, Part::Routed)),
    ];
    if matrix == Matrix::Gate {
        made.push(piece("gate_inp", vec![width, experts], TensorType::F32, Made::Router(layer)));
        if recipe.architecture.shared_gate() {
            made.push(piece("gate_inp_shexp", vec![width], TensorType::F32, Made::SharedGate));
        }
    }
    Ok(made)
}

fn write_pieces<W: Write>(
    writer: &mut Writer<BufWriter<W>>,
    tensor: &Tensor,
    data: &[u8],
    pieces: &[Piece],
    (plan, recipe): (&Plan, &Recipe),
) -> Result<(), GgufError> {
    let layer = |at: usize| -> &LayerPlan { &plan.layers[at] };
    let correction = Matrix::of(&tensor.name).and_then(|(at, matrix)| layer(at).correction(matrix));
    let is_cut_by_columns = pieces.iter().any(|piece| matches!(piece.made, Made::Columns(..)));
    let (mut numbers, mut stored) = (Vec::new(), Cow::Borrowed(data));
    if is_cut_by_columns {
        numbers = split::numbers(tensor, data, correction)?;
    } else {
        stored = split::stored(tensor, data, recipe.stored(tensor), correction)?;
    }
    for piece in pieces {
        let name = &piece.new.name;
        match piece.made {
            Made::Whole => writer.tensor(name, &stored)?,
            Made::Rows(at, part) => {
                writer.tensor(name, &split::rows(&stored, &layer(at).order, part, plan.shape))?
            }
            Made::Columns(at, part) => {
                let how = (part, plan.shape, recipe.architecture);
                writer
                    .tensor(name, &split::columns(tensor, &numbers, &layer(at).order, how, recipe.down)?)?;
            }
            Made::Router(at) => writer.tensor(name, &layer(at).router)?,
            Made::SharedGate => writer.tensor(name, &split::indifferent_gate(plan.shape.width))?,
        }
    }
    Ok(())
}
