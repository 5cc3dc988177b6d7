//! Writes the dense model a mixture is to be compared with: its down projections stored as the mixture's are, and
//! everything else as in the source, as it is in the mixture. What is then left between the two is sparsity itself.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::assemble::feed_forward;
use super::recipe::Recipe;
use super::split;
use crate::llama::quantize;
use crate::models::Progress;
use crate::models::gguf::{Gguf, GgufError, NewTensor, Tensor, Writer};

/// Makes the control of `recipe`'s mixture out of the dense model at `dense` and writes it to `out`.
pub(crate) fn control<W: Write>(
    dense: &Path,
    out: BufWriter<W>,
    recipe: &Recipe,
    progress: &dyn Progress,
) -> Result<(), GgufError> {
    let source = Gguf::open(dense)?;
    let is_down = |tensor: &Tensor| feed_forward(&tensor.name).is_some_and(|(_, matrix)| matrix == "down");
    let announced = source.tensors.iter().map(|tensor| NewTensor {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        kind: if is_down(tensor) { recipe.down } else { tensor.kind },
    });
    let mut writer = Writer::begin(out, &source.metadata, announced.collect())?;
    let mut file = File::open(dense)?;
    progress.advance(source.data_start);
    for tensor in &source.tensors {
        let data = source.data(&mut file, tensor)?;
        if is_down(tensor) {
            let row = tensor.shape.first().and_then(|row| usize::try_from(*row).ok()).unwrap_or(0);
            let numbers = split::down_numbers(tensor, &data)?;
            let stored = quantize::from_f32(recipe.down, &numbers, row)
                .ok_or_else(|| tensor.damaged("it does not fit the type to store it in"))?;
            writer.tensor(&tensor.name, &stored)?;
        } else {
            writer.tensor(&tensor.name, &data)?;
        }
        progress.advance(data.len() as u64);
    }
    writer.finish()?;
    Ok(())
}
