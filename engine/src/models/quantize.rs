//! Makes a coarser copy of a model through llama.cpp's own quantizer.
//!
//! Written beside its target, loaded once, and only then moved into place: a full disk or a broken source leaves
//! nothing under the target's name. What is quantized already is not quantized again unless asked for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::gguf::{Gguf, TensorType};
use super::quant_type::QuantType;
use super::{GgufFacts, ModelError, Progress, cache, inspect};
use crate::llama;

/// How often the size of what was written is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is done only if asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuantizeOptions {
    /// Replace a target that is there already.
    pub force: bool,
    /// Quantize what is quantized already: worse than from the original weights.
    pub allow_requantize: bool,
}

/// Writes the model at `source` to `target`, stored as `kind`, and says what it has become.
///
/// # Errors
/// The source is no usable model or quantized already, the target exists or is the source, the disk is full, or llama.cpp
/// refuses.
pub fn quantize(
    source: &Path,
    target: &Path,
    kind: QuantType,
    options: QuantizeOptions,
    progress: &dyn Progress,
) -> Result<GgufFacts, ModelError> {
    let facts = inspect(source)?;
    refuse_target(source, target, options.force)?;
    if is_quantized(source)? {
        let (path, bits) = (source.to_owned(), facts.bits_per_weight);
        if !options.allow_requantize {
            return Err(ModelError::Requantize { path, bits, kind: kind.name, finer: kind.bits > bits });
        }
        progress.note(&format!(
            "warning: {} is quantized already ({bits:.1} bits per weight); what that lost stays lost",
            path.display()
        ));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate of a size"
    )]
    let expected = (facts.parameters as f64 * kind.bits / 8.0) as u64;
    let part = part_of(target);
    cache::require_space(folder_of(target), expected)?;
    progress.begin(&format!("quantizing to {kind}"), expected);
    let made = write(source, &part, kind, options, progress).and_then(|()| check(&part, source));
    if let Err(error) = made {
        // It may never have been begun.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    cache::publish(&part, target)?;
    progress.finish();
    inspect(target)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    target.with_file_name(name)
}

/// A target that is the source, through whatever links, is never written; another file only with `force`.
fn refuse_target(source: &Path, target: &Path, force: bool) -> Result<(), ModelError> {
    let Ok(there) = fs::metadata(target) else { return Ok(()) };
    let path = target.to_owned();
    let own = fs::metadata(source).map_err(|e| ModelError::io("read", source, e))?;
    if (own.dev(), own.ino()) == (there.dev(), there.ino()) {
        return Err(ModelError::SameFile { path });
    }
    if force && there.is_file() { Ok(()) } else { Err(ModelError::TargetExists { path }) }
}

/// Whether any matrix is stored in blocks.
fn is_quantized(source: &Path) -> Result<bool, ModelError> {
    let gguf =
        Gguf::open(source).map_err(|reason| ModelError::Gguf { path: source.to_owned(), source: reason })?;
    let blocks = |kind: TensorType| kind.block().is_none_or(|(elements, _)| elements > 1);
    Ok(gguf.tensors.iter().any(|tensor| tensor.shape.len() > 1 && blocks(tensor.kind)))
}

/// Runs the quantizer, which tells nothing, and watches what it writes.
fn write(
    source: &Path,
    part: &Path,
    kind: QuantType,
    options: QuantizeOptions,
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    let (done, ended) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Its receiver waits until this was sent.
            let _ = done.send(llama::quantize::file(source, part, kind.file_type, options.allow_requantize));
        });
        let mut seen = 0;
        loop {
            match ended.recv_timeout(LOOK_EVERY) {
                Ok(made) => return made,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the quantizer ended without a word".to_owned());
                }
            }
            let now = fs::metadata(part).map_or(seen, |metadata| metadata.len());
            progress.advance(now.saturating_sub(seen));
            seen = now.max(seen);
        }
    })
    .map_err(|reason| failed(source, part, reason))
}

/// The quantizer does not notice a full disk, so what it left is read and loaded.
fn check(part: &Path, source: &Path) -> Result<(), ModelError> {
    let loaded = match inspect(part) {
        Ok(_) => llama::loads(part).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    loaded.map_err(|reason| failed(source, part, reason))
}

/// A disk without room is the reason for whatever went wrong on it.
fn failed(source: &Path, part: &Path, reason: String) -> ModelError {
    /// Less than a block of anything: the disk is full.
    const FULL: u64 = 1 << 20;
    let folder = folder_of(part);
    match cache::free_bytes(folder) {
        Some(free) if free < FULL => ModelError::NoSpace { path: folder.to_owned(), needed: FULL, free },
        _ => ModelError::Quantize { path: source.to_owned(), reason },
    }
}
