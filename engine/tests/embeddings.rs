//! Vectors of texts, from a tiny random BERT and from a model that writes, through real llama.cpp.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

#[path = "tiny/bert.rs"]
mod bert;
mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use support::{Client, Running, ask, call, get, start};
use tollgate_engine::EngineError;
use tollgate_engine::loading::{Loading, Pooling};
use tollgate_engine::worker::{Worker, WorkerOptions};

/// A worker with the tiny BERT, and the folder of its file.
struct Embedding {
    worker: Running,
    _folder: tempfile::TempDir,
}

impl Embedding {
    async fn start() -> Embedding {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny-bert.gguf");
        bert::write(&path);
        let mut options = WorkerOptions::new(path, "127.0.0.1:0");
        (options.threads, options.parallel) = (Some(1), 2);
        Embedding { worker: start(options).await, _folder: folder }
    }

    async fn embed(&self, body: Value) -> (StatusCode, Value) {
        embed(&self.worker, &body).await
    }
}

async fn embed(address: &str, body: &Value) -> (StatusCode, Value) {
    call(address, "POST", "/v1/embeddings", body.to_string().into_bytes()).await
}

fn vectors(answer: &Value) -> Vec<Vec<f64>> {
    let data = answer["data"].as_array().unwrap();
    let numbers = |item: &Value| -> Vec<f64> {
        item["embedding"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    data.iter().map(numbers).collect()
}

fn farthest(one: &[f64], other: &[f64]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[tokio::test]
async fn a_vector_depends_on_its_text_alone() {
    let engine = Embedding::start().await;
    let texts = ["the sea is blue", "a", "how many stars are there?", "the sea is blue", &"b".repeat(120)];
    let (status, many) = engine.embed(json!({"model": "m", "input": texts, "user": "u"})).await;
    assert_eq!(status, StatusCode::OK, "{many}");
    assert_eq!((&many["object"], &many["model"]), (&json!("list"), &json!("tiny-bert")));
    let all = vectors(&many);
    for (index, text) in texts.iter().enumerate() {
        let item = &many["data"][index];
        assert_eq!((&item["object"], &item["index"]), (&json!("embedding"), &json!(index)));
        assert_eq!(all[index].len() as u64, bert::WIDTH);
        let length = all[index].iter().map(|part| part * part).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
        let (_, single) = engine.embed(json!({"input": text})).await;
        assert!(farthest(&vectors(&single)[0], &all[index]) < 1e-3, "{text}");
    }
    assert!(farthest(&all[0], &all[3]) < 1e-5, "the same text");
    let ask = async || vectors(&engine.embed(json!({"input": texts[0]})).await.1);
    assert_eq!(ask().await, ask().await, "the same request");
    assert!(farthest(&all[0], &all[2]) > 0.01, "another text");
    // Each text's letters, and a token on either side of it.
    let letters: usize = texts.iter().map(|text| text.replace(' ', "").len() + 2).sum();
    assert_eq!(many["usage"]["prompt_tokens"], letters);
    assert_eq!(many["usage"]["total_tokens"], letters);
    assert!(many["usage"]["engine_us"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn tokens_and_base64_say_the_same() {
    let engine = Embedding::start().await;
    let (_, text) = engine.embed(json!({"input": "ab", "encoding_format": "float"})).await;
    let (_, told) =
        call(&engine.worker, "POST", "/tokenize", json!({"content": "ab"}).to_string().into_bytes()).await;
    let mut tokens = told["tokens"].as_array().unwrap().clone();
    tokens.insert(0, 2.into());
    tokens.push(3.into());
    let (_, by_tokens) = engine.embed(json!({"input": tokens})).await;
    assert_eq!(vectors(&by_tokens), vectors(&text));
    let (status, coded) = engine.embed(json!({"input": [tokens, "ab"], "encoding_format": "base64"})).await;
    assert_eq!(status, StatusCode::OK, "{coded}");
    for item in coded["data"].as_array().unwrap() {
        let bytes = STANDARD.decode(item["embedding"].as_str().unwrap()).unwrap();
        let numbers: Vec<f64> =
            bytes.chunks_exact(4).map(|part| f32::from_le_bytes(part.try_into().unwrap()).into()).collect();
        assert!(farthest(&numbers, &vectors(&text)[0]) < 1e-6);
    }
}

#[tokio::test]
async fn mistakes_name_the_input() {
    let engine = Embedding::start().await;
    for (body, param, code) in [
        (json!({"input": ["a", "b", ""]}), "input[2]", "invalid_value"),
        (json!({"input": ["a", "b".repeat(127)]}), "input[1]", "context_length_exceeded"),
        (json!({"input": [[1], [999]]}), "input[1]", "invalid_value"),
        (json!({"input": {}}), "input", "invalid_value"),
        (json!({"input": "a", "dimensions": 8}), "dimensions", "unsupported_parameter"),
        (json!({"input": "a", "encoding_format": "hex"}), "encoding_format", "invalid_value"),
    ] {
        let (status, error) = engine.embed(body.clone()).await;
        let error = &error["error"];
        assert_eq!((status, &error["param"]), (StatusCode::BAD_REQUEST, &json!(param)), "{body}: {error}");
        assert_eq!((&error["code"], &error["type"]), (&json!(code), &json!("invalid_request_error")));
    }
    let (status, _) = get(&engine.worker, "/v1/embeddings").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn each_kind_of_model_refuses_what_the_other_does() {
    let engine = Embedding::start().await;
    for path in ["/v1/chat/completions", "/v1/completions", "/apply-template"] {
        let (status, error) = call(&engine.worker, "POST", path, ask("Hi", 1).to_string().into_bytes()).await;
        assert_eq!(
            (status, &error["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!("unsupported_capability"))
        );
        assert!(error["error"]["message"].as_str().unwrap().contains("/v1/embeddings"), "{error}");
    }
    let (status, error) = embed(&support::shared().await, &json!({"input": "a"})).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("unsupported_capability"))
    );
    assert!(error["error"]["message"].as_str().unwrap().contains("--embeddings"), "{error}");
}

#[tokio::test]
async fn many_texts_let_others_in_and_stop_when_nobody_waits() {
    let engine = Embedding::start().await;
    let many = json!({"input": vec!["b".repeat(120); 2048]}).to_string().into_bytes();
    let mut leaving = Client::connect(&engine.worker).await;
    let large = tokio::runtime::Handle::current().spawn(async move {
        let answer = leaving.send("POST", "/v1/embeddings", many).await;
        answer.into_body().collect().await.map(|body| body.to_bytes().len())
    });
    support::until_stats(&engine.worker, |stats| stats["active"] == 1).await;
    let (status, _) = engine.embed(json!({"input": "a short one"})).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!large.is_finished(), "the short one did not wait for the many");
    large.abort();
    support::until_stats(&engine.worker, |stats| stats["active"] == 0).await;
    let (status, _) = engine.embed(json!({"input": "another"})).await;
    assert_eq!(status, StatusCode::OK);
}

fn writer(loading: Loading) -> WorkerOptions {
    WorkerOptions { loading, ..support::options() }
}

#[tokio::test]
async fn a_model_that_writes_embeds_when_told_to() {
    let loading = Loading { embeddings: true, pooling: Some(Pooling::Mean), ..Loading::default() };
    let worker = start(writer(loading)).await;
    let texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again."];
    let (status, many) = embed(&worker, &json!({"input": texts})).await;
    assert_eq!(status, StatusCode::OK, "{many}");
    let all = vectors(&many);
    for (text, vector) in texts.iter().zip(&all) {
        let (_, single) = embed(&worker, &json!({"input": text})).await;
        assert!(farthest(&vectors(&single)[0], vector) < 1e-3, "{text}");
    }
    let cosine = |a: usize, b: usize| all[a].iter().zip(&all[b]).map(|(x, y)| x * y).sum::<f64>();
    assert!(cosine(0, 1) > cosine(0, 2) && cosine(0, 1) > cosine(1, 2), "meaning shows");
}

#[tokio::test]
async fn a_pooling_that_nothing_names_is_asked_for() {
    let loading = Loading { embeddings: true, ..Loading::default() };
    let error = Worker::bind(writer(loading)).await.unwrap().serve(std::future::pending()).await.unwrap_err();
    assert!(matches!(error, EngineError::Option { option: "--pooling", .. }), "{error}");
}
