//! LoRA adapters of a loaded model. A context applies one of them, or none, to whole batches.
//!
//! What llama.cpp would not survive in a foreign file (a key of another type than it expects, data beyond the file's end) is
//! looked at before it reads the file.

use super::{Context, DecodeFailure, log};
use crate::EngineError;
use crate::adapters::Adapter;
use crate::models::gguf::{Gguf, Value};
use crate::peft;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use parking_lot::Mutex;
use std::io::BufWriter;
use std::path::Path;
use tempfile::NamedTempFile;

/// Which of a model's adapters is applied, and how strongly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Applied {
    /// Its place among the model's adapters.
    pub(crate) adapter: usize,
    /// 1 = as it was trained.
    pub(crate) scale: f32,
}

/// An adapter in memory. llama.cpp frees it with its model, which owns this.
#[derive(Debug)]
pub(crate) struct LoadedAdapter {
    pub(crate) name: String,
    /// Unless a request says otherwise.
    pub(crate) scale: f32,
    /// The bindings want it exclusively where it is only read.
    weights: Mutex<LlamaLoraAdapter>,
}

/// Loads adapters of the model in the file at `base`, in their order.
pub(super) fn load(
    model: &mut LlamaModel,
    base: &Path,
    adapters: &[Adapter],
) -> Result<Vec<LoadedAdapter>, EngineError> {
    let load = |adapter: &Adapter| {
        let refused = |reason: String| EngineError::AdapterRefused {
            name: adapter.name.clone(),
            path: adapter.path.clone(),
            reason,
        };
        // Gone again once it is read.
        let written = adapter.path.is_dir().then(|| write(adapter, base)).transpose().map_err(refused)?;
        let path = written.as_ref().map_or(adapter.path.as_path(), |file| file.path());
        check(path).map_err(refused)?;
        log::forget();
        let weights = model
            .lora_adapter_init(path)
            .map_err(|error| refused(log::last_errors().unwrap_or_else(|| error.to_string())))?;
        Ok(LoadedAdapter { name: adapter.name.clone(), scale: adapter.scale, weights: Mutex::new(weights) })
    };
    adapters.iter().map(load).collect()
}

/// The GGUF file of an adapter that is a folder.
fn write(adapter: &Adapter, base: &Path) -> Result<NamedTempFile, String> {
    let base = Gguf::open(base).map_err(|error| with_source(&error))?;
    let mut file = NamedTempFile::with_prefix("tollgate-adapter-").map_err(|error| error.to_string())?;
    peft::convert(&adapter.path, &base, BufWriter::new(&mut file)).map_err(|error| with_source(&error))?;
    Ok(file)
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source().map(ToString::to_string).filter(|source| !error.to_string().contains(source)) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn check(path: &Path) -> Result<(), String> {
    let file = Gguf::open(path).map_err(|error| with_source(&error))?;
    for (key, wanted) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let found = file.value(key).and_then(Value::as_text).unwrap_or_default();
        if found != wanted {
            return Err(format!("its {key} is {found:?}, not {wanted:?}"));
        }
    }
    if !matches!(file.value("general.architecture"), Some(Value::String(_))) {
        return Err("it does not say for which architecture it is".to_owned());
    }
    if !matches!(file.value("adapter.lora.alpha"), Some(Value::F32(_))) {
        return Err("its adapter.lora.alpha is missing".to_owned());
    }
    if file.value("adapter.alora.invocation_tokens").is_some() {
        return Err("it is an activated LoRA (aLoRA), which applies to a part of the prompt only".to_owned());
    }
    Ok(())
}

impl Context<'_> {
    /// Has the following batches computed with an adapter, or with the bare model. Nothing is done where that is so already;
    /// else llama.cpp plans its computation anew, which takes some milliseconds.
    pub(crate) fn apply(&mut self, adapter: Option<Applied>) -> Result<(), DecodeFailure> {
        if self.applied == adapter {
            return Ok(());
        }
        let adapters = self.adapters;
        // To remove whatever is applied the bindings want any adapter.
        let Some(loaded) = adapters.get(adapter.map_or(0, |applied| applied.adapter)) else { return Ok(()) };
        let mut weights = loaded.weights.lock();
        let done = match adapter {
            Some(applied) => self.inner.lora_adapter_set(&mut weights, applied.scale).is_ok(),
            None => self.inner.lora_adapter_remove(&mut weights).is_ok(),
        };
        if !done {
            return Err(DecodeFailure::Broken(-1));
        }
        self.applied = adapter;
        Ok(())
    }
}
