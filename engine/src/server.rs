//! The worker's HTTP side: the OpenAI dialect of chats and embeddings, health and figures.
//!
//! It never computes: rendering and tokenising run on blocking threads, everything else in the scheduler. A request
//! whose connection goes away is dropped by hyper at the next poll, which drops its events' receiver and so cancels it.

mod adapter;
mod answer;
mod choice;
mod embed;
mod error;
mod order;
mod prepare;
mod request;
mod stream;
mod tokens;

use crate::grammar::Grammars;
use crate::llama::{LoadedAdapter, Model};
use crate::request_body::{ReadError, RequestBody};
use crate::scheduler::{Event, Order, Scheduler, Usage};
use crate::template::ChatTemplate;
use answer::{Heading, Kind};
use bytes::Bytes;
use choice::Choice;
use error::ApiError;
use futures_util::future::{select_all, try_join_all};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use prepare::Prepared;
use request::ChatRequest;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use stream::{ChatStream, Track};
use tokens::Question;

/// Larger bodies are refused: far more text than any context holds.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// The body of every answer.
pub(crate) type Body = Either<Full<Bytes>, ChatStream>;

/// A loaded model and all that answering needs.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) model: Arc<Model>,
    pub(crate) template: ChatTemplate,
    pub(crate) grammars: Grammars,
    pub(crate) scheduler: Scheduler,
}

/// Answers requests; says "loading" until it is given a [`Service`].
#[derive(Debug, Default)]
pub(crate) struct Server {
    service: OnceLock<Arc<Service>>,
}

/// Whether a body is a request of any kind.
#[cfg(feature = "fuzzing")]
pub(crate) fn parsed(body: &[u8]) -> bool {
    ChatRequest::parse(body).is_ok()
        | ChatRequest::parse_prompts(body).is_ok()
        | request::EmbeddingRequest::parse(body).is_ok()
}

impl Server {
    /// From now on requests are answered.
    pub(crate) fn open(&self, service: Arc<Service>) {
        // Opened once by its only owner; a second time would change nothing.
        self.service.get_or_init(|| service);
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(&parts, body);
        let request = Request::from_parts(parts, body);
        let path = request.uri().path().to_owned();
        // The version is OpenAI's; llama-server answers without it too.
        let short = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(&path);
        let result = match (request.method(), short, Question::of(short)) {
            (&Method::POST, "/chat/completions", _) => self.complete(request, Kind::Chat).await,
            (&Method::POST, "/completions", _) => self.complete(request, Kind::Text).await,
            (&Method::POST, "/embeddings", _) => self.embed(request).await,
            (&Method::POST, _, Some(question)) => self.tell(request, question).await,
            (&Method::GET, "/models", _) => self.ready().map(|service| json_answer(&service.models())),
            (&Method::GET, "/health", _) => self.ready().map(|_| json_answer(&json!({"status": "ok"}))),
            (&Method::GET, "/stats", _) => {
                self.ready().map(|service| json_answer(&json!(service.scheduler.stats())))
            }
            (_, "/chat/completions" | "/completions" | "/embeddings", _) | (_, _, Some(_)) => {
                Err(ApiError::wrong_method("POST"))
            }
            (_, "/models" | "/health" | "/stats", _) => Err(ApiError::wrong_method("GET")),
            (_, _, None) => Err(ApiError::no_route(&path)),
        };
        result.unwrap_or_else(|error| error_answer(&error))
    }

    fn ready(&self) -> Result<Arc<Service>, ApiError> {
        self.service.get().cloned().ok_or_else(ApiError::loading)
    }

    async fn tell(
        &self,
        request: Request<RequestBody>,
        question: Question,
    ) -> Result<Response<Body>, ApiError> {
        let service = self.ready()?;
        let caller = order::of(request.headers()).caller;
        let body = read(request).await?;
        let told = tokio::task::spawn_blocking(move || service.tell(question, &body, &caller)).await;
        told.map_err(|error| ApiError::internal(error.to_string()))?.map(|told| json_answer(&told))
    }

