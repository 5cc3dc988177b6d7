//! Who goes first: short prompts before long ones, callers in turn, near deadlines before far ones; and what is too late.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;

use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use support::{Client, Running, ask, ask_with, chat, start, until_stats};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A worker of so many slots with room for long prompts.
async fn worker(parallel: u32) -> Running {
    let mut options = support::options();
    (options.parallel, options.context) = (parallel, 1024);
    start(options).await
}

/// Asks under these headers; status and JSON body.
async fn ask_as(address: &str, body: &Value, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut client = Client::connect(address).await;
    let body = body.to_string().into_bytes();
    let response = client.send_with("POST", "/v1/chat/completions", body, headers).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// Takes the only slot until it is dropped.
async fn hold(address: &str) -> Client {
    let mut client = Client::connect(address).await;
    let body = ask_with("Count.", 900, json!({"stream": true, "ignore_eos": true}));
    let response = client.chat(&body).await;
    client.keep(response);
    client
}

#[tokio::test]
async fn a_short_prompt_is_answered_while_a_long_one_is_read() {
    let worker = worker(2).await;
    let (ended, mut order) = mpsc::channel(2);
    let mut asked = JoinSet::new();
    for (name, prompt) in [("long", "word ".repeat(700)), ("short", "Say hello.".to_owned())] {
        let (address, ended) = (worker.to_string(), ended.clone());
        asked.spawn(async move {
            let (status, answer) = chat(&address, &ask(&prompt, 1)).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            ended.send(name).await.unwrap();
        });
        // The long one is being read before the short one comes.
        until_stats(&worker, |stats| stats["active"] != 0).await;
    }
    assert_eq!(order.recv().await, Some("short"));
    assert_eq!(order.recv().await, Some("long"));
}

#[tokio::test]
async fn callers_take_turns_and_near_deadlines_come_first() {
    let worker = worker(1).await;
    let held = hold(&worker).await;
    let (ended, mut order) = mpsc::channel(8);
    let mut asked = JoinSet::new();
    let requests =
        [("a1", "a", "900000"), ("a2", "a", "600000"), ("a3", "a", ""), ("b1", "b", ""), ("b2", "b", "")];
    for (waiting, (name, caller, deadline)) in requests.into_iter().enumerate() {
        let (address, ended) = (worker.to_string(), ended.clone());
        asked.spawn(async move {
            let headers = [("x-tollgate-caller", caller), ("x-tollgate-deadline-ms", deadline)];
            let (status, answer) = ask_as(&address, &ask("Say hello.", 1), &headers).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            ended.send(name).await.unwrap();
        });
        until_stats(&worker, |stats| stats["queue_depth"] == waiting + 1).await;
    }
    drop(held);
    let mut answered = Vec::new();
    for _ in requests {
        answered.push(order.recv().await.unwrap());
    }
    assert_eq!(answered, ["a2", "b1", "a1", "b2", "a3"]);
}

#[tokio::test]
async fn one_caller_cannot_fill_the_queue_against_others() {
    let mut options = support::options();
    (options.parallel, options.queue) = (1, 3);
    let worker = start(options).await;
    let held = hold(&worker).await;
    let (ended, mut order) = mpsc::channel(8);
    let mut asked = JoinSet::new();
    let mut ask_for = |name: &'static str, body: Value| {
        let (address, ended) = (worker.to_string(), ended.clone());
        asked.spawn(async move {
            let (status, answer) = ask_as(&address, &body, &[("x-tollgate-caller", &name[..1])]).await;
            ended.send((name, status, answer)).await.unwrap();
        });
    };
    let one = || ask("Say hello.", 1);
    ask_for("a1", one());
    until_stats(&worker, |stats| stats["queue_depth"] == 1).await;
    // A request of two answers is refused as a whole where one of them gives way.
    ask_for("a2", ask_with("Say hello.", 1, json!({"n": 2})));
    until_stats(&worker, |stats| stats["queue_depth"] == 3).await;
    ask_for("b1", one());
    let (name, status, answer) = order.recv().await.unwrap();
    assert_eq!((name, status), ("a2", StatusCode::SERVICE_UNAVAILABLE), "{answer}");
    assert_eq!(answer["error"]["code"], "engine_overloaded", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("of this caller"), "{answer}");
    until_stats(&worker, |stats| stats["queue_depth"] == 2).await;
    ask_for("b2", one());
    until_stats(&worker, |stats| stats["queue_depth"] == 3).await;
    // Neither has so many more than the other that it would have to give way.
    for (caller, who) in [("a", "the queue is full"), ("b", "nor for its own")] {
        let (status, answer) = ask_as(&worker, &one(), &[("x-tollgate-caller", caller)]).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{who}: {answer}");
    }
    drop(held);
    let mut answered = Vec::new();
    for _ in 0..3 {
        let (name, status, answer) = order.recv().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        answered.push(name);
    }
    assert_eq!(answered, ["a1", "b1", "b2"]);
}

