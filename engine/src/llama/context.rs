//! A decoding context: the KV memory of several sequences, batches of tokens, and the logits they give.

use super::{Applied, Interrupt, LoadedAdapter, Token};
use crate::loading::Pooling;
use llama_cpp_2::DecodeError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_batch::LlamaBatch;
use std::num::NonZeroU32;

/// How a context is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContextOptions {
    /// Tokens each sequence may hold.
    pub(crate) context: u32,
    /// Sequences at once.
    pub(crate) sequences: u32,
    /// Tokens in one batch at most.
    pub(crate) batch: u32,
    /// Compute threads.
    pub(crate) threads: usize,
    /// Set where sequences become vectors: how. They are then gone with their batch, and share its cells.
    pub(crate) pooling: Option<Pooling>,
}

impl ContextOptions {
    /// KV cells in all.
    pub(super) fn cells(&self) -> u32 {
        match self.pooling {
            Some(_) => self.batch,
            None => self.context.saturating_mul(self.sequences),
        }
    }

    pub(super) fn params(&self, interrupt: &Interrupt) -> LlamaContextParams {
        let threads = i32::try_from(self.threads).unwrap_or(i32::MAX);
        let mut params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(self.cells()))
            .with_n_seq_max(self.sequences)
            .with_n_batch(self.batch)
            .with_n_ubatch(self.batch)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_no_perf(true)
            // Each sequence has its own stream of KV cells: attention then reads one sequence's cells, not all of them.
            .with_kv_unified(false);
        if let Some(pooling) = self.pooling {
            // One stream, so that a batch is computed at once: a text that is cut in two would be pooled twice.
            params =
                params.with_kv_unified(true).with_embeddings(true).with_pooling_type(pooling_type(pooling));
        }
        interrupt.watch_over(&mut params);
        params
    }
}

fn pooling_type(pooling: Pooling) -> LlamaPoolingType {
    match pooling {
        Pooling::Mean => LlamaPoolingType::Mean,
        Pooling::Cls => LlamaPoolingType::Cls,
        Pooling::Last => LlamaPoolingType::Last,
    }
}

/// Why a batch was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeFailure {
    /// The KV memory has no room for the batch; nothing was changed.
    #[error("no room in the KV memory")]
    NoRoom,
    /// The interrupt was raised; the KV memory may hold part of the batch.
    #[error("the engine is stopping")]
    Interrupted,
    /// The computation failed; the KV memory may hold part of the batch.
    #[error("llama.cpp could not compute the batch (code {0})")]
    Broken(i32),
}

/// What `llama_decode` returns for a computation that the abort callback ended.
const ABORTED: i32 = 2;

/// The context. Used by one thread.
#[derive(Debug)]
pub(crate) struct Context<'model> {
    pub(super) inner: LlamaContext<'model>,
    /// The model's adapters.
    pub(super) adapters: &'model [LoadedAdapter],
    /// Which of them batches are computed with.
    pub(super) applied: Option<Applied>,
    /// Sequences that will be copies once the next batch is computed.
    pub(super) copied: Vec<i32>,
    /// llama.cpp has its address: it goes after the context (fields are dropped in this order).
    _interrupt: Interrupt,
}

impl<'model> Context<'model> {
    pub(super) fn new(
        inner: LlamaContext<'model>,
        adapters: &'model [LoadedAdapter],
        interrupt: Interrupt,
    ) -> Self {
        Self { inner, adapters, applied: None, copied: Vec::new(), _interrupt: interrupt }
    }

    /// Computes a batch; the logits asked for in it can then be read.
    pub(crate) fn decode(&mut self, batch: &mut Batch) -> Result<(), DecodeFailure> {
        self.inner.decode(&mut batch.inner).map_err(|error| match error {
            DecodeError::NoKvCacheSlot => DecodeFailure::NoRoom,
            DecodeError::NTokensZero => DecodeFailure::Broken(-1),
            DecodeError::Unknown(ABORTED) => DecodeFailure::Interrupted,
            DecodeError::Unknown(code) => DecodeFailure::Broken(code),
        })?;
        self.copied.clear();
        Ok(())
    }

    /// The logits of the batch's token at `index`, which must have been added with `logits`.
    pub(crate) fn logits(&self, index: i32) -> &[f32] {
        self.inner.get_logits_ith(index)
    }

    /// The vector of the batch's `sequence`, where the context was made for vectors.
    pub(crate) fn embedding(&self, sequence: i32) -> Option<&[f32]> {
        self.inner.embeddings_seq_ith(sequence).ok()
    }

    /// Drops a sequence's KV cells from position `from` on. False when the memory can only be dropped as a whole
    /// (then nothing was dropped).
    pub(crate) fn truncate(&mut self, sequence: i32, from: usize) -> bool {
        let (Ok(sequence), Ok(from)) = (u32::try_from(sequence), u32::try_from(from)) else { return false };
        self.inner.clear_kv_cache_seq(Some(sequence), Some(from), None).unwrap_or(false)
    }

    /// Has `to` hold a copy of the first `tokens` cells of `from`, and nothing else. The cells are moved with the next
    /// batch; what `from` does meanwhile does not touch the copy. False when `to` holds nothing instead.
    pub(crate) fn copy(&mut self, from: i32, to: i32, tokens: usize) -> bool {
        // A sequence in a stream of its own can only be copied whole.
        self.copied.push(to);
        let copied = self.truncate(to, 0) && self.inner.copy_kv_cache_seq(from, to, None, None).is_ok();
        let cut = copied && self.truncate(to, tokens);
        if copied && !cut {
            self.truncate(to, 0);
        }
        cut
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.inner.clear_kv_cache();
    }
}

/// Tokens to be computed together.
pub(crate) struct Batch {
    inner: LlamaBatch<'static>,
    capacity: usize,
}

impl Batch {
    /// An empty batch for `capacity` tokens, each of one sequence.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { inner: LlamaBatch::new(capacity, 1), capacity }
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.inner.clear();
    }

    /// Tokens in it.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.inner.n_tokens()).unwrap_or_default()
    }

    /// Tokens that still fit.
    pub(crate) fn room(&self) -> usize {
        self.capacity - self.len()
    }

    /// Adds a token of `sequence` at `position`; returns its index, or `None` when the batch is full.
    pub(crate) fn push(&mut self, token: Token, position: usize, sequence: i32, logits: bool) -> Option<i32> {
        let index = self.inner.n_tokens();
        let position = i32::try_from(position).ok()?;
        self.inner.add(token, position, &[sequence], logits).ok()?;
        Some(index)
    }
}
