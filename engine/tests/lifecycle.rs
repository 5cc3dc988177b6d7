//! Workers started and ended again and again, at every stage of their life: nothing of them is left running.
//!
//! One test, so that every scheduler thread of this process is its own.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;

use hyper::StatusCode;
use serde_json::json;
use std::future::{pending, ready};
use std::time::{Duration, Instant};
use support::{Client, Running, ask_with, start};
use tokio::task::JoinSet;
use tollgate_engine::worker::{self, Worker, WorkerOptions};
use tollgate_engine::{EngineError, models};

/// Threads of this process that run a scheduler.
fn schedulers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "scheduler").count()
}

fn options() -> WorkerOptions {
    let mut options = support::options();
    (options.context, options.parallel) = (512, 2);
    options
}

/// Begins an answer that will not end by itself.
async fn begin_answer(worker: &Running) -> Client {
    let mut client = Client::connect(worker).await;
    let body = ask_with("Count upwards from 1.", 480, json!({"stream": true, "temperature": 1.5}));
    let response = client.chat(&body).await;
    assert_eq!(response.status(), StatusCode::OK);
    client.keep(response);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_running() {
    for round in 0..3 {
        stopped_while_idle_and_while_answering(round).await;
        stopped_while_loading(round).await;
        dropped_while_serving().await;
    }
    dropped_on_the_only_thread();
    failed_at_the_start().await;
    drained().await;
}

async fn stopped_while_idle_and_while_answering(round: usize) {
    drop(start(options()).await);
    assert_eq!(schedulers(), 0, "round {round}: stopped while idle");
    let worker = start(options()).await;
    let clients = [begin_answer(&worker).await, begin_answer(&worker).await];
    assert_eq!(schedulers(), 1);
    let began = Instant::now();
    drop(worker);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    assert_eq!(schedulers(), 0, "round {round}: stopped while answering");
    drop(clients);
}

/// The order to stop comes before the model is loaded, or while it is.
async fn stopped_while_loading(round: usize) {
    worker::run(options(), ready(())).await.unwrap();
    assert_eq!(schedulers(), 0, "round {round}: stopped at once");
    for delay_ms in [1, 5, 20, 60] {
        let after = tokio::time::sleep(Duration::from_millis(delay_ms));
        worker::run(options(), after).await.unwrap();
        assert_eq!(schedulers(), 0, "round {round}: stopped after {delay_ms} ms");
    }
}

/// `serve` is given up by its caller in the middle, as an aborted task is.
async fn dropped_while_serving() {
    let worker = Worker::bind(options()).await.unwrap();
    let address = worker.address();
    let mut serving = JoinSet::new();
    serving.spawn(worker.serve(pending()));
    while support::get(&address, "/health").await.0 != StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut client = Client::connect(&address).await;
    let response = client.chat(&ask_with("Count upwards.", 480, json!({"stream": true}))).await;
    assert_eq!(response.status(), StatusCode::OK);
    serving.abort_all();
    assert!(serving.join_next().await.unwrap().unwrap_err().is_cancelled());
    assert_eq!(schedulers(), 0, "dropped while serving");
}

/// Connections are tasks of the thread that drops the worker: it must not wait for them to let go.
fn dropped_on_the_only_thread() {
    let only = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let worker = Worker::bind(options()).await.unwrap();
            let address = worker.address();
            let asking = async {
                while support::get(&address, "/health").await.0 != StatusCode::OK {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let mut client = Client::connect(&address).await;
                let response = client.chat(&ask_with("Count.", 480, json!({"stream": true}))).await;
                client.keep(response);
                client
            };
            tokio::select! {
                _ = worker.serve(pending()) => unreachable!("nobody stops it"),
                client = asking => client,
            }
        })
    });
    drop(only.join().unwrap());
    assert_eq!(schedulers(), 0, "dropped on the only thread");
}

/// A model that cannot be used: the error is told and the thread is gone.
async fn failed_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.gguf");
    let whole = std::fs::read(models::resolve("smollm2-135m").unwrap()).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let error = worker::run(WorkerOptions { model: cut, ..options() }, pending()).await.unwrap_err();
    assert!(matches!(error, EngineError::ModelRefused { .. }), "{error}");
    assert_eq!(schedulers(), 0, "failed at the start");
}

/// Given time, a running answer is finished before the end.
async fn drained() {
    let worker = start(WorkerOptions { drain: Duration::from_secs(120), ..options() }).await;
    let address = worker.to_string();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let mut answers = JoinSet::new();
    answers.spawn(async move {
        let mut client = Client::connect(&address).await;
        let response = client.chat(&ask_with("Count upwards from 1.", 40, json!({"stream": true}))).await;
        begun.send(()).unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    });
    has_begun.await.unwrap();
    tokio::task::spawn_blocking(|| drop(worker)).await.unwrap();
    let answer = answers.join_next().await.unwrap().unwrap();
    assert!(answer.ends_with("data: [DONE]\n\n") && !answer.contains("\"error\""), "{answer}");
    assert_eq!(schedulers(), 0, "drained");
}
