//! Texts to vectors: `/v1/embeddings` on a model that does so. Such a model writes no answers, and the others make no vectors.

use super::error::ApiError;
use super::request::{EmbeddingRequest, Prompt};
use super::{Body, Server, Service, answered, order, read, stopped};
use crate::llama::Token;
use crate::request_body::RequestBody;
use crate::scheduler::{EmbedJob, Embedded};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Request, Response};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Item<'a>>,
    model: &'a str,
    usage: UsageBody,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Numbers(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: usize,
    total_tokens: usize,
    engine_us: u64,
    engine_prefill_us: u64,
    engine_decode_us: u64,
}

impl Server {
    /// Answers a request for vectors.
    pub(super) async fn embed(&self, request: Request<RequestBody>) -> Result<Response<Body>, ApiError> {
        let service = self.ready()?;
        let order = order::of(request.headers());
        let body = read(request).await?;
        if !service.scheduler.embeds() {
            return Err(ApiError::other_kind(
                "This model writes answers and makes no embeddings; use an embedding model, or start the engine \
                 with --embeddings.",
            ));
        }
        let preparing = Arc::clone(&service);
        let prepare = move || {
            let request = EmbeddingRequest::parse(&body)?;
            Ok::<_, ApiError>((request.base64, preparing.embed_job(&request)?))
        };
        let (base64, job) = blocking(prepare).await??;
        let embedded = service.scheduler.embed(job, order)?.await.map_err(|_| stopped())??;
        blocking(move || service.embeddings(&embedded, base64)).await?.map(answered)
    }
}

impl Service {
    /// Refuses what a model that writes is asked.
    pub(super) fn must_write(&self) -> Result<(), ApiError> {
        let message = "This model makes embeddings and writes no answers; ask it at /v1/embeddings.";
        if self.scheduler.embeds() { Err(ApiError::other_kind(message)) } else { Ok(()) }
    }

    fn embed_job(&self, request: &EmbeddingRequest) -> Result<EmbedJob, ApiError> {
        let (vocabulary, context) = (self.model.vocabulary(), self.scheduler.context());
        let inputs = request.inputs.iter().map(|(name, input)| {
            let tokens: Vec<Token> = match input {
                Prompt::Text(text) => self.model.whole_text(text),
                Prompt::Tokens(tokens) => {
                    if let Some(token) = tokens.iter().find(|token| **token >= vocabulary) {
                        let message =
                            format!("{name}: there is no token {token}; this model has {vocabulary}.");
                        return Err(ApiError::invalid(name, message));
                    }
                    tokens.iter().map(|token| Token(i32::try_from(*token).unwrap_or_default())).collect()
                }
            };
            match tokens.len() {
                0 => Err(ApiError::invalid(name, format!("{name} holds nothing that the model knows."))),
                length if length > context => Err(ApiError::input_too_long(name, length, context)),
                _ => Ok(tokens),
            }
        });
        Ok(EmbedJob { inputs: inputs.collect::<Result<_, _>>()? })
    }

    fn embeddings(&self, embedded: &Embedded, base64: bool) -> Result<Vec<u8>, ApiError> {
        let written = |vector: &'_ [f32]| -> String {
            let bytes: Vec<u8> = vector.iter().flat_map(|part| part.to_le_bytes()).collect();
            STANDARD.encode(bytes)
        };
        let item = |(index, vector)| {
            let vector: &Vec<f32> = vector;
            let embedding = if base64 { Vector::Base64(written(vector)) } else { Vector::Numbers(vector) };
            Item { object: "embedding", index, embedding }
        };
        let usage = UsageBody {
            prompt_tokens: embedded.tokens,
            total_tokens: embedded.tokens,
            engine_us: embedded.reading_us,
            engine_prefill_us: embedded.reading_us,
            engine_decode_us: 0,
        };
        let data = embedded.vectors.iter().enumerate().map(item).collect();
        let answer = Answer { object: "list", data, model: &self.name, usage };
        serde_json::to_vec(&answer).map_err(|error| ApiError::internal(error.to_string()))
    }
}

/// Does what would hold up the runtime on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))
}
