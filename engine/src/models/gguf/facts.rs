//! What a GGUF file is, for people: architecture, size, quantization, context, experts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Gguf, GgufError, Tensor, TensorType, Value};
use crate::models::ModelError;

/// A GGUF file's facts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GgufFacts {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub file_bytes: u64,
    /// llama.cpp's name of the architecture.
    pub architecture: String,
    /// The model's own name.
    pub name: Option<String>,
    /// The licence it states.
    pub licence: Option<String>,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Numbers in the tensors that one token passes through; fewer than `parameters` with experts.
    pub active_parameters: u64,
    /// Bits of tensor data for each number, on average.
    pub bits_per_weight: f64,
    /// How the numbers are stored, the largest share first.
    pub quantization: Vec<TypeShare>,
    /// The longest context it was trained for, in tokens.
    pub context_length: Option<u64>,
    /// Layers.
    pub layers: Option<u64>,
    /// Width of the residual stream.
    pub embedding_length: Option<u64>,
    /// Tokens in the vocabulary.
    pub vocabulary: Option<u64>,
    /// Its experts, if it has any.
    pub experts: Option<Experts>,
    /// Whether it brings a chat template.
    pub chat_template: bool,
}

/// How much of a model is stored in one way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TypeShare {
    /// The type's name.
    pub kind: String,
    /// Tensors of that type.
    pub tensors: u64,
    /// Their numbers.
    pub parameters: u64,
    /// Their bytes; 0 if the type is not known.
    pub bytes: u64,
}

/// A mixture's experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Experts {
    /// Routed experts in each layer.
    pub count: u64,
    /// How many of them a token passes through.
    pub used: u64,
    /// Whether there is a part that every token passes through beside them.
    pub shared: bool,
}

/// Reads the facts of the file at `path`.
///
/// # Errors
/// The file is missing, unreadable, cut, or no GGUF.
pub fn inspect(path: &Path) -> Result<GgufFacts, ModelError> {
    if !path.is_file() {
        return Err(ModelError::NoSuchFile { path: path.to_owned() });
    }
    let facts = Gguf::open(path).and_then(|gguf| facts(path, &gguf));
    facts.map_err(|source| ModelError::Gguf { path: path.to_owned(), source })
}

fn facts(path: &Path, gguf: &Gguf) -> Result<GgufFacts, GgufError> {
    let text = |key: &str| gguf.value(key).and_then(Value::as_text).map(std::borrow::Cow::into_owned);
    let architecture = text("general.architecture")
        .ok_or_else(|| GgufError::MissingKey("general.architecture".to_owned()))?;
    let own = |key: &str| gguf.value(&format!("{architecture}.{key}")).and_then(Value::as_u64);
    let quantization = shares(&gguf.tensors)?;
    let parameters = quantization.iter().map(|share| share.parameters).sum();
    let bytes: u64 = quantization.iter().map(|share| share.bytes).sum();
    let experts = own("expert_count").filter(|count| *count > 0).map(|count| Experts {
        count,
        used: own("expert_used_count").unwrap_or(count),
        shared: gguf.tensors.iter().any(|tensor| tensor.name.contains("_shexp")),
    });
    #[expect(clippy::cast_precision_loss, reason = "an average for people")]
    let bits_per_weight = if parameters == 0 { 0.0 } else { bytes as f64 * 8.0 / parameters as f64 };
    Ok(GgufFacts {
        path: path.to_owned(),
        file_bytes: gguf.file_bytes,
        name: text("general.name"),
        licence: text("general.license"),
        parameters,
        active_parameters: active(&gguf.tensors, parameters, experts)?,
        bits_per_weight,
        quantization,
        context_length: own("context_length"),
        layers: own("block_count"),
        embedding_length: own("embedding_length"),
        vocabulary: vocabulary(gguf),
        experts,
        chat_template: gguf.value("tokenizer.chat_template").is_some(),
        architecture,
    })
}

fn shares(tensors: &[Tensor]) -> Result<Vec<TypeShare>, GgufError> {
    let mut by_kind: BTreeMap<TensorType, TypeShare> = BTreeMap::new();
    for tensor in tensors {
        let kind = tensor.kind.name().into_owned();
        let share =
            by_kind.entry(tensor.kind).or_insert(TypeShare { kind, tensors: 0, parameters: 0, bytes: 0 });
        share.tensors += 1;
        share.parameters = share.parameters.saturating_add(tensor.elements()?);
        share.bytes = share.bytes.saturating_add(tensor.bytes()?.unwrap_or(0));
    }
    let mut shares: Vec<_> = by_kind.into_values().collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.parameters));
    Ok(shares)
}

fn active(tensors: &[Tensor], parameters: u64, experts: Option<Experts>) -> Result<u64, GgufError> {
    let Some(Experts { count, used, .. }) = experts else { return Ok(parameters) };
    let mut routed = 0_u64;
    for tensor in tensors.iter().filter(|tensor| tensor.name.contains("_exps.")) {
        routed = routed.saturating_add(tensor.elements()?);
    }
    let idle = routed / count * count.saturating_sub(used);
    Ok(parameters.saturating_sub(idle))
}

fn vocabulary(gguf: &Gguf) -> Option<u64> {
    match gguf.value("tokenizer.ggml.tokens") {
        Some(Value::Array(_, tokens)) => Some(tokens.len() as u64),
        _ => None,
    }
}
