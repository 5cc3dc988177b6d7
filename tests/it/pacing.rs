//! Pacing: while money is spent faster than its window can bear, it gets dear, and requests move to the cheaper model.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask};

/// Far less than a request each second of an hour can be had for.
const BUDGET: &str = "[[budget]]\nname = \"purse\"\nscope = \"global\"\nlimit_usd = 0.5\nwindow = \"1h\"\n";

fn paced(pace: bool) -> String {
    let objective = format!("quality = 1.0\npace = {pace}");
    POLICY.replacen("quality = 0.95", &objective, 1) + BUDGET
}

/// Something that only the large model is expected to answer well.
fn hard() -> serde_json::Value {
    let text = "Prove that every finite integral domain is a field, then find all primes p for which x^2 + 1 is reducible over F_p.";
    json!({"model": "auto", "max_tokens": 20, "messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn money_spent_too_fast_gets_dear_and_requests_go_to_the_cheaper_model() {
    let stage = Stage::with(&paced(true), SMALL_PRICE, "").await;
    let client = stage.client();
    let first = client.chat(&hard()).await;
    assert_eq!(
        (first.status, first.header("x-tollgate-model")),
        (StatusCode::OK, "large"),
        "{}",
        first.text()
    );
    let began = Instant::now();
    let small = loop {
        let reply = client.with("x-tollgate-explain", "1").chat(&hard()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        if reply.header("x-tollgate-model") == "small" {
            break reply;
        }
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "it stays with the large model: {}",
            stage.gateway.log()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let decision: serde_json::Value =
        serde_json::from_str(small.header("x-tollgate-decision")).expect("it is JSON");
    assert!(decision["price_of_money"].as_f64().is_some_and(|price| price > 0.0), "{decision}");
    assert!(small.header("x-tollgate-reason").contains("money"), "{}", small.header("x-tollgate-reason"));
    let metrics = stage.gateway.metrics().await;
    assert!(metrics.sum("tollgate_budget_price_of_money", &[("budget", "purse")]) > 0.0);
    // What is asked for by name is not paced.
    assert_eq!(client.chat(&ask("large")).await.header("x-tollgate-model"), "large");
    // A gateway that is started again goes on with the price.
    let file = stage.home.data().join("pacing.json");
    let kept = async {
        while std::fs::read_to_string(&file).is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), kept).await.expect("what pacing knows is written");
    stage.gateway.kill().await;
    let again = stage.home.serve().await;
    let priced = async {
        while again.metrics().await.sum("tollgate_budget_price_of_money", &[("budget", "purse")]) <= 0.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), priced)
        .await
        .expect("money is dear before the first request");
    // A damaged file is told of, and does no harm.
    again.kill().await;
    std::fs::write(&file, "[{\"budget\": 5}]").expect("the file can be written");
    let anew = stage.home.serve().await;
    assert!(anew.log().contains("the prices of money are found anew"), "{}", anew.log());
}

#[tokio::test]
async fn a_policy_that_does_not_pace_does_not_heed_the_price() {
    let stage = Stage::with(&paced(false), SMALL_PRICE, "").await;
    let client = stage.client();
    let priced = async {
        while stage.gateway.metrics().await.sum("tollgate_budget_price_of_money", &[("budget", "purse")])
            <= 0.0
        {
            let reply = client.chat(&hard()).await;
            assert_eq!(reply.header("x-tollgate-model"), "large", "{}", reply.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), priced).await.expect("the budget has a price");
    assert_eq!(client.chat(&hard()).await.header("x-tollgate-model"), "large");
}
