//! Makes a mixture of experts out of a known dense model, on this machine, by cutting its feed-forward layers.
//!
//! Every neuron of a layer goes either to a part that all tokens pass through or to one of many experts, of which
//! a router picks a few for each token. Nothing is trained here: which neuron goes where, the routers and small
//! corrections come from a plan in the repository (`engine/moe/`, with what made it); the weights are the dense
//! model's. The same source and recipe give the same bytes.

mod assemble;
mod control;
mod correction;
mod plan;
mod recipe;
mod split;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cache::{self, Cache, Stamp};
use super::digest::{self, Sha256Hex};
use super::gguf::GgufError;
use super::progress::Silent;
use super::{ModelError, Progress, registry};
use recipe::Recipe;

/// What may differ from the recipe.
#[derive(Debug, Clone, Default)]
pub struct MoeOptions {
    /// Experts that each token passes through, instead of the recipe's number.
    pub active_experts: Option<u32>,
    /// Where to write the model, instead of the cache.
    pub output: Option<PathBuf>,
    /// Instead of the mixture, the dense model stored as the mixture stores it: what its speed is to be compared with.
    pub dense_control: bool,
}

/// Makes the known mixture of experts called `name`, fetching the dense model it is made from if need be, and says
/// where it is. A model that was made by the same recipe from the same source is left as it is.
///
/// # Errors
/// The name is not that of a made model, its source cannot be fetched or read, or the disk is full.
pub fn make_moe(name: &str, options: &MoeOptions, progress: &dyn Progress) -> Result<PathBuf, ModelError> {
    make_in(&Cache::standard(), name, options, progress)
}

fn make_in(
    cache: &Cache,
    name: &str,
    options: &MoeOptions,
    progress: &dyn Progress,
) -> Result<PathBuf, ModelError> {
    let known = registry::find(name)?;
    let recipe = Recipe::find(name).ok_or_else(|| ModelError::NotMade { name: name.to_owned() })?;
    let recipe = recipe.with_active(options.active_experts)?;
    if options.dense_control && options.output.is_none() {
        return Err(ModelError::ControlOutput);
    }
    let target = options.output.clone().unwrap_or_else(|| known.path_in(cache));
    let source_sha256 = registry::find(recipe.source)?.sha256.unwrap_or_default();
    let made_as = if options.dense_control { "control " } else { "" };
    let digest = format!("{made_as}{}", recipe.digest(source_sha256));
    let made = || Stamp::valid(&target).is_some_and(|stamp| stamp.recipe.as_deref() == Some(&digest));
    if made() {
        return Ok(target);
    }
    let lock = cache.lock(known.file)?;
    if made() {
        return Ok(target);
    }
    let dense = super::pull_into(cache, recipe.source, progress)?;
    let part = match &options.output {
        // Beside its target, so that the last step is a rename within one file system.
        Some(output) => output.with_extension("gguf.part"),
        None => lock.folder().join("model.gguf"),
    };
    cache::require_space(part.parent().unwrap_or(Path::new(".")), known.bytes)?;
    let written = write(&dense, &part, &recipe, options.dense_control, progress);
    if let Err(error) = written {
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    let sha256 = digest::of_file(&part, &Silent)?;
    cache::publish(&part, &target)?;
    Stamp::write(&target, &sha256, Some(digest));
    Ok(target)
}

fn write(
    dense: &Path,
    part: &Path,
    recipe: &Recipe,
    control: bool,
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    let about = |path: &Path| {
        let path = path.to_owned();
        move |source| match source {
            GgufError::Io(source) => ModelError::io("read or write", &path, source),
            source => ModelError::Gguf { path: path.clone(), source },
        }
    };
    let out = File::create(part).map_err(|e| ModelError::io("write", part, e))?;
    progress
        .begin(&format!("making {}", recipe.name), fs::metadata(dense).map_or(0, |metadata| metadata.len()));
    let out = BufWriter::with_capacity(digest::CHUNK, out);
    let write = if control { control::control } else { assemble::assemble };
    write(dense, out, recipe, progress).map_err(about(dense))?;
    progress.finish();
    Ok(())
}

impl Recipe {
    /// A digest of everything that decides the bytes of the result.
    fn digest(&self, source_sha256: &str) -> String {
        let mut running = Sha256::new();
        running.update(format!("{}\n{source_sha256}\n", self.terms()));
        running.update(self.plan);
        Sha256Hex::finish(running).to_string()
    }
}
