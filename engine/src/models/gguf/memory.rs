//! How much memory a model will need, told from its file before it is loaded.
//!
//! Weights as the file has them, KV memory as the attention's shape and the settings make it, and a flat sum for the
//! rest. Where texts become vectors nothing is kept of them, but a model made for writing computes the scores of all words
//! for each token of a text at once. An estimate for deciding what fits beside what: some tens of megabytes off, more for models that keep other
//! state than keys and values.

use std::path::Path;

use super::{Gguf, GgufError, Value};
use crate::loading::Loading;
use crate::models::ModelError;

/// Graph buffers, vocabulary and the process itself, bytes.
const REST: u64 = 96_000_000;
/// Bytes of a word's score, where it is computed and where it is read from.
const SCORES: u64 = 8;
/// Numbers in a block of a cache type.
const BLOCK: u64 = 32;

/// Bytes that the model at `path` takes with `parallel` requests of `context` tokens each.
///
/// # Errors
/// The file is missing, unreadable, cut, or no GGUF.
pub fn memory_needed(path: &Path, context: u32, parallel: u32, loading: &Loading) -> Result<u64, ModelError> {
    if !path.is_file() {
        return Err(ModelError::NoSuchFile { path: path.to_owned() });
    }
    let needed =
        Gguf::open(path).and_then(|gguf| needed(&gguf, u64::from(context), u64::from(parallel), loading));
    needed.map_err(|source| ModelError::Gguf { path: path.to_owned(), source })
}

fn needed(gguf: &Gguf, context: u64, parallel: u64, loading: &Loading) -> Result<u64, GgufError> {
    let architecture = gguf
        .value("general.architecture")
        .and_then(Value::as_text)
        .ok_or_else(|| GgufError::MissingKey("general.architecture".to_owned()))?;
    let own = |key: &str| gguf.value(&format!("{architecture}.{key}"));
    let number = |key: &str| own(key).and_then(Value::as_u64);
    let context = context.min(number("context_length").unwrap_or(u64::MAX));
    let heads = number("attention.head_count").unwrap_or(1).max(1);
    let width = number("embedding_length").unwrap_or(0) / heads;
    let layers = number("block_count").unwrap_or(0);
    // An encoder keeps nothing; other models are given the memory of one text.
    let reads = matches!(own("attention.causal"), Some(Value::Bool(false)));
    let embeds = loading.embeddings || reads || number("pooling_type").is_some_and(|pooling| pooling > 0);
    let parallel = if embeds { u64::from(!reads) } else { parallel };
    let scores =
        if embeds && !reads { context.saturating_mul(words(gguf)).saturating_mul(SCORES) } else { 0 };
    // Either one number for all layers, or one for each.
    let kv_heads = match own("attention.head_count_kv") {
        Some(Value::Array(_, each)) => each.iter().filter_map(Value::as_u64).sum(),
        Some(one) => one.as_u64().unwrap_or(heads).saturating_mul(layers),
        None => heads.saturating_mul(layers),
    };
    let side = |key: &str, block_bytes: u64| {
        let length = number(key).unwrap_or(width);
        kv_heads.saturating_mul(length).saturating_mul(context).saturating_mul(parallel) / BLOCK * block_bytes
    };
    let keys = side("attention.key_length", loading.cache_type_k.block_bytes());
    let values = side("attention.value_length", loading.cache_type_v.block_bytes());
    Ok([keys, values, scores, REST].into_iter().fold(gguf.file_bytes, u64::saturating_add))
}

/// Tokens of the vocabulary.
fn words(gguf: &Gguf) -> u64 {
    match gguf.value("tokenizer.ggml.tokens") {
        Some(Value::Array(_, tokens)) => tokens.len() as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loading::CacheType;

    fn model(kv: Value) -> Gguf {
        let number = |key: &str, value| (format!("llama.{key}"), Value::U32(value));
        Gguf {
            metadata: vec![
                ("general.architecture".to_owned(), Value::text("llama")),
                number("context_length", 2048),
                number("block_count", 2),
                number("embedding_length", 64),
                number("attention.head_count", 4),
                ("llama.attention.head_count_kv".to_owned(), kv),
            ],
            tensors: Vec::new(),
            data_start: 0,
            file_bytes: 1000,
        }
    }

    #[test]
    fn the_kv_memory_follows_shape_and_settings() {
        let plain = Loading::default();
        // 2 layers × 2 heads × 16 numbers × 1024 tokens × 3 requests × 2 bytes, for keys and again for values.
        let kv = 2 * 2 * 16 * 1024 * 3 * 2 * 2;
        assert_eq!(needed(&model(Value::U32(2)), 1024, 3, &plain).unwrap(), 1000 + kv + REST);
        let each = Value::Array(4, vec![Value::U32(3), Value::U32(1)]);
        assert_eq!(needed(&model(each), 1024, 3, &plain).unwrap(), 1000 + kv + REST);
        let coarse =
            Loading { cache_type_k: CacheType::Q8_0, cache_type_v: CacheType::Q8_0, ..Loading::default() };
        assert_eq!(needed(&model(Value::U32(2)), 1024, 3, &coarse).unwrap(), 1000 + kv / 64 * 34 + REST);
        assert_eq!(
            needed(&model(Value::U32(2)), 4096, 3, &plain).unwrap(),
            1000 + 2 * kv + REST,
            "as trained"
        );
    }

    #[test]
    fn texts_that_become_vectors_are_not_kept() {
        let mut gguf = model(Value::U32(2));
        let words = (0..10).map(|_| Value::text("a")).collect();
        gguf.metadata.push(("tokenizer.ggml.tokens".to_owned(), Value::Array(8, words)));
        let kv = 2 * 2 * 16 * 1024 * 2 * 2;
        let asked = Loading { embeddings: true, ..Loading::default() };
        assert_eq!(needed(&gguf, 1024, 3, &asked).unwrap(), 1000 + kv + 1024 * 10 * SCORES + REST);
        gguf.metadata.push(("llama.attention.causal".to_owned(), Value::Bool(false)));
        assert_eq!(needed(&gguf, 1024, 3, &Loading::default()).unwrap(), 1000 + REST, "an encoder");
    }
}
