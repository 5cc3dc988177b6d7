//! Adapters switched by request: each answer is what its own adapter says, whatever the engine computes beside it.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;
mod tiny;

use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use support::{Client, Running, ask_with, chat, get, start, stream, streamed_text, text, until_stats};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tollgate_engine::EngineError;
use tollgate_engine::adapters::Adapter;
use tollgate_engine::worker::{self, WorkerOptions};

const PROMPT: &str = "Name three colours of the sea and three of the land.";
const TOKENS: u32 = 16;
const MODELS: [&str; 3] = ["base", "a", "b"];
/// How far apart likelihoods are that were computed in other portions; and those of different adapters.
const NEAR: f64 = 0.5;
const FAR: f64 = 9.0;

/// A tiny model and its adapters `a` and `b`.
fn options(folder: &Path) -> WorkerOptions {
    let model = folder.join("base.gguf");
    tiny::write(&tiny::ALL[0], &support::model(), &model);
    let mut options = WorkerOptions::new(model, "127.0.0.1:0");
    (options.threads, options.context, options.parallel) = (Some(1), 1024, 4);
    options.drain = std::time::Duration::ZERO;
    for (name, seed) in [("a", 1), ("b", 2)] {
        let path = folder.join(format!("{name}.gguf"));
        tiny::lora::write("llama", seed, &path);
        options.adapters.push(Adapter { name: name.to_owned(), path, scale: 1.0 });
    }
    options
}

async fn worker() -> (Running, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (start(options(folder.path())).await, folder)
}

/// A greedy request for a model, read afresh, with the likelihoods of its tokens.
fn question(model: &str, prompt: &str) -> Value {
    let more = json!({"model": model, "ignore_eos": true, "logprobs": true, "top_logprobs": 20});
    ask_with(prompt, TOKENS, more)
}