#[tokio::test]
async fn a_stream_of_which_an_answer_gives_way_ends_with_an_error() {
    let mut options = support::options();
    (options.parallel, options.queue) = (1, 2);
    let worker = start(options).await;
    let mut client = Client::connect(&worker).await;
    let body = ask_with("Count.", 900, json!({"stream": true, "ignore_eos": true, "n": 3})).to_string();
    let headers = [("x-tollgate-caller", "a")];
    let stream = client.send_with("POST", "/v1/chat/completions", body.into_bytes(), &headers).await;
    assert_eq!(stream.status(), StatusCode::OK, "its first answer has begun");
    let (body, headers) = (ask("Say hello.", 1), [("x-tollgate-caller", "b")]);
    let other = ask_as(&worker, &body, &headers);
    let ((status, answer), events) = tokio::join!(other, stream.into_body().collect());
    assert_eq!(status, StatusCode::OK, "{answer}");
    let events = String::from_utf8(events.unwrap().to_bytes().to_vec()).unwrap();
    let last = events.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.contains("engine_overloaded") && !events.contains("[DONE]"), "{last}");
    until_stats(&worker, |stats| stats["active"] == 0 && stats["queue_depth"] == 0).await;
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_is_told() {
    let worker = worker(1).await;
    let held = hold(&worker).await;
    let (status, answer) = ask_as(&worker, &ask("Say hello.", 1), &[("x-tollgate-deadline-ms", "50")]).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{answer}");
    assert_eq!(answer["error"]["code"], "deadline_exceeded");
    assert!(answer["error"]["message"].as_str().unwrap().contains("x-tollgate-deadline-ms"), "{answer}");
    until_stats(&worker, |stats| stats["queue_depth"] == 0 && stats["active"] == 1).await;
    drop(held);
}

#[tokio::test]
async fn what_a_request_took_is_told_for_its_prompt_and_its_answer_apart() {
    let worker = worker(2).await;
    let began = std::time::Instant::now();
    let mut asked = JoinSet::new();
    for body in [ask(&"word ".repeat(600), 1), ask_with("Count.", 60, json!({"ignore_eos": true}))] {
        let address = worker.to_string();
        asked.spawn(async move { chat(&address, &body).await.1 });
    }
    let answers = asked.join_all().await;
    let took = u64::try_from(began.elapsed().as_micros()).unwrap();
    let of = |answer: &Value, name: &str| answer["usage"][name].as_u64().unwrap();
    let mut all = 0;
    for answer in &answers {
        let (reading, writing) = (of(answer, "engine_prefill_us"), of(answer, "engine_decode_us"));
        assert_eq!(reading + writing, of(answer, "engine_us"), "{answer}");
        assert!(reading > 0 && writing > 0, "{answer}");
        assert_eq!(reading > writing, of(answer, "prompt_tokens") > 600, "{answer}");
        all += reading + writing;
    }
    // One thread computed for both: their shares are what it took, no more and little less.
    assert!(all <= took && all > took / 2, "{all} of {took}");
}
