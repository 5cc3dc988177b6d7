//! Worker processes under stress: killed in the middle of many streams, and told to end at any moment.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::task::JoinSet;
use tollgate_tests::client::{Client, Stream, Transcript};
use tollgate_tests::gateway::{Gateway, send};
use tollgate_tests::home::Home;
use tollgate_tests::parts::MODELS;
use tollgate_tests::within;

use crate::real::{config, ready, worker_of};
use crate::stage::{POLICY, budget, receipts, verified};

/// A stream of exactly so many tokens, whatever the model would rather do.
fn long(max_tokens: u32) -> Value {
    json!({"model": "auto", "max_tokens": max_tokens, "ignore_eos": true, "temperature": 1.5, "stream": true,
           "stream_options": {"include_usage": true},
           "messages": [{"role": "user", "content": "Count upwards from 1 and never stop."}]})
}

/// How a stream ended: the model that served it, and whether by an error event.
struct Ended {
    id: String,
    model: String,
    transcript: Transcript,
}

impl Ended {
    async fn of(stream: Stream) -> Ended {
        assert_eq!(stream.status, 200, "{:?}", stream.headers);
        let (id, model) =
            (stream.header("x-tollgate-request-id").to_owned(), stream.header("x-tollgate-model").to_owned());
        Ended { id, model, transcript: stream.finish().await }
    }

    fn errors(&self) -> Vec<Value> {
        let events = self.transcript.events.iter().filter(|event| !event.is_done()).map(|event| event.json());
        events.filter(|event| event["error"].is_object()).map(|event| event["error"].clone()).collect()
    }
}

