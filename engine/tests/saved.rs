//! Warm prefixes that outlive their worker: what a chat had read is not read again after a restart, and says the same.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;
mod tiny;

use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::{Client, Running, ask_with, chat, start, text};
use tollgate_engine::slot_save::SlotSave;
use tollgate_engine::worker::WorkerOptions;

fn options(file: &Path) -> WorkerOptions {
    let slot_save = Some(SlotSave { file: file.to_owned(), most_mb: 256 });
    WorkerOptions { slot_save, parallel: 2, ..support::options() }
}

/// A question with some hundred and thirty tokens before it.
fn question(kind: &str, question: &str, reuse: bool) -> Value {
    // Short ones would not be worth a copy.
    let system = format!("You are a careful {kind} who answers in few words. ").repeat(10);
    let messages = json!([{"role": "system", "content": system}, {"role": "user", "content": question}]);
    ask_with("", 12, json!({"messages": messages, "temperature": 0, "cache_prompt": reuse}))
}

async fn ask(worker: &Running, body: &Value) -> Value {
    let (status, answer) = chat(worker, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

/// What is said of Rome after that question to each kind, last one first, by a worker that never ended. One that has read
/// nothing before may say something else: llama.cpp's numbers depend a little on how prompts are cut into batches.
async fn without_end(kinds: &[&str], first: &str) -> Vec<String> {
    let worker = start(WorkerOptions { parallel: 2, ..support::options() }).await;
    for kind in kinds {
        ask(&worker, &question(kind, first, true)).await;
    }
    let mut said = Vec::new();
    for kind in kinds.iter().rev() {
        said.push(text(&ask(&worker, &question(kind, "Where is Rome?", true)).await).to_owned());
    }
    said
}

#[tokio::test]
async fn a_chat_is_warm_after_a_restart_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.slots");
    let worker = start(options(&file)).await;
    for kind in ["clerk", "sailor"] {
        assert!(cached(&ask(&worker, &question(kind, "What is a fox?", true)).await) < 40);
    }
    assert!(!file.exists(), "it is written at the end");
    drop(worker);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let worker = start(options(&file)).await;
    assert!(!file.exists(), "and taken away at the start");
    let unbroken = without_end(&["clerk", "sailor"], "What is a fox?").await;
    for (kind, expected) in ["sailor", "clerk"].into_iter().zip(unbroken) {
        let warm = ask(&worker, &question(kind, "Where is Rome?", true)).await;
        assert!(cached(&warm) > 100, "{warm}");
        assert_eq!(text(&warm), expected, "{kind}");
    }
    drop(worker);
    // Saved again, though nothing of it was used.
    drop(start(options(&file)).await);
    assert!(cached(&ask(&start(options(&file)).await, &question("clerk", "Why?", true)).await) > 100);
}

#[tokio::test]
async fn an_answer_that_is_cut_by_the_end_is_saved_as_far_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.slots");
    let worker = start(options(&file)).await;
    let mut body = question("clerk", "Count upwards and never stop.", true);
    (body["stream"], body["max_tokens"], body["ignore_eos"]) = (true.into(), 600.into(), true.into());
    let mut client = Client::connect(&worker).await;
    let mut answer = client.chat(&body).await;
    for _ in 0..4 {
        assert!(answer.body_mut().frame().await.is_some());
    }
    drop(worker);
    let worker = start(options(&file)).await;
    let warm = ask(&worker, &question("clerk", "Where is Rome?", true)).await;
    assert!(cached(&warm) > 100, "{warm}");
    assert_eq!(vec![text(&warm)], without_end(&["clerk"], "Count upwards and never stop.").await);
}

#[tokio::test]
async fn a_file_that_is_cut_or_of_other_settings_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.slots");
    let worker = start(options(&file)).await;
    let fresh = ask(&worker, &question("clerk", "Where is Rome?", true)).await;
    drop(worker);
    let whole = std::fs::read(&file).unwrap();
    let others = WorkerOptions { context: 512, ..options(&file) };
    for (bytes, options) in [
        (&whole[..whole.len() / 2], options(&file)),
        (&whole[..10], options(&file)),
        (&whole[..], WorkerOptions { parallel: 3, ..options(&file) }),
        (&whole[..], others),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let worker = start(options).await;
        assert!(!file.exists(), "refused and removed");
        let answer = ask(&worker, &question("clerk", "Where is Rome?", true)).await;
        assert_eq!((cached(&answer), text(&answer)), (0, text(&fresh)));
        // The next round puts another file in its place.
        drop(worker);
    }
}

#[tokio::test]
async fn no_more_is_saved_than_there_is_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.slots");
    let with = |most_mb| {
        let slot_save = Some(SlotSave { file: file.clone(), most_mb });
        WorkerOptions { slot_save, ..options(&file) }
    };
    let worker = start(with(2)).await;
    for kind in ["clerk", "sailor"] {
        ask(&worker, &question(kind, "What is a fox?", true)).await;
    }
    drop(worker);
    assert!(std::fs::metadata(&file).unwrap().len() <= 2 << 20);
    let worker = start(with(2)).await;
    let last = cached(&ask(&worker, &question("sailor", "Where is Rome?", true)).await);
    assert!((60..100).contains(&last), "the beginning of the last one: {last}");
    assert!(cached(&ask(&worker, &question("clerk", "Where is Rome?", true)).await) < 60);
}

#[tokio::test]
async fn only_a_memory_that_holds_every_token_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in &tiny::ALL {
        let name = architecture.name;
        let (model, file) =
            (folder.path().join(format!("{name}.gguf")), folder.path().join(format!("{name}.slots")));
        tiny::write(architecture, &support::model(), &model);
        let options = WorkerOptions { model, context: 512, ..options(&file) };
        let worker = start(options.clone()).await;
        let fresh = ask(&worker, &question("clerk", "What is a fox?", true)).await;
        drop(worker);
        // gpt-oss attends to the last tokens only in every other layer, and there forgets the others.
        assert_eq!(file.exists(), name != "gpt-oss", "{name}");
        let worker = start(options).await;
        let again = ask(&worker, &question("clerk", "What is a fox?", true)).await;
        assert_eq!((cached(&again) > 100, text(&again)), (name != "gpt-oss", text(&fresh)), "{name}");
    }
}
