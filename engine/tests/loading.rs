//! Models loaded in other ways than the usual one: coarser KV memory, flash attention, tensors kept in main memory.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;

use hyper::StatusCode;
use serde_json::json;
use std::future::pending;
use support::{ask_with, chat, start, text};
use tollgate_engine::EngineError;
use tollgate_engine::loading::{CacheType, Loading};
use tollgate_engine::models;
use tollgate_engine::worker::{self, WorkerOptions};

async fn answer(options: WorkerOptions) -> String {
    let worker = start(options).await;
    let body = ask_with("Name three colours.", 24, json!({"temperature": 0}));
    let (status, answer) = chat(&worker, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let said = text(&answer).to_owned();
    tokio::task::spawn_blocking(|| drop(worker)).await.unwrap();
    said
}

#[tokio::test]
async fn every_way_of_loading_answers() {
    let usual = answer(support::options()).await;
    let with = |loading: Loading| WorkerOptions { loading, ..support::options() };
    let same = Loading { flash_attention: Some(false), gpu_layers: Some(0), ..Loading::default() };
    assert!(!answer(with(same)).await.is_empty());
    let kept = Loading { cpu_tensors: vec!["blk\\.[0-9]\\.ffn".to_owned()], ..Loading::default() };
    assert_eq!(answer(with(kept)).await, usual, "where tensors lie changes no answer");
    let coarse = Loading {
        cache_type_k: CacheType::Q8_0,
        cache_type_v: CacheType::Q8_0,
        flash_attention: Some(true),
        ..Loading::default()
    };
    assert!(!answer(with(coarse)).await.is_empty());
    let model = models::resolve("smollm2-135m-moe").unwrap();
    let experts =
        |cpu_moe| WorkerOptions { model: model.clone(), ..with(Loading { cpu_moe, ..Loading::default() }) };
    assert_eq!(answer(experts(true)).await, answer(experts(false)).await);
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_option() {
    let coarse =
        Loading { cache_type_v: CacheType::Q4_0, flash_attention: Some(false), ..Loading::default() };
    let odd = Loading { cpu_tensors: vec!["bl\u{fc}k".to_owned()], ..Loading::default() };
    for (loading, option) in [(coarse, "--cache-type-v"), (odd, "--cpu-tensors")] {
        let error =
            worker::run(WorkerOptions { loading, ..support::options() }, pending()).await.unwrap_err();
        assert!(matches!(error, EngineError::Option { .. }), "{error}");
        assert!(error.to_string().starts_with(option), "{error}");
    }
}
