//! Engines that are started by requests, stopped when nobody needs them, pushed out for others, and changed over while they
//! answer: no request is lost by any of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::gateway::Gateway;
use tollgate_tests::home::Home;
use tollgate_tests::parts::{MODELS, cache};
use tollgate_tests::within;

use crate::real::ready;
use crate::stage::{POLICY, verified};

/// Two embedded engines with these settings, small first.
pub(crate) fn config(shared: &str, small: &str, large: &str) -> String {
    let [dense, moe] = MODELS;
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
[policies]
files = ["policies"]
{shared}
[[engine]]
name = "moe"
kind = "embedded"
model = "{moe}"
threads = 1
context = 512
parallel = 2
{small}
[[engine]]
name = "dense"
kind = "embedded"
model = "{dense}"
threads = 1
context = 512
parallel = 2
{large}
[[model]]
name = "small"
engine = "moe"
price = {{ input = 0.05, output = 0.10 }}
context = 512
[[model]]
name = "large"
engine = "dense"
price = {{ input = 0.30, output = 0.60 }}
context = 512
"#
    )
}

async fn serve(config: &str) -> (Home, Gateway) {
    let home = Home::new(config);
    home.write("policies/default.toml", POLICY);
    let gateway = home.serve().await;
    ready(&gateway).await;
    (home, gateway)
}

fn ask(model: &str, max_tokens: u32) -> Value {
    json!({"model": model, "max_tokens": max_tokens, "ignore_eos": true,
           "messages": [{"role": "user", "content": "Count upwards."}]})
}

async fn state(gateway: &Gateway, engine: &str) -> String {
    let readiness = gateway.client().get("/readyz").await.json();
    readiness["engines"][engine].as_str().unwrap_or_default().to_owned()
}

async fn until(gateway: &Gateway, engine: &str, wanted: &str) {
    within(&format!("{engine} to be {wanted}"), async {
        while state(gateway, engine).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn answered(gateway: &Gateway, model: &str, max_tokens: u32) {
    let reply = gateway.client().chat(&ask(model, max_tokens)).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, model), "{}", reply.text());
    assert_eq!(reply.json()["usage"]["completion_tokens"], max_tokens);
}

#[tokio::test]
async fn a_request_starts_an_engine_and_its_absence_stops_it() {
    let (home, gateway) = serve(&config("", "start = \"demand\"\nidle_unload_s = 1", "")).await;
    assert_eq!(state(&gateway, "moe").await, "stopped", "nobody has asked yet, and that is no fault");
    let metrics = gateway.metrics().await;
    let stopped = [("engine", "moe"), ("state", "stopped")];
    assert!((metrics.sum("tollgate_engine_state", &stopped) - 1.0).abs() < 1e-12);
    assert!((metrics.sum("tollgate_engine_up", &[("engine", "moe")]) - 1.0).abs() < 1e-12);
    // Several at once find it stopped; all of them wait for the one start.
    let mut asking = JoinSet::new();
    for _ in 0..6 {
        let client = gateway.client();
        asking.spawn(async move { client.chat(&ask("small", 4)).await.status.as_u16() });
    }
    assert!(asking.join_all().await.into_iter().all(|status| status == 200));
    for _ in 0..2 {
        until(&gateway, "moe", "stopped").await;
        answered(&gateway, "small", 4).await;
    }
    // A running answer keeps it, however long it takes.
    let mut body = ask("small", 400);
    body["stream"] = true.into();
    let transcript = gateway.client().stream(&body).await.finish().await;
    assert!(transcript.done() && transcript.ended, "cut off by an unload");
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("tollgate_engine_restarts_total", &[]).abs() < 1e-12, "no death, no restart");
    assert_eq!(gateway.stop().await.code(), Some(0));
    verified(&home).await;
}

#[tokio::test]
async fn requests_that_meet_an_unload_are_answered() {
    let (_home, gateway) = serve(&config("", "start = \"demand\"\nidle_unload_s = 1", "")).await;
    answered(&gateway, "small", 1).await;
    // Each comes a little earlier or later than the moment of the unload, a second after the last answer.
    for step in 0..12 {
        tokio::time::sleep(Duration::from_millis(970 + step * 6)).await;
        answered(&gateway, "small", 1).await;
    }
}

