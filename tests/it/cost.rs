//! Money, exact to the nanodollar, against values worked out by hand.

use serde_json::Value;
use tollgate_tests::upstream::{Chat, Script, Tokens};

use crate::stage::{POLICY, Stage, ask, ask_stream};

/// Price of `small`, tokens reported, cost in USD worked out by hand.
const CASES: [(&str, Tokens, &str); 6] = [
    // 1000 × 0.15 + 500 × 0.60 = 150 + 300 µUSD
    ("{ input = 0.15, output = 0.60 }", Tokens::new(1000, 500), "0.000450"),
    // 234 × 0.15 + 1000 × 0.075 + 567 × 0.60 + 100 = 35.1 + 75 + 340.2 + 100 µUSD
    (
        "{ input = 0.15, cached_input = 0.075, output = 0.60, per_request = 0.0001 }",
        Tokens { prompt: 1234, cached: 1000, completion: 567, reasoning: 0 },
        "0.0005503",
    ),
    // No price for cached tokens: they cost what others cost. 10 × 2 = 20 µUSD
    ("{ input = 2, output = 4 }", Tokens { prompt: 10, cached: 9, completion: 0, reasoning: 0 }, "0.000020"),
    // Reasoning is part of the completion, not added to it: 1 × 1 + 100 × 3 = 301 µUSD
    (
        "{ input = 1, output = 3 }",
        Tokens { prompt: 1, cached: 0, completion: 100, reasoning: 80 },
        "0.000301",
    ),
    // 1 × 37.5 nUSD, rounded up to whole nanodollars
    ("{ input = 0.0375, output = 0 }", Tokens::new(1, 0), "0.000000038"),
    // 3 × 33.333 nUSD + 7 × 0.001 nUSD = 100.006 nUSD, rounded up once and not per part
    ("{ input = 0.033333, output = 0.000001 }", Tokens::new(3, 7), "0.000000101"),
];

#[tokio::test]
async fn costs_are_exact_in_header_usage_and_receipt() {
    for (price, tokens, cost) in CASES {
        let stage = Stage::with(POLICY, price, "").await;
        stage.small.answer(Chat::new("ok", 0, 0).tokens(tokens));
        let reply = stage.client().chat(&ask("small")).await;
        assert_eq!(reply.header("x-tollgate-cost-usd"), cost, "{price} {tokens:?}");
        let streamed = stage.client().stream(&ask_stream("small")).await.finish().await;
        assert_eq!(
            number(&streamed.usage()["cost_usd"]),
            cost.parse::<f64>().ok(),
            "{price} {}",
            streamed.usage()
        );
        let receipts = stage.receipts().await;
        assert_eq!(receipts.len(), 2);
        for receipt in &receipts {
            assert_eq!(receipt["cost"], cost, "{price} {receipt}");
            assert_eq!(receipt["usage"]["cached_tokens"], tokens.cached);
            assert_eq!(receipt["usage"]["reasoning_tokens"], tokens.reasoning);
            assert_eq!(receipt["usage_estimated"], false);
        }
    }
}

/// A cost in JSON: a number, or its exact text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

#[tokio::test]
async fn dearer_than_the_baseline_is_a_negative_saving() {
    let stage = Stage::with(POLICY, "{ input = 10, output = 20 }", "").await;
    let reply = stage.client().chat(&ask("small")).await;
    // 11 × 10 + 7 × 20 = 250 µUSD against 125 µUSD
    assert_eq!(reply.header("x-tollgate-cost-usd"), "0.000250");
    assert_eq!(reply.header("x-tollgate-saved-usd"), "-0.000125");
}