    async fn complete(&self, request: Request<RequestBody>, kind: Kind) -> Result<Response<Body>, ApiError> {
        let service = self.ready()?;
        service.must_write()?;
        let order = order::of(request.headers());
        let body = read(request).await?;
        let (preparing, caller) = (Arc::clone(&service), order.caller.clone());
        let prepare = move || {
            let request = match kind {
                Kind::Chat => ChatRequest::parse(&body)?,
                Kind::Text => ChatRequest::parse_prompts(&body)?,
            };
            let (adapter, name) = preparing.adapter(&request)?;
            let heading = Heading::new(kind, name);
            let prepared = match kind {
                Kind::Chat => vec![preparing.prepare(&request, adapter, &caller)?],
                Kind::Text => preparing.prepare_prompts(&request, adapter)?,
            };
            Ok::<_, ApiError>((request, prepared, heading))
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let (request, prepared, heading) =
            prepared.map_err(|error| ApiError::internal(error.to_string()))??;
        let mut tracks = service.submit(&request, &prepared, &order)?;
        if !request.stream {
            return whole_answer(&heading, tracks).await;
        }
        // The response begins with the first text, so that a failure before it is an honest status.
        begun(&mut tracks).await?;
        Ok(stream_answer(ChatStream::new(heading, tracks, request.include_usage)))
    }
}

impl Service {
    /// Submits a request's answers: to each prompt so many.
    fn submit(
        &self,
        request: &ChatRequest,
        prepared: &[Prepared],
        order: &Order,
    ) -> Result<Vec<Track>, ApiError> {
        let (answers, places) = (request.count * prepared.len(), self.scheduler.places());
        if answers > places {
            let message =
                format!("n: this engine takes {places} answers at once, not {answers}; ask for fewer.");
            return Err(ApiError::invalid("n", message));
        }
        let each =
            prepared.iter().flat_map(|prepared| (0..request.count).map(move |number| (prepared, number)));
        let answers = each.map(|(prepared, number)| {
            let mut job = prepared.job.clone();
            // Each answer has a draw of its own, which the request's seed still decides.
            job.sampling.seed = job.sampling.seed.map(|seed| seed.wrapping_add(number as u64));
            let events = self.scheduler.submit(job, order.clone())?;
            let choice =
                Choice::new(prepared.assembler.clone(), &prepared.opening, request.logprobs.is_some());
            Ok(Track::new(choice, events, number > 0))
        });
        // Where one finds no place, those before it are dropped, which cancels them.
        answers.collect()
    }

    fn models(&self) -> Value {
        let meta = json!({
            "context": self.scheduler.context(),
            "context_trained": self.model.trained_context(),
            "architecture": self.model.architecture(),
            "parameters": self.model.parameters(),
            "bytes": self.model.bytes(),
        });
        let model =
            json!({"id": self.name, "object": "model", "created": 0, "owned_by": "tollgate", "meta": meta});
        let adapter = |(id, loaded): (usize, &LoadedAdapter)| {
            json!({
                "id": loaded.name, "object": "model", "created": 0, "owned_by": "tollgate", "parent": self.name,
                "meta": {"lora": {"id": id, "scale": loaded.scale}},
            })
        };
        let adapters = self.model.adapters().iter().enumerate().map(adapter);
        json!({"object": "list", "data": std::iter::once(model).chain(adapters).collect::<Vec<_>>()})
    }
}

async fn read(request: Request<RequestBody>) -> Result<Bytes, ApiError> {
    request.into_body().read(BODY_LIMIT).await.map_err(|error| match error {
        ReadError::TooLarge => ApiError::too_large(BODY_LIMIT),
        ReadError::Broken(error) => ApiError::cut_short(&error.to_string()),
    })
}

async fn whole_answer(heading: &Heading, tracks: Vec<Track>) -> Result<Response<Body>, ApiError> {
    let (mut choices, mut usage) = (Vec::new(), Usage::default());
    // All at once: the failure of one ends the others, which may still wait.
    let answers = try_join_all(tracks.into_iter().map(Track::whole)).await?;
    for (index, (mut choice, ending, took)) in answers.into_iter().enumerate() {
        choices.push(heading.choice(index, choice.message(), ending));
        usage = usage.and(took);
    }
    Ok(json_answer(&heading.completion(&choices, usage)))
}

/// Waits until one of the answers has begun, or failed.
async fn begun(tracks: &mut [Track]) -> Result<(), ApiError> {
    let firsts: Vec<_> = tracks.iter_mut().map(|track| Box::pin(track.first())).collect();
    if firsts.is_empty() {
        return Ok(());
    }
    match select_all(firsts).await.0.ok_or_else(stopped)? {
        Event::Failed(failure) => Err((*failure).into()),
        _ => Ok(()),
    }
}

fn stopped() -> ApiError {
    ApiError::internal("The engine stopped before it answered.")
}

fn json_answer(value: &Value) -> Response<Body> {
    answered(value.to_string().into_bytes())
}

fn answered(json: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(json)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn error_answer(error: &ApiError) -> Response<Body> {
    let mut response = json_answer(&error.body());
    *response.status_mut() = error.status;
    if let Some(wait) = error.retry_after {
        let seconds = wait.as_secs_f64().ceil() as u64;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if error.status == StatusCode::METHOD_NOT_ALLOWED {
        tracing::debug!(message = %error.message, "wrong method");
    }
    response
}

fn stream_answer(stream: ChatStream) -> Response<Body> {
    let mut response = Response::new(Either::Right(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