async fn answer(worker: &str, body: &Value) -> Value {
    let (status, answer) = chat(worker, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// The answer's text and all that is told of its tokens, to the last digit.
fn told(answer: &Value) -> (&str, &Value) {
    (text(answer), &answer["choices"][0]["logprobs"])
}

fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

async fn ended(worker: Running) {
    tokio::task::spawn_blocking(|| drop(worker)).await.unwrap();
}

#[tokio::test]
async fn an_adapter_changes_the_answer_and_leaves_the_bare_model_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let with = options(folder.path());
    let without = start(WorkerOptions { adapters: Vec::new(), ..with.clone() }).await;
    let bare = answer(&without, &question("anything", PROMPT)).await;
    let worker = start(with).await;
    let (base, a, b) = (question("base", PROMPT), question("a", PROMPT), question("b", PROMPT));
    let [a, b] = [answer(&worker, &a).await, answer(&worker, &b).await];
    assert_eq!((&a["model"], &b["model"]), (&json!("a"), &json!("b")));
    assert_ne!(text(&a), text(&b));
    let mut unnamed = base.clone();
    unnamed.as_object_mut().unwrap().remove("model");
    for body in [base, unnamed] {
        let after = answer(&worker, &body).await;
        assert_eq!(
            (told(&after), &after["model"]),
            (told(&bare), &json!("base")),
            "bit for bit, after others"
        );
        assert_ne!(text(&a), text(&after));
    }
    ended(worker).await;
    ended(without).await;
}

#[tokio::test]
async fn answers_beside_each_other_are_what_each_is_alone() {
    let (worker, _folder) = worker().await;
    let prompts = [PROMPT, "Which rivers run through Paris and London, and through Rome?"];
    let bodies = MODELS.map(|model| prompts.map(|prompt| question(model, prompt)));
    let mut alone = Vec::new();
    for body in bodies.as_flattened() {
        alone.push(answer(&worker, body).await);
    }
    let beside = together(&worker, bodies.as_flattened().iter().cloned()).await;
    for (alone, beside) in alone.iter().zip(&beside) {
        assert_eq!(text(alone), text(beside), "{}", alone["model"]);
        let usage = &beside["usage"];
        assert!(
            usage["engine_prefill_us"].as_u64() > Some(0) && usage["engine_decode_us"].as_u64() > Some(0)
        );
        assert_eq!(alone["usage"]["total_tokens"], usage["total_tokens"]);
    }
    ended(worker).await;
}

/// Answers to requests that are sent at once, in their order.
async fn together(worker: &Running, bodies: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut answers = JoinSet::new();
    for (place, body) in bodies.into_iter().enumerate() {
        let address = worker.to_string();
        answers.spawn(async move { (place, chat(&address, &body).await) });
    }
    let mut all = answers.join_all().await;
    all.sort_by_key(|(place, _)| *place);
    let checked = |(_, (status, answer)): (usize, (StatusCode, Value))| {
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    };
    all.into_iter().map(checked).collect()
}

/// How far apart two answers are in how likely the first's first token is; far where the other has it not among its likeliest.
fn apart(one: &Value, other: &Value) -> f64 {
    let first = |answer: &Value| answer["choices"][0]["logprobs"]["content"][0].clone();
    let (one, other) = (first(one), first(other));
    let among = other["top_logprobs"].as_array().unwrap().iter().find(|each| each["bytes"] == one["bytes"]);
    let chance = |token: &Value| token["logprob"].as_f64().unwrap();
    among.map_or(FAR, |same| (chance(&one) - chance(same)).abs())
}

#[tokio::test]
async fn what_one_adapter_has_read_is_never_used_by_another() {
    let (worker, _folder) = worker().await;
    let long = "You are a careful clerk who answers in few words. ".repeat(24);
    let warm = |model: &str, prompt: &str| {
        let mut body = question(model, prompt);
        body["cache_prompt"] = true.into();
        body
    };
    let mut fresh = Vec::new();
    for model in MODELS {
        fresh.push(answer(&worker, &question(model, &long)).await);
    }
    for (model, fresh) in MODELS.iter().zip(&fresh) {
        let again = answer(&worker, &warm(model, &long)).await;
        assert!(cached(fresh) == 0 && cached(&again) > 200, "{model} finds its own: {again}");
        assert!(apart(&again, fresh) < NEAR, "{model}: {again} against {fresh}");
    }
    for pair in fresh.windows(2) {
        assert!(apart(&pair[0], &pair[1]) >= FAR, "{pair:?}");
    }
    // All slots hold the prompt of `a`, which serves no other, nor `a` itself at another scale.
    together(&worker, (0..4).map(|_| question("a", &long))).await;
    let mut half = warm("a", &long);
    half["lora"] = json!([{"id": 0, "scale": 0.5}]);
    for body in [warm("b", &long), warm("base", &long), half] {
        assert_eq!(cached(&answer(&worker, &body).await), 0, "{body}");
    }
    // Those that come at once follow nobody who reads it with another adapter; of one adapter the second follows.
    let other = long.replace("clerk", "cook");
    let all = ["a", "b", "a", "base"];
    let beside = together(&worker, all.map(|model| warm(model, &other))).await;
    let mut read = 0;
    for (model, beside) in all.iter().zip(&beside) {
        let alone = answer(&worker, &question(model, &other)).await;
        assert!(apart(beside, &alone) < NEAR, "{model}: {beside} against {alone}");
        read += u32::from(cached(beside) < 100);
    }
    assert_eq!(read, 3, "{beside:?}");
    ended(worker).await;
}

#[tokio::test]
async fn a_short_answer_of_one_adapter_does_not_wait_for_a_long_one_of_another() {
    let (worker, _folder) = worker().await;
    let mut client = Client::connect(&worker).await;
    let long = ask_with(PROMPT, 900, json!({"model": "a", "stream": true, "ignore_eos": true}));
    let response = client.chat(&long).await;
    assert_eq!(response.status(), StatusCode::OK);
    client.keep(response);
    for model in ["b", "base", "b"] {
        answer(&worker, &question(model, PROMPT)).await;
    }
    until_stats(&worker, |stats| stats["active"] == 1).await;
    assert_eq!(get(&worker, "/stats").await.1["active"], 1, "the long one still runs");
    // Its client goes: the slot is free, and the next answer of its adapter right.
    drop(client);
    until_stats(&worker, |stats| stats["active"] == 0).await;
    let [next, again] =
        [answer(&worker, &question("a", PROMPT)).await, answer(&worker, &question("a", PROMPT)).await];
    assert_eq!(told(&next), told(&again));
    ended(worker).await;
}

#[tokio::test]
async fn guesses_do_not_change_what_an_adapter_says() {
    let folder = tempfile::tempdir().unwrap();
    let guessing = options(folder.path());
    let plain = start(WorkerOptions { lookup: 0, ..guessing.clone() }).await;
    let guessing = start(guessing).await;
    let body = ask_with(&"red green blue ".repeat(30), 64, json!({"model": "b", "ignore_eos": true}));
    let [guessed, written] = [answer(&guessing, &body).await, answer(&plain, &body).await];
    assert_eq!(text(&guessed), text(&written));
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    assert_eq!(streamed_text(&stream(&guessing, &streamed).await), text(&written));
    ended(guessing).await;
    ended(plain).await;
}

#[tokio::test]
async fn adapters_are_asked_for_by_model_by_name_or_by_number() {
    let (worker, _folder) = worker().await;
    let asked = |more: Value| {
        let mut body = ask_with(PROMPT, TOKENS, json!({"model": "base", "ignore_eos": true}));
        body.as_object_mut().unwrap().remove("model");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let by_model = answer(&worker, &asked(json!({"model": "b"}))).await;
    for more in [
        json!({"lora": "b"}),
        json!({"lora": [{"id": 1, "scale": 1.0}, {"id": 0, "scale": 0.0}]}),
        json!({"model": "b", "lora": [{"id": 1, "scale": 1}]}),
    ] {
        let same = answer(&worker, &asked(more.clone())).await;
        assert_eq!((text(&same), &same["model"]), (text(&by_model), &json!("b")), "{more}");
    }
    let bare = answer(&worker, &asked(json!({}))).await;
    for more in
        [json!({"lora": []}), json!({"lora": [{"id": 1, "scale": 0}]}), json!({"model": "base", "lora": []})]
    {
        assert_eq!(text(&answer(&worker, &asked(more)).await), text(&bare));
    }
    let half = answer(&worker, &asked(json!({"model": "b", "lora": [{"id": 1, "scale": 0.5}]}))).await;
    assert!(text(&half) != text(&by_model) && text(&half) != text(&bare));
    for (more, param, part) in [
        (json!({"model": "c"}), "model", "base (without an adapter), a, b"),
        (json!({"lora": "c"}), "lora", "there are a, b"),
        (json!({"lora": [{"id": 2, "scale": 1}]}), "lora[0].id", "there are a, b"),
        (json!({"lora": [{"id": 0, "scale": 1}, {"id": 1, "scale": 1}]}), "lora", "several adapters"),
        (json!({"model": "base", "lora": "a"}), "lora", "another adapter"),
        (json!({"model": "b", "lora": []}), "lora", "another adapter"),
    ] {
        let (status, refusal) = chat(&worker, &asked(more.clone())).await;
        let error = &refusal["error"];
        assert_eq!((status, &error["param"]), (StatusCode::BAD_REQUEST, &json!(param)), "{more}: {refusal}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().unwrap().contains(part), "{more}: {refusal}");
    }
    let (_, models) = get(&worker, "/v1/models").await;
    let listed: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(listed, MODELS);
    assert_eq!(
        (&models["data"][2]["parent"], &models["data"][2]["meta"]["lora"]["id"]),
        (&json!("base"), &json!(1))
    );
    ended(worker).await;
    let (_, refusal) = chat(&support::shared().await, &asked(json!({"lora": "b"}))).await;
    assert!(refusal["error"]["message"].as_str().unwrap().contains("has none"), "{refusal}");
}

#[tokio::test]
async fn files_that_are_no_adapter_of_the_model_are_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let good = options(folder.path());
    let file = |name: &str| folder.path().join(name);
    tiny::lora::write("qwen2", 1, &file("other.gguf"));
    std::fs::write(file("text.gguf"), "no model").unwrap();
    let whole = std::fs::read(file("a.gguf")).unwrap();
    std::fs::write(file("cut.gguf"), &whole[..whole.len() - 100]).unwrap();
    for (name, part) in [
        ("absent.gguf", "No such file"),
        ("text.gguf", "not a GGUF file"),
        ("base.gguf", "its general.type is \"\""),
        ("other.gguf", "arch mismatch"),
        ("cut.gguf", "a.gguf is"),
    ] {
        let adapter = Adapter { name: "wrong".to_owned(), path: file(name), scale: 1.0 };
        let options = WorkerOptions { adapters: vec![adapter], ..good.clone() };
        let error = worker::run(options, std::future::pending()).await.unwrap_err();
        assert!(matches!(error, EngineError::AdapterRefused { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(name) && message.contains("wrong"), "{message}");
        if name != "cut.gguf" {
            assert!(message.contains(part), "{message}");
        }
    }
}
