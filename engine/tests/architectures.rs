//! Real mixture-of-experts architectures through a real worker: tiny random models that llama.cpp takes for Mixtral,
//! Qwen3-MoE, OLMoE, gpt-oss, DeepSeek-V2 and Granite-MoE load, answer several requests at once, and are described right.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;
mod tiny;

use hyper::StatusCode;
use serde_json::{Value, json};
use std::path::Path;
use support::{ask_with, chat, start, text};
use tiny::{ALL, Architecture, EXPERTS, USED};
use tollgate_engine::loading::Loading;
use tollgate_engine::models::gguf::Gguf;
use tollgate_engine::models::{self, memory_needed};
use tollgate_engine::worker::WorkerOptions;

const TOKENS: u32 = 12;
const PROMPTS: [&str; 2] =
    ["Name three colours of the sea and three of the land.", "Which rivers run through Paris and London?"];

/// What is told of the file, counted again from its tensors.
fn described(architecture: &Architecture, path: &Path) {
    let (name, facts) = (architecture.name, models::inspect(path).unwrap());
    assert_eq!((facts.architecture.as_str(), facts.name.as_deref()), (name, Some(architecture.model)));
    let experts = facts.experts.unwrap();
    assert_eq!((experts.count, experts.used), (EXPERTS, USED), "{name}");
    assert_eq!(experts.shared, name == "deepseek2", "{name}");
    assert!(facts.chat_template && facts.layers == Some(2) && facts.context_length == Some(4096), "{name}");
    let tensors = Gguf::open(path).unwrap().tensors;
    let count = |routed: bool| -> u64 {
        let wanted = tensors.iter().filter(|tensor| tensor.name.contains("_exps") == routed);
        wanted.map(|tensor| tensor.elements().unwrap()).sum()
    };
    assert_eq!(facts.parameters, count(true) + count(false), "{name}");
    assert_eq!(facts.active_parameters, count(false) + count(true) / EXPERTS * USED, "{name}");
    assert!(facts.quantization.iter().any(|share| share.kind == "MXFP4") == (name == "gpt-oss"), "{name}");
    let memory = memory_needed(path, 512, 2, &Loading::default()).unwrap();
    assert!(memory > facts.file_bytes, "{name}");
}

fn question(prompt: &str, more: Value) -> Value {
    let mut body = ask_with(prompt, TOKENS, json!({"ignore_eos": true}));
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn answers(architecture: &Architecture, path: &Path) {
    let name = architecture.name;
    let mut options = WorkerOptions::new(path.to_owned(), "127.0.0.1:0");
    (options.threads, options.context, options.parallel) = (Some(1), 512, 2);
    let worker = start(options).await;
    let ask = async |prompt: &str| {
        let (status, answer) = chat(&worker, &question(prompt, json!({}))).await;
        assert_eq!(status, StatusCode::OK, "{name}: {answer}");
        assert_eq!(answer["usage"]["completion_tokens"], TOKENS, "{name}: {answer}");
        text(&answer).to_owned()
    };
    let alone = [ask(PROMPTS[0]).await, ask(PROMPTS[1]).await];
    assert_ne!(alone[0], alone[1], "{name}: an answer depends on its prompt");
    let (first, second) = tokio::join!(ask(PROMPTS[0]), ask(PROMPTS[1]));
    assert_eq!([first, second], alone, "{name}: sequences beside each other");
    let (status, answer) =
        chat(&worker, &question(PROMPTS[0], json!({"n": 2, "cache_prompt": true, "temperature": 0.7}))).await;
    assert_eq!(status, StatusCode::OK, "{name}: {answer}");
    assert_eq!(answer["choices"].as_array().map(Vec::len), Some(2), "{name}: {answer}");
    assert_eq!(answer["usage"]["completion_tokens"], 2 * TOKENS, "{name}: {answer}");
    tokio::task::spawn_blocking(|| drop(worker)).await.unwrap();
}

#[tokio::test]
async fn mixtures_of_every_family_load_answer_and_are_described() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in &ALL {
        let path = folder.path().join(format!("{}.gguf", architecture.name));
        tiny::write(architecture, &support::model(), &path);
        described(architecture, &path);
        answers(architecture, &path).await;
    }
}
