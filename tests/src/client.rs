//! A client of the gateway: plain requests, and streams read event by event.
//!
//! It never retries and never follows anything: what the gateway did is what a test sees.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::sse::{Event, Parser};
use crate::within;

type Connections = legacy::Client<HttpConnector, Full<Bytes>>;

/// The chat route.
pub const CHAT: &str = "/v1/chat/completions";

/// A client with its own connections.
#[derive(Clone, Debug)]
pub struct Client {
    addr: SocketAddr,
    connections: Connections,
    headers: HeaderMap,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
}

impl Client {
    /// A client that speaks HTTP/1.1.
    pub fn new(addr: SocketAddr) -> Self {
        let connections =
            legacy::Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        Self { addr, connections, headers: HeaderMap::new() }
    }

    /// A client that speaks HTTP/2 from the first byte.
    pub fn http2(addr: SocketAddr) -> Self {
        let mut client = Self::new(addr);
        client.connections = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        client
    }

    /// The same client, sending this header with every request.
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        let value = HeaderValue::from_str(value).expect("a test's header value is valid");
        client.headers.insert(HeaderName::from_static(name), value);
        client
    }

    /// The same client, presenting this key.
    pub fn key(&self, secret: &str) -> Self {
        self.with("authorization", &format!("Bearer {secret}"))
    }

    /// Fetches a path.
    pub async fn get(&self, path: &str) -> Reply {
        Reply::read(self.send(Method::GET, path, Bytes::new()).await).await
    }

    /// Sends a chat body and reads the whole answer.
    pub async fn chat(&self, body: &Value) -> Reply {
        self.post(CHAT, body.to_string()).await
    }

    /// Sends any bytes as JSON and reads the whole answer.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        Reply::read(self.send(Method::POST, path, body.into()).await).await
    }

    /// Sends a chat body and leaves the answer to be read event by event.
    pub async fn stream(&self, body: &Value) -> Stream {
        let response = self.send(Method::POST, CHAT, body.to_string().into()).await;
        let (head, body) = response.into_parts();
        Stream {
            status: head.status,
            headers: head.headers,
            body,
            parser: Parser::default(),
            raw: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Sends a chat body; `None` when the gateway went away before it had answered whole.
    pub async fn try_chat(&self, body: &Value) -> Option<Reply> {
        let response =
            self.connections.request(self.request(Method::POST, CHAT, body.to_string().into())).await;
        let (head, body) = response.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Reply { status: head.status, headers: head.headers, body })
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Response<Incoming> {
        let what = format!("an answer to {method} {path}");
        let response = self.connections.request(self.request(method, path, body));
        within(&what, response).await.expect("the gateway answers every request")
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addr))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("a test's request is valid");
        request.headers_mut().extend(self.headers.clone());
        request
    }
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = within("the body's end", body.collect()).await.expect("the body arrives whole").to_bytes();
        Self { status: head.status, headers: head.headers, body }
    }

    /// The body as JSON; fails the test when it is none.
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// The first choice's text.
    pub fn content(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
    }

    /// The `error` object; fails the test when the body has none.
    pub fn error(&self) -> Value {
        let body = self.json();
        assert!(body["error"]["message"].is_string(), "{} without an error message: {body}", self.status);
        body["error"].clone()
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A streamed answer that is being read. Dropping it closes the connection.
#[derive(Debug)]
pub struct Stream {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    parser: Parser,
    raw: Vec<u8>,
    ready: Vec<Event>,
}

/// A streamed answer that was read to its end.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// All events, `[DONE]` included.
    pub events: Vec<Event>,
    /// The bytes as they came.
    pub raw: Vec<u8>,
    /// Whether the body ended as HTTP wants it.
    pub ended: bool,
}

impl Stream {
    /// A header's value, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Event> {
        while self.ready.is_empty() {
            let frame = within("the next event", self.body.frame()).await?.expect("the stream is not cut");
            self.take(frame.into_data().unwrap_or_default());
        }
        Some(self.ready.remove(0))
    }

    /// Reads to the end, even if that is a cut connection.
    pub async fn finish(mut self) -> Transcript {
        let mut events = std::mem::take(&mut self.ready);
        let mut ended = true;
        while let Some(frame) = within("the end of the stream", self.body.frame()).await {
            let Ok(frame) = frame else {
                ended = false;
                break;
            };
            self.take(frame.into_data().unwrap_or_default());
            events.append(&mut self.ready);
        }
        Transcript { events, raw: self.raw, ended: ended && self.parser.rest().is_empty() }
    }

    fn take(&mut self, bytes: Bytes) {
        self.raw.extend_from_slice(&bytes);
        self.ready.extend(self.parser.push(&bytes));
    }
}

impl Transcript {
    /// The text of all deltas, joined.
    pub fn content(&self) -> String {
        let chunks = self.events.iter().filter(|event| !event.is_done());
        chunks
            .map(|event| {
                event.json()["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
            })
            .collect()
    }

    /// The `usage` of the last chunk that has one, or null.
    pub fn usage(&self) -> Value {
        let chunks = self.events.iter().rev().filter(|event| !event.is_done());
        chunks.map(|event| event.json()["usage"].clone()).find(|usage| !usage.is_null()).unwrap_or_default()
    }

    /// Whether the last event is `[DONE]`.
    pub fn done(&self) -> bool {
        self.events.last().is_some_and(Event::is_done)
    }
}
