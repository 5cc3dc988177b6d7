//! One real worker per test program, and a small HTTP client for it.
//!
//! The model is SmolLM2-135M, which `tollgate models pull smollm2-135m` fetches. It computes on one thread, so that
//! tests running beside each other on a busy machine don't wait at each other's barriers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: a failure is its message")]
#![allow(dead_code, reason = "each test program uses its own part")]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;
use tollgate_engine::models;
use tollgate_engine::worker::{Worker, WorkerOptions};

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
    let mut options = WorkerOptions::new(model(), "127.0.0.1:0");
    options.threads = Some(1);
    options.context = CONTEXT;
    options.parallel = PARALLEL;
    options
}

/// The address of the shared worker, started on first use.
pub(crate) async fn shared() -> &'static str {
    static ADDRESS: OnceCell<String> = OnceCell::const_new();
    ADDRESS.get_or_init(|| start(options())).await
}

/// Starts a worker on a runtime of its own that lives as long as the program; returns its address once it is ready.
pub(crate) async fn start(options: WorkerOptions) -> String {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let worker = Worker::bind(options).await.unwrap();
            send.send(worker.address()).unwrap();
            worker.serve(std::future::pending()).await.unwrap();
        });
    });
    let address = receive.await.unwrap();
    while get(&address, "/health").await.0 != StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    address
}

/// A connection to a worker; aborting it is a client that goes away.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
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
        Client { sender, connection }
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, body: Vec<u8>) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(path).header("host", "engine");
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