#[tokio::test]
async fn an_upstream_without_usage_is_charged_an_estimate_and_says_so() {
    let stage = Stage::new().await;
    stage.small.answer(Chat::new("some words without any usage", 0, 0).without_usage());
    let reply = stage.client().chat(&ask("small")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let streamed = stage.client().stream(&ask_stream("small")).await.finish().await;
    assert!(streamed.done());
    for receipt in stage.receipts().await {
        assert_eq!(receipt["usage_estimated"], true, "{receipt}");
        let cost: f64 =
            receipt["cost"].as_str().expect("money is exact text").parse().expect("money is a number");
        assert!(cost > 0.0, "{receipt}");
    }
}

#[tokio::test]
async fn receipts_say_what_happened() {
    let stage = Stage::new().await;
    let client =
        stage.client().with("x-tollgate-tags", "team=search,tier=small").with("x-tollgate-run", "run-7");
    let reply = client.chat(&ask("auto")).await;
    let receipt = stage.receipts().await.pop().expect("one receipt");
    assert_eq!(receipt["request_id"], reply.header("x-tollgate-request-id"));
    for (field, value) in
        [("run", "run-7"), ("route", "small only"), ("model", "small"), ("selected", "small")]
    {
        assert_eq!(receipt[field], value, "{receipt}");
    }
    assert_eq!(receipt["tags"]["team"], "search");
    assert_eq!(receipt["policy_name"], "default");
    assert_eq!(receipt["status"], "ok");
    assert_eq!(receipt["http_status"], 200);
    assert_eq!((&receipt["cost"], &receipt["baseline_cost"]), (&"0.0000125".into(), &"0.000125".into()));
    crate::stage::verified(&stage.home).await;
}

#[tokio::test]
async fn a_usage_of_nothing_is_not_a_free_answer() {
    let stage = Stage::new().await;
    stage.small.push(Chat::new("some words that cost money all the same", 0, 0));
    stage.client().chat(&ask("small")).await;
    let receipt = stage.receipts().await.pop().expect("one receipt");
    assert_eq!(receipt["usage_estimated"], true, "{receipt}");
    assert_ne!(receipt["cost"], "0.000000", "{receipt}");
}

#[tokio::test]
async fn absurd_counts_break_no_report() {
    let stage = Stage::new().await;
    stage.small.answer(Chat::new("ok", u64::MAX / 4, u64::MAX / 4));
    for _ in 0..3 {
        stage.client().chat(&ask("small")).await;
    }
    assert!(stage.receipts().await.iter().all(|receipt| receipt["usage_estimated"] == true));
    let args = ["ledger", "report", "--config", "tollgate.toml", "--data-dir", "data"];
    stage.home.run(&args).await.success();
}

/// What the request asks for, what the answer says it got, and what 10 + 100 tokens cost.
const SERVED: [(Option<&str>, Option<&str>, &str); 6] = [
    (None, None, "0.000820"),
    (Some("flex"), Some("flex"), "0.000410"),
    // Asked for, and silent about it.
    (Some("flex"), None, "0.000410"),
    // Denied: the standard service.
    (Some("priority"), Some("default"), "0.000820"),
    // Left to the provider, whose project settings chose the dearer one.
    (Some("auto"), Some("priority"), "0.001435"),
    (None, Some("priority"), "0.001435"),
];

#[tokio::test]
async fn a_class_of_service_costs_what_was_given() {
    let price = "{ input = 2, output = 8, service_tiers = { flex = { input = 1, output = 4 }, priority = { input = 3.5, output = 14 } } }";
    let stage = Stage::with(POLICY, price, "").await;
    for (asked, given, cost) in SERVED {
        let mut answer = Chat::new("ok", 10, 100);
        if let Some(given) = given {
            answer.extra.insert("service_tier".to_owned(), given.into());
        }
        stage.small.answer(answer);
        let with = |mut body: Value| {
            if let Some(asked) = asked {
                body["service_tier"] = asked.into();
            }
            body["max_tokens"] = 200.into();
            body
        };
        let reply = stage.client().chat(&with(ask("small"))).await;
        assert_eq!(reply.header("x-tollgate-cost-usd"), cost, "{asked:?} {given:?}");
        assert_eq!(stage.small.last().json()["service_tier"], asked.map_or(Value::Null, Value::from));
        let streamed = stage.client().stream(&with(ask_stream("small"))).await.finish().await;
        assert_eq!(number(&streamed.usage()["cost_usd"]), cost.parse::<f64>().ok(), "{asked:?} {given:?}");
    }
    let held = stage.receipts().await;
    assert!(held.iter().all(|receipt| number(&receipt["held"]) >= number(&receipt["cost"])));
    let mut body = ask("auto");
    // A fallback is asked, and charged, for the same class.
    stage.small.push(Script::status(500));
    stage.large.answer(Chat::new("ok", 1000, 100));
    body["service_tier"] = "flex".into();
    let any = stage.client().with("x-tollgate-tags", "tier=any");
    let reply = any.chat(&body).await;
    assert_eq!(reply.header("x-tollgate-model"), "large", "{}", reply.text());
    assert_eq!(stage.large.last().json()["service_tier"], "flex");
    let receipt = stage.receipts().await.pop().expect("a receipt");
    assert_eq!(receipt["usage"]["service_tier"], "flex", "{receipt}");
    // What has no price is not sent.
    body["model"] = "small".into();
    body["service_tier"] = "batch".into();
    let refused = stage.client().chat(&body).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("service tier"), "{}", refused.text());
    // The price of the other model holds for every class.
    body["model"] = "large".into();
    assert_eq!(stage.client().chat(&body).await.status, 200);
}
