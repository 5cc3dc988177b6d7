//! Real workers that end with the tests that use them, and a small HTTP client.
//!
//! The model is SmolLM2-135M, which `tollgate models pull smollm2-135m` fetches. It computes on one thread, so that
//! tests running beside each other on a busy machine don't wait at each other's barriers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: a failure is its message")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]
#![allow(dead_code, reason = "each test program uses its own part")]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, oneshot};
use tollgate_engine::worker::{Worker, WorkerOptions};
use tollgate_engine::{EngineError, models};

/// Tokens per request of the shared worker.
pub(crate) const CONTEXT: u32 = 1024;
/// Requests at once of the shared worker.
pub(crate) const PARALLEL: u32 = 4;

/// The small model's file.
pub(crate) fn model() -> PathBuf {
    models::resolve("smollm2-135m").expect("the tests need a model: run `tollgate models pull smollm2-135m`")
}

/// Usual options for the small model on a free port.
pub(crate) fn options() -> WorkerOptions {
    options_for(model())
}

/// The same for a model by its name in the registry; `None`, and a word on it, where it is not at hand.
pub(crate) fn options_if_there(name: &str) -> Option<WorkerOptions> {
    let found = models::resolve(name).ok();
    if found.is_none() {
        eprintln!("skipped: needs `tollgate models pull {name}`");
    }
    found.map(options_for)
}

fn options_for(model: PathBuf) -> WorkerOptions {
    let mut options = WorkerOptions::new(model, "127.0.0.1:0");
    options.threads = Some(1);
    options.context = CONTEXT;
    options.parallel = PARALLEL;
    // Tests that leave answers unread shall not wait for them.
    options.drain = Duration::ZERO;
    options
}

/// A worker on a runtime of its own; dropping it stops it and waits until nothing of it runs any more.
pub(crate) struct Running {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), EngineError>>>,
}

impl Deref for Running {
    type Target = str;

    fn deref(&self) -> &str {
        &self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || matches!(ended, Ok(Ok(()))), "{ended:?}");
        }
    }
}

impl Running {
    /// Starts a worker and returns once it listens; it may still be loading.
    pub(crate) async fn listening(options: WorkerOptions) -> Running {
        let (send, receive) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let worker = Worker::bind(options).await?;
                send.send(worker.address()).unwrap();
                // The sender is never used, only dropped.
                worker.serve(async { drop(stopped.await) }).await
            })
        });
        Running { address: receive.await.unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

/// The worker that tests share while any of them runs: started by the first, stopped by the last.
pub(crate) async fn shared() -> Arc<Running> {
    static SHARED: Mutex<Weak<Running>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let running = Arc::new(start(options()).await);
    *shared = Arc::downgrade(&running);
    running
}

/// Starts a worker and returns once it is ready.
pub(crate) async fn start(options: WorkerOptions) -> Running {
    let running = Running::listening(options).await;
    while get(&running, "/health").await.0 != StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running
}

/// A connection to a worker; aborting it is a client that goes away.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    unread: Option<Response<Incoming>>,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        let task = async { drop(connection.await) };
        let connection = tokio::runtime::Handle::current().spawn(task);
        Client { sender, unread: None, connection }
    }

    /// Keeps an answer unread for as long as the client lives.
    pub(crate) fn keep(&mut self, response: Response<Incoming>) {
        self.unread = Some(response);
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, body: Vec<u8>) -> Response<Incoming> {
        self.send_with(method, path, body, &[]).await
    }

    pub(crate) async fn send_with(
        &mut self,
        method: &str,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(path).header("host", "engine");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.sender.send_request(request.body(Full::from(body)).unwrap()).await.unwrap()
    }

    pub(crate) async fn chat(&mut self, body: &Value) -> Response<Incoming> {
        self.send("POST", "/v1/chat/completions", body.to_string().into_bytes()).await
    }
}

/// Any request: status and JSON body.
pub(crate) async fn call(address: &str, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, Value) {
    let mut client = Client::connect(address).await;
    let response = client.send(method, path, body).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

pub(crate) async fn get(address: &str, path: &str) -> (StatusCode, Value) {
    call(address, "GET", path, Vec::new()).await
}

/// A chat request: status and JSON body.
pub(crate) async fn chat(address: &str, body: &Value) -> (StatusCode, Value) {
    call(address, "POST", "/v1/chat/completions", body.to_string().into_bytes()).await
}

/// A greedy request that computes everything afresh, so that its text is the same every time it runs alone.
pub(crate) fn ask(prompt: &str, max_tokens: u32) -> Value {
    json!({
        "model": "any", "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens, "temperature": 0, "cache_prompt": false,
    })
}

/// `ask` with more fields.
pub(crate) fn ask_with(prompt: &str, max_tokens: u32, more: Value) -> Value {
    let mut body = ask(prompt, max_tokens);
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The text of a whole answer.
pub(crate) fn text(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no text in {answer}"))
}

/// The chunks of a streamed answer; the stream must end with `[DONE]`.
pub(crate) async fn stream(address: &str, body: &Value) -> Vec<Value> {
    let mut client = Client::connect(address).await;
    let response = client.chat(body).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("chunks hold whole characters");
    let mut events: Vec<&str> =
        body.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(events.pop(), Some("[DONE]"));
    events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

/// The text of a streamed answer.
pub(crate) fn streamed_text(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

/// Polls the figures until `what` holds.
pub(crate) async fn until_stats(address: &str, what: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1000 {
        let (_, stats) = get(address, "/stats").await;
        if what(&stats) {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the figures never became as expected; last: {}", get(address, "/stats").await.1);
}