#[tokio::test]
async fn who_cannot_wait_for_a_start_gets_another_model() {
    // Its size says that a start takes minutes, so the deadline may be one that the other model keeps on a busy machine, too.
    let (_home, gateway) = serve(&config("", "start = \"demand\"\nmemory_mb = 100000", "")).await;
    answered(&gateway, "large", 2).await;
    let client = gateway.client().with("x-tollgate-tags", "tier=any");
    let reply = client.with("x-tollgate-deadline-ms", "100000").chat(&ask("auto", 2)).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "large"), "{}", reply.text());
    assert_eq!(state(&gateway, "moe").await, "stopped", "nobody waited for it");
    let reply = client.chat(&ask("auto", 2)).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "small"), "{}", reply.text());
}

#[tokio::test]
async fn two_models_share_memory_for_one_and_nothing_is_cut() {
    let shared = "[engines]\nmemory_mb = 300\nmin_resident_s = 1";
    let (home, gateway) = serve(&config(shared, "memory_mb = 200", "memory_mb = 200")).await;
    assert_eq!(
        (state(&gateway, "moe").await, state(&gateway, "dense").await),
        ("up".into(), "stopped".into())
    );
    let mut body = ask("small", 300);
    body["stream"] = true.into();
    let mut stream = gateway.client().stream(&body).await;
    assert!(stream.next().await.is_some());
    // The other is asked for while this one still writes: it waits until the answer has ended.
    let client = gateway.client();
    let mut others = JoinSet::new();
    others.spawn(async move { client.chat(&ask("large", 2)).await.status.as_u16() });
    let transcript = stream.finish().await;
    assert!(transcript.done() && transcript.ended, "cut off by a swap");
    assert_eq!(within("the other model", others.join_next()).await.and_then(Result::ok), Some(200));
    assert_eq!(
        (state(&gateway, "moe").await, state(&gateway, "dense").await),
        ("stopped".into(), "up".into())
    );
    // Asked for in turn, they swap no faster than the least time allows.
    let began = Instant::now();
    let mut asking = JoinSet::new();
    for number in 0..12 {
        let client = gateway.client();
        let model = if number % 2 == 0 { "small" } else { "large" };
        asking.spawn(async move { client.chat(&ask(model, 2)).await.status.as_u16() });
    }
    assert!(asking.join_all().await.into_iter().all(|status| status == 200));
    let swaps = gateway.log().matches("unloading to make room").count();
    assert!(swaps as u64 <= 2 + began.elapsed().as_secs(), "{swaps} swaps in {:?}", began.elapsed());
    assert_eq!(gateway.stop().await.code(), Some(0));
    verified(&home).await;
}

#[tokio::test]
async fn an_engine_beyond_the_ceiling_says_so() {
    let shared = "[engines]\nmemory_mb = 300";
    let (_home, gateway) = serve(&config(shared, "memory_mb = 200", "memory_mb = 400")).await;
    let reply = gateway.client().chat(&ask("large", 2)).await;
    assert_eq!(reply.status, 503);
    assert!(reply.error()["message"].to_string().contains("does not fit into memory"), "{}", reply.text());
    assert!(gateway.log().contains("needs about 400 MB of memory, and [engines] memory_mb = 300"));
    answered(&gateway, "small", 2).await;
}

/// The process that serves the file at this path.
fn worker(path: &str) -> Vec<u32> {
    crate::command::processes(path)
}

/// A home whose small model is a file of its own, which can be replaced.
async fn with_own_file(shared: &str, small: &str, large: &str) -> (Home, Gateway, PathBuf) {
    let home = Home::new("");
    let file = home.path().join("mine.gguf");
    std::fs::copy(cache().join("models/smollm2-135m-moe.gguf"), &file).expect("`make test` makes it");
    let mine = format!("model = {:?}", file.display().to_string());
    let text = config(shared, small, large).replace(&format!("model = {:?}", MODELS[1]), &mine);
    home.write("tollgate.toml", &text);
    home.write("policies/default.toml", POLICY);
    let gateway = home.serve().await;
    ready(&gateway).await;
    (home, gateway, file)
}

/// Puts another file of the same name in its place, as a deployment would.
fn deploy(file: &std::path::Path) {
    let fresh = file.with_extension("fresh");
    std::fs::copy(file, &fresh).expect("the home is writable");
    std::fs::rename(&fresh, file).expect("the home is writable");
}

