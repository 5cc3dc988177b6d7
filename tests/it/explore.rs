//! Exploration: what is drawn, from what, and how probable receipts say it was.

use serde_json::Value;

use crate::learn::policy;
use crate::stage::{SMALL_PRICE, Stage, ask, budget};

#[tokio::test]
async fn exploration_is_drawn_and_on_record() {
    let stage = Stage::with(&policy("explore = 0.2"), SMALL_PRICE, "").await;
    let client = stage.client();
    for _ in 0..100 {
        assert_eq!(client.chat(&ask("auto")).await.status, 200);
    }
    let receipts = stage.receipts().await;
    let explored: Vec<&Value> = receipts.iter().filter(|receipt| receipt["model"] == "large").collect();
    // A tenth is expected; outside of these bounds lies one in a hundred thousand.
    assert!((1..=25).contains(&explored.len()), "{} of 100", explored.len());
    for receipt in &receipts {
        let wanted = if receipt["model"] == "large" { 0.1 } else { 0.9 };
        assert!((receipt["propensity"].as_f64().unwrap_or_default() - wanted).abs() < 1e-9, "{receipt}");
    }
    assert!(
        explored[0]["reason"].as_str().is_some_and(|reason| reason.contains("explored")),
        "{}",
        explored[0]
    );
    // Who asks for the baseline's whole quality is not experimented with.
    let careful = client.with("x-tollgate-quality", "1.0");
    for _ in 0..30 {
        assert_eq!(careful.chat(&ask("auto")).await.status, 200);
    }
    for receipt in &stage.receipts().await[100..] {
        assert!((receipt["propensity"].as_f64().unwrap_or_default() - 1.0).abs() < 1e-9, "{receipt}");
    }
}

#[tokio::test]
async fn what_a_budget_cannot_pay_is_not_drawn() {
    // An answer of the large model may come to some 0.0004 dollars.
    let purse = budget("purse", "\"global\"", "0.00035", "downgrade");
    let stage = Stage::with(&(policy("explore = 0.2") + &purse), SMALL_PRICE, "").await;
    let client = stage.client();
    for _ in 0..20 {
        assert_eq!(client.chat(&ask("auto")).await.status, 200);
    }
    for receipt in &stage.receipts().await {
        assert_eq!(receipt["selected"], "small", "{receipt}");
        assert!((receipt["propensity"].as_f64().unwrap_or_default() - 1.0).abs() < 1e-9, "{receipt}");
    }
    assert_eq!(stage.large.counts().asked, 0);
}
