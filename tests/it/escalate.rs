//! `[escalate]`: an unsure answer is thrown away for a better model's before the client has seen any of it.

use hyper::StatusCode;
use serde_json::{Value, json};
use tollgate_tests::upstream::{Chat, Gate, Script};

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, ask_stream, budget, verified};

const ESCALATE: &str = "[escalate]\nwhen = 'confidence < 0.6'\nhold_tokens = 3\n";
/// Half as likely as not: a confidence of 0.5.
const UNSURE: f64 = -std::f64::consts::LN_2;
const SURE: f64 = -0.01;

async fn stage(budgets: &str) -> Stage {
    Stage::with(&format!("{POLICY}{ESCALATE}{budgets}"), SMALL_PRICE, "").await
}

fn usd(text: &serde_json::Value) -> f64 {
    text.as_str().and_then(|text| text.parse().ok()).expect("money is decimal text")
}

fn small(logprob: f64) -> Chat {
    Chat::new("one two three four five six", 11, 6).likely(logprob)
}

#[tokio::test]
async fn an_unsure_answer_goes_up_and_both_are_paid() {
    let stage = stage("").await;
    stage.small.answer(small(UNSURE));
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    let reply = client.chat(&ask("auto")).await;
    assert_eq!(
        (reply.status, reply.header("x-tollgate-model")),
        (StatusCode::OK, "large"),
        "{}",
        reply.text()
    );
    assert_eq!(reply.content(), "the large answer");
    assert!(
        reply.header("x-tollgate-reason").starts_with("escalated: small was unsure (confidence 0.50)"),
        "{reply:?}"
    );
    // 11 × 0.5 + 6 × 1 µUSD for what was thrown away, 11 × 5 + 7 × 10 for the answer.
    assert_eq!(reply.header("x-tollgate-cost-usd"), "0.0001365");
    let receipt = stage.receipts().await.remove(0);
    assert_eq!(
        (&receipt["status"], &receipt["selected"], &receipt["model"]),
        (&json!("escalated"), &json!("small"), &json!("large"))
    );
    assert_eq!(
        receipt["attempts"][0],
        json!({"model": "small", "engine": "small-engine", "reason": "unsure", "cost": "0.0000115"})
    );
    let metrics = stage.gateway.metrics().await;
    assert!((metrics.sum("tollgate_escalations_total", &[]) - 1.0).abs() < 1e-9);
    assert!((metrics.sum("tollgate_cost_usd_total", &[("model", "small")]) - 0.000_011_5).abs() < 1e-12);
    verified(&stage.home).await;
}

#[tokio::test]
async fn a_sure_answer_stays_and_looks_as_if_nobody_had_asked() {
    let stage = stage("").await;
    stage.small.answer(small(SURE));
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    let whole = client.chat(&ask("auto")).await;
    assert_eq!(
        (whole.header("x-tollgate-model"), &whole.json()["choices"][0]["logprobs"]),
        ("small", &json!(null))
    );
    assert_eq!(stage.small.last().json()["logprobs"], true, "the engine was asked");
    let streamed = client.stream(&ask_stream("auto")).await.finish().await;
    assert_eq!(streamed.content(), "one two three four five six");
    assert!(streamed.events.iter().all(|event| !event.data.contains("\"logprob\"")), "{:?}", streamed.events);
    let mut asking = ask("auto");
    asking["logprobs"] = true.into();
    let told = client.chat(&asking).await.json();
    assert_eq!(told["choices"][0]["logprobs"]["content"].as_array().map(Vec::len), Some(6), "{told}");
    assert_eq!(stage.large.counts().asked, 0);
}

#[tokio::test]
async fn a_stream_goes_up_before_its_first_byte() {
    let stage = stage("").await;
    stage.small.answer(small(UNSURE));
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    let stream = client.stream(&ask_stream("auto")).await;
    assert_eq!(stream.header("x-tollgate-model"), "large");
    let streamed = stream.finish().await;
    assert_eq!(streamed.content(), "the large answer");
    assert!(streamed.done());
    let receipt = stage.receipts().await.remove(0);
    assert_eq!(
        (&receipt["status"], &receipt["attempts"][0]["reason"]),
        (&json!("escalated"), &json!("unsure")),
        "{receipt}"
    );
    verified(&stage.home).await;
}