/// Puts half of it in its place, which does not start.
async fn fail_to_change(gateway: &Gateway, file: &std::path::Path) {
    let whole = std::fs::read(file).expect("it is there");
    std::fs::write(file.with_extension("cut"), &whole[..whole.len() / 2]).expect("the home is writable");
    std::fs::rename(file.with_extension("cut"), file).expect("the home is writable");
    gateway.signal(Signal::HUP);
    gateway.logged("the failed change", |log| log.contains("the old process stays")).await;
}

#[tokio::test]
async fn a_new_model_takes_over_without_a_lost_request() {
    for (shared, gentle) in [("", true), ("[engines]\nmemory_mb = 300\nmin_resident_s = 1", false)] {
        let (home, gateway, file) = with_own_file(shared, "memory_mb = 200", "memory_mb = 10").await;
        let name = file.display().to_string();
        let before = worker(&name);
        assert_eq!(before.len(), 1);
        let mut body = ask("small", 300);
        body["stream"] = true.into();
        let mut stream = gateway.client().stream(&body).await;
        assert!(stream.next().await.is_some());
        deploy(&file);
        gateway.signal(Signal::HUP);
        gateway.logged("the change", |log| log.contains("changing over")).await;
        within("the new worker", async {
            while worker(&name) == before || worker(&name).len() != 1 {
                answered(&gateway, "small", 1).await;
                // Where there is room for both, the old one answers until the new one does.
                assert!(!gentle || state(&gateway, "moe").await == "up");
            }
        })
        .await;
        let transcript = stream.finish().await;
        assert!(transcript.done() && transcript.ended, "cut off by the change");
        answered(&gateway, "small", 2).await;
        assert!(gateway.metrics().await.sum("tollgate_engine_restarts_total", &[]).abs() < 1e-12);
        assert_eq!(gateway.stop().await.code(), Some(0));
        verified(&home).await;
    }
}

#[tokio::test]
async fn a_new_model_that_does_not_start_leaves_the_old_one() {
    let (home, gateway, file) = with_own_file("", "", "").await;
    let before = worker(&file.display().to_string());
    let text = std::fs::read_to_string(home.path().join("tollgate.toml")).expect("it was written");
    home.write("tollgate.toml", &text.replacen("parallel = 2", "parallel = 2\ncontext_ = 3", 1));
    gateway.signal(Signal::HUP);
    gateway.logged("the wrong file", |log| log.contains("the configuration is wrong")).await;
    home.write("tollgate.toml", &text);
    let whole = std::fs::read(&file).expect("it is there");
    fail_to_change(&gateway, &file).await;
    answered(&gateway, "small", 2).await;
    assert_eq!(worker(&file.display().to_string()), before);
    // A changed setting is a change, too.
    home.write("tollgate.toml", &text.replacen("parallel = 2", "parallel = 3", 1));
    std::fs::write(&file, &whole).expect("the home is writable");
    gateway.signal(Signal::HUP);
    within("the worker with the new setting", async {
        while worker("--parallel\x003").is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    until(&gateway, "moe", "up").await;
    answered(&gateway, "small", 2).await;
}

#[tokio::test]
async fn what_stays_after_a_failed_change_still_makes_room() {
    let shared = "[engines]\nmemory_mb = 450\nmin_resident_s = 1";
    let large = "memory_mb = 300\nstart = \"demand\"";
    let (_home, gateway, file) = with_own_file(shared, "memory_mb = 200", large).await;
    fail_to_change(&gateway, &file).await;
    within("the other model", answered(&gateway, "large", 2)).await;
    until(&gateway, "moe", "stopped").await;
}

#[tokio::test]
async fn nobody_makes_room_for_a_request_that_is_gone() {
    let shared = "[engines]\nmemory_mb = 300\nmin_resident_s = 600";
    let (_home, gateway) =
        serve(&config(shared, "memory_mb = 200", "memory_mb = 200\nstart = \"demand\"")).await;
    let (mut asking, client) = (JoinSet::new(), gateway.client());
    asking.spawn(async move { client.chat(&ask("large", 2)).await.status });
    until(&gateway, "dense", "starting").await;
    asking.abort_all();
    until(&gateway, "dense", "stopped").await;
    gateway.logged("the wish to be dropped", |log| log.contains("no room for it yet")).await;
    assert_eq!(state(&gateway, "moe").await, "up");
}
