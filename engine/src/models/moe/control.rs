//! Writes the dense model a mixture is to be compared with: every matrix stored as the mixture stores it. What is then
//! left between the two is sparsity itself, and what was learnt.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::recipe::Recipe;
use super::split;
use crate::models::Progress;
use crate::models::gguf::{Gguf, GgufError, NewTensor, Writer};

/// Makes the control of `recipe`'s mixture out of the dense model at `dense` and writes it to `out`.
pub(crate) fn control<W: Write>(
    dense: &Path,
    out: BufWriter<W>,
    recipe: &Recipe,
    progress: &dyn Progress,
) -> Result<(), GgufError> {
    let source = Gguf::open(dense)?;
    let announced = source.tensors.iter().map(|tensor| NewTensor {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        kind: recipe.stored(tensor),
    });
    let mut writer = Writer::begin(out, &source.metadata, announced.collect())?;
    let mut file = File::open(dense)?;
    progress.advance(source.data_start);
    for tensor in &source.tensors {
        let data = source.data(&mut file, tensor)?;
        writer.tensor(&tensor.name, &split::stored(tensor, &data, recipe.stored(tensor), None)?)?;
        progress.advance(data.len() as u64);
    }
    writer.finish()?;
    Ok(())
}