#[tokio::test]
async fn an_unsure_answer_stays_where_a_better_one_cannot_be_had() {
    // The large model's worst case does not fit beside what the small one cost.
    let poor = stage(&budget("purse", "\"global\"", "0.00015", "reject")).await;
    poor.small.answer(small(UNSURE));
    let tags = ("x-tollgate-tags", "tier=any");
    let reply = poor.client().with(tags.0, tags.1).chat(&ask("auto")).await;
    assert_eq!(
        (reply.status, reply.header("x-tollgate-model")),
        (StatusCode::OK, "small"),
        "{}",
        reply.text()
    );
    assert_eq!(reply.header("x-tollgate-cost-usd"), "0.0000115");
    let broken = stage("").await;
    broken.small.answer(small(UNSURE));
    broken.large.answer(Script::Hangup);
    let client = broken.client().with(tags.0, tags.1);
    let reply = client.chat(&ask("auto")).await;
    assert_eq!(reply.header("x-tollgate-model"), "small", "{reply:?}");
    let streamed = client.stream(&ask_stream("auto")).await.finish().await;
    assert_eq!(streamed.content(), "one two three four five six");
    let receipts = broken.receipts().await;
    assert_eq!(receipts[0]["cost"], reply.header("x-tollgate-cost-usd"));
    // The better model broke off after it took the request: it may have been paid, so it is.
    for receipt in &receipts {
        let tries = receipt["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!((&receipt["status"], tries.len()), (&json!("ok"), 1), "{receipt}");
        assert_eq!(
            (&tries[0]["model"], &tries[0]["engine"], &tries[0]["reason"]),
            (&json!("large"), &json!("large-engine"), &json!("broken"))
        );
        let lost = usd(&tries[0]["cost"]);
        assert!(lost > 0.0, "{receipt}");
        assert!((usd(&receipt["cost"]) - lost - 0.000_011_5).abs() < 1e-12, "{receipt}");
    }
    // Each model's money is told as its own, though the receipts are the small one's.
    let report = [
        "ledger",
        "report",
        "--by",
        "model,engine",
        "--json",
        "--config",
        "tollgate.toml",
        "--data-dir",
        "data",
    ];
    let report: Value = serde_json::from_str(&broken.home.run(&report).await.success()).expect("it is JSON");
    let lines = report["lines"].as_array().expect("lines");
    let told = |line: &Value| (line["group"].clone(), line["requests"].clone());
    assert_eq!(told(&lines[0]), (json!(["large", "large-engine"]), json!(0)), "{report}");
    assert_eq!(told(&lines[1]), (json!(["small", "small-engine"]), json!(2)), "{report}");
    assert!((usd(&lines[1]["cost_usd"]) - 2.0 * 0.000_011_5).abs() < 1e-12, "{report}");
    let sum = |field: &str| receipts.iter().map(|receipt| usd(&receipt[field])).sum::<f64>();
    assert!((usd(&report["total"]["cost_usd"]) - sum("cost")).abs() < 1e-12, "{report}");
    assert!((usd(&report["total"]["saved_usd"]) - sum("saved")).abs() < 1e-12, "{report}");
    verified(&broken.home).await;
}

#[tokio::test]
async fn an_answer_that_stays_is_paid_even_if_its_client_leaves() {
    let stage = stage("").await;
    let gate = Gate::closed();
    stage.small.answer(Chat::new(&"word ".repeat(12), 11, 12).likely(UNSURE).gated(8, &gate));
    stage.large.answer(Script::Hangup);
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    let mut stream = client.stream(&ask_stream("auto")).await;
    let id = stream.header("x-tollgate-request-id").to_owned();
    assert!(stream.next().await.is_some());
    drop(stream);
    let receipt = stage.receipt_of(&id).await;
    assert_eq!((&receipt["status"], &receipt["model"]), (&json!("cancelled"), &json!("small")), "{receipt}");
    assert!(usd(&receipt["cost"]) > usd(&receipt["attempts"][0]["cost"]), "{receipt}");
    assert!(usd(&receipt["cost"]) <= usd(&receipt["held"]), "{receipt}");
    verified(&stage.home).await;
}

#[tokio::test]
async fn an_engine_that_tells_no_likelihoods_is_trusted_and_counted() {
    let stage = stage("").await;
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    assert_eq!(client.chat(&ask("auto")).await.header("x-tollgate-model"), "small");
    let streamed = client.stream(&ask_stream("auto")).await.finish().await;
    assert_eq!(streamed.content(), "the small answer");
    let metrics = stage.gateway.metrics().await;
    assert!((metrics.sum("tollgate_fail_open_total", &[("reason", "confidence")]) - 2.0).abs() < 1e-9);
    // A model asked for by name is nobody's to judge.
    stage.small.answer(small(UNSURE));
    assert_eq!(client.chat(&ask("small")).await.header("x-tollgate-model"), "small");
}
