//! Engines of kind `command`: a real server started on a port of its own, watched, restarted, and never left behind.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tollgate_tests::gateway::{Gateway, send};
use tollgate_tests::home::{Home, binary};
use tollgate_tests::parts::MODELS;
use tollgate_tests::within;

use crate::real::ready;
use crate::stage::{POLICY, ask};

/// Processes whose command line has this word, keepers and what they keep alike.
pub(crate) fn processes(word: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("processes can be listed").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let named = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    pids.filter(named).collect()
}

/// The server among those: the one that is not the keeper.
fn server(word: &str) -> u32 {
    let kept = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        !String::from_utf8_lossy(&line).contains("\0keep\0")
    };
    processes(word).into_iter().find(kept).expect("the server runs")
}

pub(crate) async fn gone(word: &str) {
    within("the end of every process", async {
        while !processes(word).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A real server under a name of its own, so that its processes can be told from others.
fn config(alias: &str, more: &str) -> String {
    let (program, [dense, _]) = (binary().display().to_string(), MODELS);
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
[policies]
files = ["policies"]
[[engine]]
name = "server"
kind = "command"
command = ["{program}", "engine", "--model", "{dense}", "--alias", "{alias}", "--listen", "127.0.0.1:{{port}}", "--context", "512", "--threads", "1"]
{more}
[[model]]
name = "large"
engine = "server"
price = {{ input = 1, output = 1 }}
context = 512
"#
    )
}

async fn started(alias: &str, more: &str) -> (Home, Gateway) {
    let home = Home::new(&config(alias, more));
    home.write("policies/default.toml", POLICY.split("[[rule]]").next().unwrap_or_default());
    let gateway = home.serve().await;
    ready(&gateway).await;
    (home, gateway)
}

async fn answers(gateway: &Gateway) {
    let reply = gateway.client().chat(&ask("large")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.json()["usage"]["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
}

#[tokio::test]
async fn a_server_is_started_answers_and_comes_back_when_it_dies() {
    let (_home, gateway) = started("command-comes-back", "env = { SOME = \"value\" }").await;
    answers(&gateway).await;
    let engine = gateway.client().get("/readyz").await.json()["engines"]["server"].clone();
    assert_eq!(engine, "up");
    let killed = server("command-comes-back");
    let environment = std::fs::read(format!("/proc/{killed}/environ")).expect("its environment can be read");
    assert!(String::from_utf8_lossy(&environment).contains("SOME=value"));
    send(killed, Signal::KILL);
    gateway.logged("the death in the log", |log| log.contains("ended by signal 9")).await;
    within("the server's return", async {
        while gateway.client().chat(&ask("large")).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_ne!(server("command-comes-back"), killed);
    let metrics = gateway.metrics().await;
    assert!((metrics.sum("tollgate_engine_restarts_total", &[("engine", "server")]) - 1.0).abs() < 1e-12);
    assert_eq!(gateway.stop().await.code(), Some(0));
    assert_eq!(processes("command-comes-back"), Vec::<u32>::new(), "a stop leaves nothing");
}

#[tokio::test]
async fn its_figures_are_read_and_shown() {
    let (_home, gateway) = started("command-figures", "").await;
    answers(&gateway).await;
    let measured = |metrics: &tollgate_tests::metrics::Exposition| {
        metrics.sum("tollgate_engine_tokens_per_second", &[("engine", "server")]) > 0.0
    };
    gateway.metrics_reach("its speed", measured).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_gateway_that_is_killed() {
    let (_home, gateway) = started("command-orphan", "").await;
    assert_eq!(processes("command-orphan").len(), 2, "keeper and server");
    gateway.kill().await;
    gone("command-orphan").await;
}

#[tokio::test]
async fn nothing_is_left_when_gateway_and_keeper_are_killed_at_once() {
    let (_home, gateway) = started("command-both", "").await;
    let server = server("command-both");
    let keeper = processes("command-both").into_iter().find(|pid| *pid != server).expect("the keeper runs");
    send(gateway.pid(), Signal::KILL);
    send(keeper, Signal::KILL);
    gone("command-both").await;
}

#[tokio::test]
async fn a_server_that_cannot_start_is_told_with_its_last_words() {
    // Only of the one that never answers is the time of interest; the others need it to say their last words.
    for (command, patience, logged, told) in [
        (
            r#"["python3", "-c", "import sys; sys.exit('unrecognized option: --prot')", "{port}"]"#,
            60,
            "unrecognized option: --prot",
            &["is down", "does not start"][..],
        ),
        (
            r#"["no-such-server", "{port}"]"#,
            60,
            "no-such-server cannot be started",
            &["its command cannot be started"],
        ),
        (
            r#"["sleep", "1000", "{port}"]"#,
            1,
            "was not ready after 1 s",
            &["is starting", "is down", "does not start"],
        ),
    ] {
        let text = config("command-fails", &format!("ready_timeout_s = {patience}"));
        let given = text.lines().find(|line| line.starts_with("command =")).expect("there is a command");
        let home = Home::new(&text.replace(given, &format!("command = {command}")));
        home.write("policies/default.toml", POLICY.split("[[rule]]").next().unwrap_or_default());
        let gateway = home.serve().await;
        gateway.logged("its last words", |log| log.contains(logged)).await;
        // Of each of its tries in turn it is told that it is starting, too.
        within("what is told of it", async {
            while !is_told(&gateway, told).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(gateway.stop().await.code(), Some(0));
    }
}

/// Whether a caller, and who asks if the gateway is ready, hear one of these words of the server.
async fn is_told(gateway: &Gateway, words: &[&str]) -> bool {
    let (reply, readiness) =
        (gateway.client().chat(&ask("large")).await, gateway.client().get("/readyz").await);
    assert_eq!((reply.status.as_u16(), readiness.status.as_u16()), (503, 503), "{}", reply.text());
    let said = format!("{} {}", reply.error()["message"], readiness.json()["waiting_for"]);
    assert!(!said.contains("--prot"), "a server's words stay in the log: {said}");
    words.iter().any(|word| said.contains(word))
}

#[tokio::test]
async fn what_it_starts_itself_ends_with_it() {
    // A shell that starts a child and ignores SIGTERM: both must go, by force.
    let home = Home::new(&config("x", "ready_timeout_s = 60").replace(
        &config("x", "").lines().find(|line| line.starts_with("command =")).unwrap_or_default().to_owned(),
        r#"command = ["sh", "-c", "trap '' TERM; sleep 4321.5 & echo $0 began >&2; wait; sleep 4321.5", "{port}"]"#,
    ));
    home.write("policies/default.toml", POLICY.split("[[rule]]").next().unwrap_or_default());
    let gateway = home.serve().await;
    within("its child", async {
        while processes("sleep\x004321.5").is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(gateway.stop().await.code(), Some(0));
    assert_eq!(processes("4321.5"), Vec::<u32>::new());
}

#[tokio::test]
async fn wrong_settings_are_told_with_what_helps() {
    let home = Home::new(&config("x", "healt = \"/up\"").replace("127.0.0.1:{port}", "127.0.0.1:9"));
    let outcome = home.run(&["serve", "--config", "tollgate.toml", "--data-dir", "data"]).await;
    let said = outcome.said();
    for part in ["has no {port}", "healt", "health", "tollgate.toml:"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert_eq!(serde_json::to_value(outcome.code).ok(), Some(Value::from(1)));
}
