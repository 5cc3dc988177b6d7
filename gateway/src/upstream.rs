//! Where answers come from: one HTTP client per engine, over TCP, TLS or a worker's Unix socket.
//!
//! To the request path every engine is the same thing: a body goes in, an answer's head or a [`Failure`]
//! comes out. Nothing is retried here; falling back to another model is the request path's business. Sockets
//! have TCP_NODELAY; connecting, the first byte and every pause after it have their own limits.

mod arriving;
mod breaker;
mod failure;
mod health;
mod probe;
mod scrape;
mod turn;
mod unix;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tollgate_engine::EngineError;
use tollgate_engine::supervisor::{Address, Engine, Lease, State, Trouble};

pub use arriving::Arriving;
pub use failure::Failure;
pub use turn::Turn;

use crate::lanes::PerLane;
use crate::operation::Operation;

use breaker::Breaker;
use probe::Probe;
use unix::UnixConnector;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Most of an upstream's error body that is read.
const ERROR_BODY: usize = 64 * 1024;
/// How long an unused connection is kept for the next request.
const KEEP_IDLE: Duration = Duration::from_secs(60);
/// Between two looks at the figures of a server that was started by command.
const PROBE_COMMAND: Duration = Duration::from_secs(2);

/// How long to wait for an engine, at most.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection to be made.
    pub connect: Duration,
    /// From sending the request to the answer's headers.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
}

/// Why an upstream could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The base URL does not make a request target.
    #[error("engine {engine:?}: base_url {url:?} is not a URL")]
    Url {
        /// The engine.
        engine: String,
        /// The URL configured.
        url: String,
    },
    /// The API key cannot be sent in a header.
    #[error("engine {engine:?}: the API key has characters that a header cannot carry")]
    Key {
        /// The engine.
        engine: String,
    },
    /// The system's certificates cannot be read, so https cannot be checked.
    #[error("engine {engine:?}: the system's root certificates cannot be read: {source}")]
    Certificates {
        /// The engine.
        engine: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// One engine as the gateway reaches it.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    link: Link,
    target: Target,
    authorization: Option<HeaderValue>,
    timeouts: Timeouts,
    breaker: Breaker,
    /// What is found out by asking it, if it is asked.
    probe: Option<Probe>,
}

type OverTcp = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

#[derive(Debug)]
enum Link {
    Tcp(PerLane<OverTcp>),
    Unix(PerLane<Client<UnixConnector, Full<Bytes>>>),
}

/// Where requests go.
#[derive(Debug)]
enum Target {
    /// Always to the same places.
    Fixed { chat: Uri, embeddings: Uri },
    /// To the process that is up, started if need be.
    Process(Arc<Engine>),
}

impl Upstream {
    /// A server of the OpenAI dialect that runs already; `base_url` ends in `/v1` or the like, without a slash.
    ///
    /// # Errors
    /// [`UpstreamError`] naming the engine.
    pub fn openai(
        name: &str,
        base_url: &str,
        api_key: Option<&str>,
        probe: Option<Duration>,
        timeouts: Timeouts,
    ) -> Result<Upstream, UpstreamError> {
        let engine = name.to_owned();
        let place = |operation: Operation| {
            format!("{base_url}{}", operation.path())
                .parse()
                .map_err(|_| UpstreamError::Url { engine: name.to_owned(), url: base_url.to_owned() })
        };
        Ok(Upstream {
            link: Link::Tcp(pool(tls(name, timeouts)?)),
            target: Target::Fixed {
                chat: place(Operation::Chat)?,
                embeddings: place(Operation::Embeddings)?,
            },
            authorization: authorization(name, api_key)?,
            timeouts,
            breaker: Breaker::default(),
            probe: probe.map(|every| Probe::new(Some(base_url), every)),
            name: engine,
        })
    }

    /// A llama.cpp worker that Tollgate supervises.
    #[must_use]
    pub fn embedded(worker: Arc<Engine>, timeouts: Timeouts) -> Upstream {
        let place = Arc::clone(&worker);
        Upstream {
            name: worker.name().to_owned(),
            link: Link::Unix(pool(UnixConnector::new(move |number| place.spec().socket(number)))),
            target: Target::Process(worker),
            authorization: None,
            timeouts,
            breaker: Breaker::default(),
            probe: None,
        }
    }

    /// Another server that Tollgate supervises.
    ///
    /// # Errors
    /// [`UpstreamError`] naming the engine.
    pub fn command(
        worker: Arc<Engine>,
        api_key: Option<&str>,
        timeouts: Timeouts,
    ) -> Result<Upstream, UpstreamError> {
        let name = worker.name().to_owned();
        Ok(Upstream {
            link: Link::Tcp(pool(tls(&name, timeouts)?)),
            authorization: authorization(&name, api_key)?,
            target: Target::Process(worker),
            timeouts,
            breaker: Breaker::default(),
            probe: Some(Probe::new(None, PROBE_COMMAND)),
            name,
        })
    }

    /// The process behind it, if it is one of Tollgate's.
    #[must_use]
    pub fn worker(&self) -> Option<&Arc<Engine>> {
        match &self.target {
            Target::Fixed { .. } => None,
            Target::Process(worker) => Some(worker),
        }
    }

