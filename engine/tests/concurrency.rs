//! Many requests on one worker: each gets its own answer, those given up free their slot, those beyond the slots wait,
//! those beyond the queue are refused.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;

use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use support::{Client, Running, ask, ask_with, chat, start, streamed_text, text, until_stats};
use tokio::task::JoinSet;

/// What the model surely says to each, so that an answer in the wrong place is noticed.
const SURE: [(&str, &str); 6] = [
    ("What is the capital of Japan?", "Tokyo"),
    ("What is the capital of Germany?", "Berlin"),
    ("What is the capital of Egypt?", "Cairo"),
    ("What is the capital of China?", "Beijing"),
    ("What is the capital of England?", "London"),
    ("What is the capital of Russia?", "Moscow"),
];

/// A worker of so many slots and places to wait.
async fn worker(parallel: u32, queue: u32) -> Running {
    let mut options = support::options();
    (options.parallel, options.queue) = (parallel, queue);
    start(options).await
}

/// An answer that goes on until the context is full, and has begun.
async fn endless(address: &str) -> Client {
    let mut client = Client::connect(address).await;
    // Left to itself, the model now and then ends even this.
    let more = json!({"stream": true, "temperature": 1.5, "ignore_eos": true});
    let body = ask_with("Count upwards from 1 and never stop.", 900, more);
    let response = client.chat(&body).await;
    assert_eq!(response.status(), StatusCode::OK);
    client.keep(response);
    client
}

fn figures(stats: &Value) -> (u64, u64) {
    (stats["active"].as_u64().unwrap(), stats["queue_depth"].as_u64().unwrap())
}

#[tokio::test]
async fn requests_decoded_together_get_their_own_answers() {
    let worker = worker(6, 0).await;
    for round in 0..2 {
        let mut answers = JoinSet::new();
        for (index, (question, word)) in SURE.into_iter().enumerate() {
            let address = worker.to_string();
            answers.spawn(async move {
                let said = if (index + round) % 2 == 0 {
                    text(&chat(&address, &ask(question, 24)).await.1).to_owned()
                } else {
                    streamed_text(
                        &support::stream(&address, &ask_with(question, 24, json!({"stream": true}))).await,
                    )
                };
                assert!(said.contains(word), "{question} -> {said}");
                let others = SURE.iter().filter(|(_, other)| *other != word);
                for (_, other) in others {
                    assert!(!said.contains(other), "{question} -> {said}");
                }
            });
        }
        while let Some(answer) = answers.join_next().await {
            answer.unwrap();
        }
    }
    until_stats(&worker, |stats| figures(stats) == (0, 0)).await;
}

#[tokio::test]
async fn a_client_that_goes_frees_its_slot() {
    let worker = worker(2, 4).await;
    let (one, two) = (endless(&worker).await, endless(&worker).await);
    until_stats(&worker, |stats| figures(stats) == (2, 0)).await;
    drop(one);
    until_stats(&worker, |stats| figures(stats) == (1, 0)).await;
    let (question, word) = SURE[0];
    let (status, answer) = chat(&worker, &ask(question, 16)).await;
    assert!(status == StatusCode::OK && text(&answer).contains(word), "{answer}");
    drop(two);
    until_stats(&worker, |stats| figures(stats) == (0, 0)).await;
}

#[tokio::test]
async fn requests_beyond_the_slots_wait_and_are_answered() {
    let worker = worker(2, 8).await;
    let held = (endless(&worker).await, endless(&worker).await);
    let mut answers = JoinSet::new();
    for (question, word) in SURE {
        let address = worker.to_string();
        answers.spawn(async move {
            let (status, answer) = chat(&address, &ask(question, 16)).await;
            assert!(status == StatusCode::OK && text(&answer).contains(word), "{question} -> {answer}");
        });
    }
    until_stats(&worker, |stats| figures(stats) == (2, SURE.len() as u64)).await;
    assert!(answers.try_join_next().is_none(), "nothing is answered while the slots are taken");
    drop(held);
    while let Some(answer) = answers.join_next().await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn one_that_gives_up_waiting_leaves_the_queue() {
    let worker = worker(1, 2).await;
    let held = endless(&worker).await;
    let mut waiting = Client::connect(&worker).await;
    let body = ask(SURE[0].0, 16);
    {
        let mut asking = Box::pin(waiting.chat(&body));
        tokio::select! {
            _ = &mut asking => unreachable!("the slot is taken"),
            _ = until_stats(&worker, |stats| figures(stats) == (1, 1)) => {}
        }
    }
    drop(waiting);
    until_stats(&worker, |stats| figures(stats) == (1, 0)).await;
    drop(held);
}

#[tokio::test]
async fn a_full_queue_is_refused_with_the_time_to_try_again() {
    let worker = worker(1, 1).await;
    let held = endless(&worker).await;
    let address = worker.to_string();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { chat(&address, &ask(SURE[1].0, 16)).await });
    until_stats(&worker, |stats| figures(stats) == (1, 1)).await;
    for stream in [false, true] {
        let mut client = Client::connect(&worker).await;
        let response = client.chat(&ask_with(SURE[2].0, 16, json!({"stream": stream}))).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let error: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(error["error"]["code"], "engine_overloaded", "{error}");
    }
    drop(held);
    let (status, answer) = waiting.join_next().await.unwrap().unwrap();
    assert!(status == StatusCode::OK && text(&answer).contains(SURE[1].1), "{answer}");
}
