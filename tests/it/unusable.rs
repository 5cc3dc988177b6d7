//! Model files that are none, or not for this machine: the engine says what is wrong, everywhere, and the others serve.

use std::path::{Path, PathBuf};

use serde_json::json;
use tollgate_tests::gateway::Gateway;
use tollgate_tests::home::Home;
use tollgate_tests::parts::{MODELS, cache};
use tollgate_tests::within;

use crate::stage::{POLICY, ask};

/// The path of the dense model.
fn sound() -> PathBuf {
    cache().join("models/SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// A gateway with a sound engine for `small` and this file for `large`.
async fn serve(file: &Path) -> (Home, Gateway) {
    let usual = crate::demand::config("", "", "");
    let dense = format!("model = {:?}", MODELS[0]);
    let home = Home::new(&usual.replace(&dense, &format!("model = {:?}", file.display().to_string())));
    home.write("policies/default.toml", POLICY);
    let gateway = home.serve().await;
    within("the sound engine", async {
        while gateway.client().get("/readyz").await.json()["engines"]["moe"] != "up" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    (home, gateway)
}

/// Everywhere is told what is wrong with `large`, and `small` answers.
async fn told(file: &Path, logged: &str, public: &str) {
    let (_home, gateway) = serve(file).await;
    gateway.logged("the reason", |log| log.contains(logged)).await;
    within("the failure at /readyz", async {
        while gateway.client().get("/readyz").await.json()["engines"]["dense"] != "failed" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let readiness = gateway.client().get("/readyz").await;
    assert_eq!(readiness.status, 200, "the other model answers");
    assert!(readiness.text().contains(public), "{}", readiness.text());
    let reply = gateway.client().chat(&ask("large")).await;
    assert_eq!((reply.status.as_u16(), &reply.error()["code"]), (503, &json!("model_unavailable")));
    assert!(reply.error()["message"].to_string().contains(public), "{}", reply.text());
    assert!(!reply.text().contains("/models"), "no path leaves the machine: {}", reply.text());
    let routed = gateway.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
    assert_eq!((routed.status.as_u16(), routed.header("x-tollgate-model")), (200, "small"));
    assert_eq!(gateway.stop().await.code(), Some(0));
}

/// The sound file with the first of these bytes replaced.
fn altered(folder: &Path, from: &[u8], to: &[u8]) -> PathBuf {
    let mut bytes = std::fs::read(sound()).expect("`make test` fetches it");
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the file has it");
    bytes[at..at + to.len()].copy_from_slice(to);
    let file = folder.join("altered.gguf");
    std::fs::write(&file, bytes).expect("the folder is writable");
    file
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[tokio::test]
async fn a_file_that_is_cut() {
    let folder = folder();
    let file = folder.path().join("cut.gguf");
    let whole = std::fs::read(sound()).expect("`make test` fetches it");
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("the folder is writable");
    told(&file, "cut.gguf", "its model file is cut or damaged").await;
}

#[tokio::test]
async fn a_file_that_is_no_gguf() {
    let folder = folder();
    let file = folder.path().join("notes.gguf");
    std::fs::write(&file, "hello, these are notes and no weights").expect("the folder is writable");
    told(&file, "is not a GGUF file", "its model file is not a GGUF file").await;
}

#[tokio::test]
async fn a_file_beyond_the_machines_memory() {
    let folder = folder();
    let file = folder.path().join("huge.gguf");
    std::fs::copy(sound(), &file).expect("`make test` fetches it");
    // A hole of 8 TB at its end: no disk is used, and no machine of ours has the memory.
    let huge = std::fs::OpenOptions::new().append(true).open(&file).and_then(|file| file.set_len(1 << 43));
    huge.expect("the file system has holes");
    told(&file, "MB of memory, and this machine has", "its model does not fit into memory").await;
}

#[tokio::test]
async fn a_model_of_an_architecture_unknown_here() {
    let folder = folder();
    let key = b"general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llama";
    let mut unknown = key.to_vec();
    unknown.splice(key.len() - 5.., *b"zebra");
    let file = altered(folder.path(), key, &unknown);
    told(&file, "unknown model architecture: 'zebra'", "its model's architecture is not known").await;
}

#[tokio::test]
async fn a_model_without_a_template_answers_and_is_warned_of() {
    let folder = folder();
    let file = altered(folder.path(), b"tokenizer.chat_template", b"tokenizer.chat_templatX");
    let (_home, gateway) = serve(&file).await;
    assert!(gateway.log().contains("the model has no chat template: ChatML is used"), "{}", gateway.log());
    crate::real::ready(&gateway).await;
    assert_eq!(gateway.client().chat(&ask("large")).await.status, 200);
}

#[tokio::test]
async fn a_gateway_with_no_engine_left_does_not_start() {
    let home = Home::new("");
    home.write("notes.gguf", "hello, these are notes and no weights");
    home.write(
        "tollgate.toml",
        "[[engine]]\nname = \"local\"\nkind = \"embedded\"\nmodel = \"notes.gguf\"\n[[model]]\nname = \"large\"\nengine = \"local\"\nprice = { input = 1, output = 1 }\n",
    );
    let outcome = home
        .run(&["serve", "--listen", "127.0.0.1:0", "--config", "tollgate.toml", "--data-dir", "data"])
        .await;
    let said = outcome.said();
    assert_eq!(outcome.code, Some(1), "{said}");
    assert!(said.contains("notes.gguf") && said.contains("not a GGUF file"), "{said}");
    let written = std::fs::read_dir(home.data()).expect("the data directory is there").count();
    assert_eq!(written, 0, "nothing is written by a start that cannot work");
}