    /// The engine's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Longest pause between two pieces of an answer.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        self.timeouts.idle
    }

    /// Sends a request's body and waits for the answer's head; an engine that is started by requests is waited for first. A worker of
    /// Tollgate's own is told whose `turn` it is.
    ///
    /// # Errors
    /// [`Failure`]: what went wrong, and whether another model may be tried.
    pub async fn ask(
        &self,
        operation: Operation,
        body: Bytes,
        request_id: &str,
        turn: Turn<'_>,
    ) -> Result<Response<Arriving>, Failure> {
        let sent = self.probe.as_ref().map(Probe::send);
        let (target, lease) = self.enter(operation).await?;
        let process = lease.as_ref().map_or(0, Lease::number);
        let mut request = Request::post(target).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        // Names of keys are nobody else's business.
        if matches!(self.link, Link::Unix(_)) {
            request = turn.put(request);
        }
        let request = request
            .header(REQUEST_ID, request_id)
            .body(Full::new(body))
            .map_err(|_| Failure::Unreachable { engine: self.name.clone() })?;
        let answer = async {
            match &self.link {
                Link::Tcp(client) => client.here().request(request).await,
                Link::Unix(client) => client.here().request(request).await,
            }
        };
        let outcome = match tokio::time::timeout(self.timeouts.first_byte, answer).await {
            Err(_) => Err(Failure::Slow { engine: self.name.clone(), waited: self.timeouts.first_byte }),
            Ok(Err(error)) => Err(self.no_answer(&error)),
            Ok(Ok(response)) => {
                let response = response.map(|body| Arriving::new(body, lease, sent));
                if response.status().is_success() { Ok(response) } else { Err(self.refused(response).await) }
            }
        };
        self.breaker.record(process, outcome.as_ref().map(|_| ()).map_err(Failure::is_of_engine));
        outcome
    }

    /// Where the request goes, and its place in the process that takes it.
    async fn enter(&self, operation: Operation) -> Result<(Uri, Option<Lease>), Failure> {
        let worker = match &self.target {
            Target::Fixed { chat, .. } if operation == Operation::Chat => return Ok((chat.clone(), None)),
            Target::Fixed { embeddings, .. } => return Ok((embeddings.clone(), None)),
            Target::Process(worker) => worker,
        };
        let lease = worker.enter().await.map_err(|error| self.not_ready(worker, &error))?;
        // Another authority for every process, so that no connection to an earlier one is used again.
        let authority = match lease.address() {
            Address::Unix(_) => unix::authority(lease.number()),
            Address::Tcp(address) => address.to_string(),
        };
        let path = match operation {
            Operation::Chat => "/v1/chat/completions",
            Operation::Embeddings => "/v1/embeddings",
        };
        let target = Uri::builder().scheme("http").authority(authority).path_and_query(path);
        let target = target.build().map_err(|_| Failure::Unreachable { engine: self.name.clone() })?;
        Ok((target, Some(lease)))
    }

    fn not_ready(&self, worker: &Engine, error: &EngineError) -> Failure {
        tracing::warn!(engine = self.name, %error, "the engine is not ready for a request");
        let why = match worker.state() {
            State::Down { reason, .. } | State::Failed { reason } => match Trouble::of(&reason) {
                Trouble::Other => "it is down and will be started again",
                trouble => trouble.public(),
            },
            _ => "it is being started",
        };
        Failure::NotReady { engine: self.name.clone(), why }
    }

    fn no_answer(&self, error: &hyper_util::client::legacy::Error) -> Failure {
        let mut chain = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            source = cause.source();
        }
        tracing::warn!(engine = self.name, error = chain, "the engine gave no answer");
        if error.is_connect() {
            Failure::Unreachable { engine: self.name.clone() }
        } else {
            Failure::Broken { engine: self.name.clone() }
        }
    }

    /// Reads why an engine refused: its words go to the client only where the request is what it refused.
    async fn refused(&self, response: Response<Arriving>) -> Failure {
        let status = response.status();
        let reading = Limited::new(response.into_body(), ERROR_BODY).collect();
        let body = match tokio::time::timeout(self.timeouts.idle, reading).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let engine = self.name.clone();
        let said = String::from_utf8_lossy(&body[..body.len().min(500)]);
        tracing::warn!(engine, %status, said = %said, "the engine refused the request");
        match status {
            StatusCode::TOO_MANY_REQUESTS => Failure::Busy { engine },
            // A worker whose queue is full, or too long for the request's deadline, is not ill.
            _ if failure::is_overload(&body) => Failure::Busy { engine },
            _ if failure::is_unable(&body) => Failure::Unable { engine },
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                let (message, param) = failure::words_of(&body);
                if failure::is_too_long(&body) {
                    return Failure::TooLong { engine, message, param };
                }
                if failure::is_unsupported(&body) {
                    return Failure::Unsupported { engine, message, param };
                }
                Failure::Refused { engine, status, message, param }
            }
            _ => Failure::Status { engine, status },
        }
    }
}

/// Connects over TCP, and TLS where the address wants it.
pub(crate) fn connector(patience: Duration) -> std::io::Result<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(patience));
    tcp.enforce_http(false);
    let tls = HttpsConnectorBuilder::new().with_native_roots()?;
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp))
}

fn tls(engine: &str, timeouts: Timeouts) -> Result<HttpsConnector<HttpConnector>, UpstreamError> {
    connector(timeouts.connect)
        .map_err(|source| UpstreamError::Certificates { engine: engine.to_owned(), source })
}

fn authorization(engine: &str, api_key: Option<&str>) -> Result<Option<HeaderValue>, UpstreamError> {
    let Some(key) = api_key else { return Ok(None) };
    bearer(key).map(Some).ok_or_else(|| UpstreamError::Key { engine: engine.to_owned() })
}

fn bearer(key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Connections to one engine, each lane its own.
fn pool<C>(connector: C) -> PerLane<Client<C, Full<Bytes>>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    PerLane::new(|| {
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_IDLE)
            .build(connector.clone())
    })
}
