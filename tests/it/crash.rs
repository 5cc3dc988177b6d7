//! `kill -9` in the middle of traffic: every answered request has its receipt, no hold survives the restart.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tollgate_tests::upstream::{Chat, Gate};

use crate::stage::{POLICY, Stage, ask, ask_stream, budget, receipts, verified};

const FLAT: &str = "{ input = 0, output = 0, per_request = 0.001 }";

fn usd(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).expect("money is exact text")
}

#[tokio::test]
async fn answered_requests_keep_their_receipts_through_kill_9() {
    let policy = POLICY.to_owned() + &budget("purse", "\"global\"", "0.2", "reject");
    let stage = Stage::with(&policy, FLAT, "").await;
    // A little time per answer, so that many are in flight when the gateway dies.
    stage.small.answer(Chat::new("ok then", 1, 2).delayed(Duration::from_millis(30)));
    let mut requests = JoinSet::new();
    for index in 0..500 {
        let client = stage.client();
        let body = if index % 2 == 0 { ask("small") } else { ask_stream("small") };
        requests.spawn(async move {
            // Come one after the other rather than all at once: some must still wait when others are done.
            tokio::time::sleep(Duration::from_millis(index)).await;
            client.try_chat(&body).await
        });
    }
    let mut answered = BTreeSet::new();
    let mut gateway = Some(stage.gateway);
    while let Some(reply) = requests.join_next().await {
        let Some(reply) = reply.expect("no request panics") else { continue };
        if reply.status == 200 {
            answered.insert(reply.header("x-tollgate-request-id").to_owned());
        }
        if answered.len() == 60
            && let Some(gateway) = gateway.take()
        {
            gateway.kill().await;
        }
    }
    assert!(gateway.is_none(), "only {} were answered before the end", answered.len());
    assert!(answered.len() >= 60 && answered.len() < 200);

    let gateway = stage.home.serve().await;
    let found = receipts(&stage.home).await;
    let ids: BTreeSet<String> =
        found.iter().filter_map(|r| r["request_id"].as_str().map(str::to_owned)).collect();
    assert_eq!(ids.len(), found.len(), "no request has two receipts");
    let lost: Vec<&String> = answered.difference(&ids).collect();
    assert!(lost.is_empty(), "answered without receipt: {lost:?}");
    for receipt in
        found.iter().filter(|receipt| answered.contains(receipt["request_id"].as_str().unwrap_or_default()))
    {
        assert_eq!((&receipt["status"], &receipt["cost"]), (&"ok".into(), &"0.001000".into()), "{receipt}");
    }
    assert_eq!(verified(&stage.home).await["holds"], 0);
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    let settled = metrics.sum("tollgate_budget_settled_usd", &[]);
    let booked: f64 = found.iter().map(|receipt| usd(&receipt["cost"])).sum();
    assert!((settled - booked).abs() < 1e-9, "settled {settled}, receipts {booked}");
    assert!(settled <= 0.2 + 1e-9);
}

#[tokio::test]
async fn a_hold_that_a_crash_left_is_charged_in_full() {
    let policy = POLICY.to_owned() + &budget("purse", "\"global\"", "0.0025", "reject");
    let stage = Stage::with(&policy, FLAT, "").await;
    let gate = Gate::closed();
    stage.small.answer(Chat::new("never to end", 1, 3).gated(1, &gate));
    let mut stream = stage.client().stream(&ask_stream("small")).await;
    assert!(stream.next().await.is_some(), "it has begun, so the upstream may charge for it");
    let id = stream.header("x-tollgate-request-id").to_owned();
    stage.gateway.kill().await;
    let gateway = stage.home.serve().await;
    let receipt = receipts(&stage.home).await.pop().expect("the hold became a receipt");
    assert_eq!((&receipt["request_id"], &receipt["status"]), (&id.into(), &"orphaned".into()), "{receipt}");
    assert_eq!(receipt["cost"], "0.001000");
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    assert!((metrics.sum("tollgate_budget_settled_usd", &[]) - 0.001).abs() < 1e-9);
    gate.open();
    assert_eq!(gateway.client().chat(&ask("small")).await.status, 200, "what is left can be spent");
    assert_eq!(gateway.client().chat(&ask("small")).await.status, 429, "and no more than that");
    assert_eq!(verified(&stage.home).await["holds"], 0);
}

#[tokio::test]
async fn sigterm_lets_streams_end() {
    let stage = Stage::new().await;
    let gate = Gate::closed();
    stage.small.push(Chat::new("one two three", 11, 3).gated(1, &gate));
    let mut stream = stage.client().stream(&ask_stream("small")).await;
    assert!(stream.next().await.is_some());
    stage.gateway.signal(rustix::process::Signal::TERM);
    gate.open();
    let transcript = stream.finish().await;
    assert!(transcript.done() && transcript.ended, "{:?}", transcript.events);
    assert_eq!(stage.gateway.exit().await.code(), Some(0));
    assert_eq!(receipts(&stage.home).await.pop().expect("a receipt")["status"], "ok");
    assert_eq!(verified(&stage.home).await["holds"], 0);
}
