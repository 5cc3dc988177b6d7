//! [`Loading`] in the terms of the bindings.

use super::Interrupt;
use crate::EngineError;
use crate::loading::{CacheType, Loading};
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_sys_2::{LLAMA_FLASH_ATTN_TYPE_DISABLED, LLAMA_FLASH_ATTN_TYPE_ENABLED};
use std::ffi::CString;
use std::pin::Pin;

/// The routed experts' tensors of every layer.
const EXPERTS: &str = "\\.ffn_(up|down|gate|gate_up)_(ch|)exps";

/// Patterns of the tensors that stay in main memory. llama.cpp keeps their addresses: they must live until the model is
/// loaded.
pub(super) fn patterns(loading: &Loading) -> Result<Vec<CString>, EngineError> {
    let experts = loading.cpu_moe.then_some(EXPERTS);
    let all = loading.cpu_tensors.iter().map(String::as_str).chain(experts);
    all.map(|pattern| {
        CString::new(pattern).ok().filter(|_| pattern.is_ascii()).ok_or_else(|| EngineError::Option {
            option: "--cpu-tensors",
            value: pattern.to_owned(),
            reason: "a regular expression of ASCII characters, such as blk\\.1[0-9]\\.ffn",
        })
    })
    .collect()
}

/// How a model is loaded, until `interrupt` is raised.
pub(super) fn model_params(
    loading: &Loading,
    patterns: &[CString],
    interrupt: &Interrupt,
) -> Pin<Box<LlamaModelParams>> {
    let watched = interrupt.clone();
    let mut params = LlamaModelParams::default().with_progress_callback(move |_| !watched.raised());
    if let Some(layers) = loading.gpu_layers {
        params = params.with_n_gpu_layers(layers);
    }
    let mut params = Box::pin(params);
    for pattern in patterns {
        params.as_mut().add_cpu_buft_override(pattern);
    }
    params
}

/// The same settings for a context.
pub(super) fn context_params(loading: &Loading, params: LlamaContextParams) -> LlamaContextParams {
    let params = params.with_type_k(kv_type(loading.cache_type_k)).with_type_v(kv_type(loading.cache_type_v));
    match loading.flash_attention {
        None => params,
        Some(true) => params.with_flash_attention_policy(LLAMA_FLASH_ATTN_TYPE_ENABLED),
        Some(false) => params.with_flash_attention_policy(LLAMA_FLASH_ATTN_TYPE_DISABLED),
    }
}

fn kv_type(kind: CacheType) -> KvCacheType {
    match kind {
        CacheType::F32 => KvCacheType::F32,
        CacheType::F16 => KvCacheType::F16,
        CacheType::Bf16 => KvCacheType::BF16,
        CacheType::Q8_0 => KvCacheType::Q8_0,
        CacheType::Q5_1 => KvCacheType::Q5_1,
        CacheType::Q5_0 => KvCacheType::Q5_0,
        CacheType::Q4_1 => KvCacheType::Q4_1,
        CacheType::Q4_0 => KvCacheType::Q4_0,
    }
}
