//! Pacing: while money is spent faster than its window can bear, it gets dear, and requests move to the cheaper model.

use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tollgate_tests::gateway::Gateway;

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask};

/// Far less than requests each 50 ms of an hour can be had for, and more than the first hundreds of them cost.
const BUDGET: &str = "[[budget]]\nname = \"purse\"\nscope = \"global\"\nlimit_usd = 0.05\nwindow = \"1h\"\n";

fn paced(pace: bool) -> String {
    let objective = format!("quality = 1.0\npace = {pace}");
    POLICY.replacen("quality = 0.95", &objective, 1) + BUDGET
}

/// Something that only the large model is expected to answer well.
fn hard() -> Value {
    let text = "Prove that every finite integral domain is a field, then find all primes p for which x^2 + 1 is reducible over F_p.";
    json!({"model": "auto", "max_tokens": 20, "messages": [{"role": "user", "content": text}]})
}

/// λ of the budget, as the metrics have it.
async fn price_of_money(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("tollgate_budget_price_of_money", &[("budget", "purse")])
}

/// Sends requests that `large` has to answer until the budget's money has a price.
async fn spend_until_money_has_a_price(stage: &Stage) {
    let client = stage.client();
    let priced = async {
        while price_of_money(&stage.gateway).await <= 0.0 {
            let reply = client.chat(&hard()).await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), priced).await.expect("the budget has a price");
}

/// The file that pacing keeps, once it is there.
async fn kept(stage: &Stage) -> (PathBuf, Value) {
    let path = stage.home.data().join("pacing.json");
    let written = async {
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            match serde_json::from_str::<Value>(&text) {
                Ok(kept) if kept[0].is_object() => return kept,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let kept = tokio::time::timeout(Duration::from_secs(40), written).await;
    (path, kept.expect("what pacing knows is written"))
}

// How fast the price rises hangs on how much of the hour is left when a test begins. So the first test lets it rise from
// nothing, and the rest is seen at a price that is dear at any minute: it is written where a gateway looks that starts.

#[tokio::test]
async fn money_spent_too_fast_gets_dear_and_requests_go_to_the_cheaper_model() {
    let stage = Stage::with(&paced(true), SMALL_PRICE, "").await;
    let first = stage.client().chat(&hard()).await;
    assert_eq!(
        (first.status, first.header("x-tollgate-model")),
        (StatusCode::OK, "large"),
        "{}",
        first.text()
    );
    spend_until_money_has_a_price(&stage).await;
    let (path, mut kept) = kept(&stage).await;
    stage.gateway.kill().await;
    // As after an hour with a billion requests: a gateway that starts again goes on with that.
    kept[0]["x"] = json!(6.0);
    kept[0]["requests"] = json!(1e9);
    std::fs::write(&path, kept.to_string()).expect("the file can be written");
    let again = stage.home.serve().await;
    let priced = async {
        while price_of_money(&again).await <= 0.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), priced)
        .await
        .expect("money is dear before the first request");
    let client = again.client();
    let small = client.with("x-tollgate-explain", "1").chat(&hard()).await;
    assert_eq!(small.header("x-tollgate-model"), "small", "{}", small.text());
    let decision: Value = serde_json::from_str(small.header("x-tollgate-decision")).expect("it is JSON");
    assert!(decision["price_of_money"].as_f64().is_some_and(|price| price > 0.0), "{decision}");
    assert!(small.header("x-tollgate-reason").contains("money"), "{}", small.header("x-tollgate-reason"));
    // What is asked for by name is not paced.
    assert_eq!(client.chat(&ask("large")).await.header("x-tollgate-model"), "large");
    // A damaged file is told of, and does no harm.
    again.kill().await;
    std::fs::write(&path, "[{\"budget\": 5}]").expect("the file can be written");
    let anew = stage.home.serve().await;
    assert!(anew.log().contains("the prices of money are found anew"), "{}", anew.log());
}

#[tokio::test]
async fn a_policy_that_does_not_pace_does_not_heed_the_price() {
    let stage = Stage::with(&paced(false), SMALL_PRICE, "").await;
    spend_until_money_has_a_price(&stage).await;
    assert_eq!(stage.client().chat(&hard()).await.header("x-tollgate-model"), "large");
}
