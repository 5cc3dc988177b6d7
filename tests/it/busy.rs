//! A local engine whose slots are all taken: who cannot wait for one goes elsewhere, and the decision says how long it would take.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::client::Client;
use tollgate_tests::home::Home;
use tollgate_tests::metrics::Exposition;
use tollgate_tests::within;

use crate::real::{config, ready};
use crate::stage::POLICY;

fn ask(max_tokens: u32) -> Value {
    json!({"model": "auto", "max_tokens": max_tokens, "ignore_eos": true, "temperature": 1.5,
           "messages": [{"role": "user", "content": "Count upwards from 1 and never stop."}]})
}

/// What the decision on the same request says of `small`.
fn small(decision: &Value) -> Value {
    let candidates = decision["candidates"].as_array().expect("a decision lists its candidates");
    candidates.iter().find(|candidate| candidate["model"] == "small").expect("small is one of them").clone()
}

async fn decision(client: &Client) -> Value {
    client.post("/v1/decision", ask(4).to_string()).await.json()
}

async fn decided_for(client: &Client, model: &str) -> Value {
    within(&format!("a decision for {model}"), async {
        loop {
            let decision = decision(client).await;
            if decision["model"] == model {
                return decision;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test]
async fn who_cannot_wait_for_a_slot_gets_another_model() {
    let home = Home::new(&config());
    home.write("policies/default.toml", POLICY);
    let gateway = home.serve().await;
    ready(&gateway).await;
    let client = gateway.client().with("x-tollgate-tags", "tier=any");
    let hurried = client.with("x-tollgate-deadline-ms", "3000");
    let idle = decided_for(&hurried, "small").await;
    let mut body = ask(900);
    body["stream"] = true.into();
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut stream = client.stream(&body).await;
        assert_eq!(stream.header("x-tollgate-model"), "small");
        assert!(stream.next().await.is_some());
        running.push(stream);
    }
    let mut waiting = JoinSet::new();
    for _ in 0..4 {
        let (client, body) = (client.clone(), body.clone());
        waiting.spawn(async move { client.stream(&body).await.finish().await });
    }
    let latency = |decision: &Value| small(decision)["latency_ms"].as_f64().unwrap_or_default();
    let busy = within("a long wait", async {
        loop {
            let busy = decided_for(&hurried, "large").await;
            if latency(&busy) > 6000.0 {
                return busy;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(latency(&busy) > latency(&idle), "{idle:#} {busy:#}");
    let refused = small(&busy)["refused"].to_string();
    assert!(refused.contains("the deadline is") || small(&busy)["p_late"] == 1.0, "{busy:#}");
    // Half of the wait that was told: on a busy machine that is longer, as is what the other model takes.
    let half = format!("{:.0}", latency(&busy) / 2.0);
    let reply =
        client.with("x-tollgate-deadline-ms", &half).with("x-tollgate-explain", "1").chat(&ask(4)).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "large"), "{}", reply.text());
    let told: Value = serde_json::from_str(reply.header("x-tollgate-decision")).expect("it is JSON");
    assert!(latency(&told) > latency(&idle), "{told:#}");
    let waits = |metrics: &Exposition| {
        metrics.sum("tollgate_engine_wait_seconds", &[("engine", "moe")]) > 0.5
            && metrics.sum("tollgate_engine_wait_seconds", &[("engine", "dense")]).abs() < 1e-9
    };
    gateway.metrics_reach("the wait for the busy engine", waits).await;
    let patient = decision(&client).await;
    assert_eq!(patient["model"], "small", "who has time may wait: {patient:#}");
    drop((running, waiting));
    assert!(latency(&decided_for(&hurried, "small").await) < latency(&busy));
}