/// Kills the worker under sixteen streams and sees every one of them answered; the requests with their outcomes, and how long
/// the worker was away, its loading included.
async fn kill_once(
    gateway: &Gateway,
    client: &Client,
    kill: usize,
) -> (Vec<(String, &'static str)>, Duration) {
    // Two streams have begun and hold the worker's slots; fourteen wait for their first byte.
    let mut begun = Vec::new();
    for _ in 0..2 {
        let mut stream = client.stream(&long(900)).await;
        assert_eq!(stream.header("x-tollgate-model"), "small");
        assert!(stream.next().await.is_some());
        begun.push(stream);
    }
    let mut waiting = JoinSet::new();
    for _ in 0..14 {
        let client: Client = client.clone();
        waiting.spawn(async move { Ended::of(client.stream(&long(8)).await).await });
    }
    let queued = |metrics: &tollgate_tests::metrics::Exposition| {
        (metrics.sum("tollgate_engine_queue_depth", &[("engine", "moe")]) - 14.0).abs() < 0.5
    };
    gateway.metrics_reach("fourteen requests in the worker's queue", queued).await;
    let killed = worker_of(gateway, MODELS[1]);
    let died = Instant::now();
    send(killed, Signal::KILL);
    let up = |metrics: &tollgate_tests::metrics::Exposition| {
        metrics.sum("tollgate_engine_restarts_total", &[("engine", "moe")]) > kill as f64 - 0.5
            && metrics.sum("tollgate_engine_up", &[("engine", "moe")]) > 0.5
    };
    let returned = async {
        gateway.metrics_reach("the worker's return", up).await;
        died.elapsed()
    };
    let ends = async {
        let mut ids = Vec::new();
        for stream in begun {
            let ended = Ended::of(stream).await;
            let errors = ended.errors();
            assert_eq!(errors.len(), 1, "{:?}", ended.transcript.events);
            assert_eq!(errors[0]["code"], "upstream_broken");
            assert!(
                ended.transcript.done() && ended.transcript.ended,
                "a cut stream ends as a whole one does"
            );
            ids.push((ended.id, "error"));
        }
        while let Some(ended) = within("the answers", waiting.join_next()).await {
            let ended = ended.expect("no stream panics");
            assert_eq!(ended.model, "large", "no byte had come: another model answers");
            assert!(ended.errors().is_empty() && ended.transcript.done(), "{:?}", ended.transcript.events);
            assert!(ended.transcript.usage()["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
            ids.push((ended.id, "fallback"));
        }
        ids
    };
    let (ids, away) = tokio::join!(ends, returned);
    assert_eq!(ids.len(), 16);
    let back = Ended::of(client.stream(&long(4)).await).await;
    assert!(back.errors().is_empty() && back.model == "small", "{:?}", back.transcript.events);
    assert_ne!(worker_of(gateway, MODELS[1]), killed);
    (ids, away)
}

/// Milliseconds that the worker's last start took, as the log has it.
fn last_load(gateway: &Gateway) -> Duration {
    let log = gateway.log();
    let load = log.lines().rev().filter(|line| line.contains("engine up") && line.contains("moe"));
    let load = load.filter_map(|line| line.split("load_ms").nth(1)).next().unwrap_or_default();
    let digits: String =
        load.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    // The log may be coloured: the digits of the code are not taken for the figure.
    Duration::from_millis(digits.parse().unwrap_or_default())
}

/// Kills the worker so many times in a row, under sixteen streams each time; how long it was away each time, and how much of that it
/// took to load the model.
pub(crate) async fn kills_leave_nothing_undone(kills: usize) -> Vec<(Duration, Duration)> {
    let home = Home::new(&config());
    let policy = POLICY.to_owned() + &budget("purse", "\"global\"", "1.00", "reject");
    home.write("policies/default.toml", &policy);
    let gateway = home.serve().await;
    ready(&gateway).await;
    let client = gateway.client().with("x-tollgate-tags", "tier=any");
    let (mut ids, mut times) = (Vec::new(), Vec::new());
    for kill in 1..=kills {
        let (more, away) = kill_once(&gateway, &client, kill).await;
        let load = last_load(&gateway);
        assert!(
            away < Duration::from_secs(5) + load,
            "kill {kill}: away for {away:?}, loading took {load:?}"
        );
        ids.extend(more);
        times.push((away, load));
    }
    let metrics = gateway.metrics().await;
    let restarts = metrics.sum("tollgate_engine_restarts_total", &[("engine", "moe")]);
    assert!((restarts - kills as f64).abs() < 1e-12);
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12, "a hold was left behind");
    assert_eq!(gateway.stop().await.code(), Some(0));
    let receipts = receipts(&home).await;
    for (id, status) in ids {
        let mine: Vec<&Value> = receipts.iter().filter(|receipt| receipt["request_id"] == id).collect();
        assert_eq!(mine.len(), 1, "{id} has one receipt");
        assert_eq!(mine[0]["status"], status, "{}", mine[0]);
    }
    verified(&home).await;
    times
}

#[tokio::test]
async fn a_worker_killed_under_sixteen_streams_leaves_nothing_undone() {
    assert_eq!(kills_leave_nothing_undone(3).await.len(), 3);
}

/// `tollgate engine` on a socket in the home, told to end by closing its stdin or by a signal.
struct Engine {
    child: Child,
    socket: std::path::PathBuf,
}

impl Engine {
    fn start(home: &Home) -> Engine {
        let socket = home.path().join("engine.sock");
        let listen = format!("unix:{}", socket.display());
        let mut command = home.command(&["engine", "--model", MODELS[0], "--listen", &listen]);
        command.args(["--threads", "2", "--context", "1024", "--parallel", "4", "--exit-with-stdin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Engine { child: command.spawn().expect("the tollgate binary runs"), socket }
    }

    /// Sends a request and returns the connection once the first bytes of its answer have come.
    async fn begin(&self, body: &Value) -> tokio::net::UnixStream {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        within("an answer's beginning", async {
            loop {
                if let Ok(mut stream) = tokio::net::UnixStream::connect(&self.socket).await {
                    let body = body.to_string();
                    let head = format!(
                        "POST /v1/chat/completions HTTP/1.1\r\nhost: engine\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    stream.write_all((head + &body).as_bytes()).await.expect("the engine reads");
                    let mut begin = [0; 12];
                    stream.read_exact(&mut begin).await.expect("the engine answers");
                    // It says 503 while it loads.
                    if begin.ends_with(b"200") {
                        return stream;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    async fn ended(mut self) -> ExitStatus {
        within("the engine's end", self.child.wait()).await.expect("the engine can be waited for")
    }
}

#[tokio::test]
async fn an_engine_ends_well_in_the_middle_of_everything() {
    let home = Home::new("");
    for round in 0..4 {
        let mut engine = Engine::start(&home);
        let mut running = Vec::new();
        for _ in 0..4 {
            running.push(engine.begin(&long(900)).await);
        }
        // Its supervisor is gone: nobody reads the answers, so they are not waited for.
        drop(engine.child.stdin.take());
        let status = engine.ended().await;
        assert_eq!(status.code(), Some(0), "round {round}, while answering: {status}");
        drop(running);
    }
    for delay_ms in [0, 30, 60, 100, 150, 250, 400] {
        let engine = Engine::start(&home);
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        let mut engine = engine;
        drop(engine.child.stdin.take());
        let status = engine.ended().await;
        assert_eq!(status.code(), Some(0), "{delay_ms} ms after its start: {status}");
    }
}
