//! Upstreams that fail before the first byte: another model answers and the answer says so, or the error is clear.

use std::time::Duration;

use serde_json::Value;
use tollgate_tests::upstream::{Chat, Script};

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, ask_stream};

/// A fault, what it is called in receipts, and whether the model may have charged for it.
type Fault = (fn() -> Script, &'static str, bool);

const FAULTS: [Fault; 5] = [
    (|| Script::status(500), "status", false),
    (|| Script::status(503), "status", false),
    (|| Script::status(429), "busy", false),
    (|| Script::Hangup, "broken", true),
    (|| Script::Raw { content_type: "text/html", body: "<html>oops</html>".to_owned() }, "garbled", true),
];

fn usd(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no money"))
}

#[tokio::test]
async fn the_next_model_answers_and_the_answer_says_so() {
    for (fault, reason, may_have_cost) in FAULTS {
        // A gateway of its own: an engine that fails three times in a row is left alone for a while.
        let stage = Stage::budget("1.00", "reject").await;
        let client = stage.client().with("x-tollgate-tags", "tier=any");
        stage.small.answer(fault());
        let reply = client.chat(&ask("auto")).await;
        assert_eq!(reply.status, 200, "{reason}: {}", reply.text());
        assert_eq!(
            (reply.content().as_str(), reply.header("x-tollgate-model")),
            ("the large answer", "large")
        );
        assert!(reply.header("x-tollgate-reason").contains("fall"), "{reason}: {:?}", reply.headers);
        let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
        assert_eq!(
            (&receipt["selected"], &receipt["model"], &receipt["status"]),
            (&"small".into(), &"large".into(), &"fallback".into()),
            "{receipt}"
        );
        // 11 × 5 + 7 × 10 µUSD for the model that answered, and what the one that failed was expected to cost.
        let attempt = &receipt["attempts"][0];
        assert_eq!(
            (&attempt["model"], &attempt["engine"], &attempt["reason"]),
            (&"small".into(), &"small-engine".into(), &reason.into()),
            "{receipt}"
        );
        assert_eq!(receipt["attempts"].as_array().map(Vec::len), Some(1));
        let lost = usd(&attempt["cost"]);
        let expected = if may_have_cost { usd(&receipt["estimate"]) } else { 0.0 };
        assert!((lost - expected).abs() < 1e-12 && (lost > 0.0) == may_have_cost, "{receipt}");
        let cost = usd(&receipt["cost"]);
        assert!((cost - 0.000_125 - lost).abs() < 1e-12, "{receipt}");
        assert!(
            (usd(&receipt["saved"]) + lost).abs() < 1e-12,
            "the baseline would not have failed: {receipt}"
        );
        assert!(cost <= usd(&receipt["held"]), "{receipt}");
        assert_eq!(reply.header("x-tollgate-cost-usd"), receipt["cost"].as_str().unwrap_or_default());
        let metrics = stage.gateway.metrics().await;
        assert_eq!(metrics.sum("tollgate_fallbacks_total", &[("reason", reason)]) as usize, 1, "{reason}");
        for (name, labels, amount) in [
            ("tollgate_cost_usd_total", &[("model", "small")][..], lost),
            ("tollgate_cost_usd_total", &[("model", "large")], 0.000_125),
            ("tollgate_budget_settled_usd", &[], cost),
            ("tollgate_budget_held_usd", &[], 0.0),
        ] {
            assert!((metrics.sum(name, labels) - amount).abs() < 1e-12, "{reason}: {name}");
        }
        crate::stage::verified(&stage.home).await;
    }
}

#[tokio::test]
async fn a_fallback_is_taken_only_if_the_budget_pays_it_beside_what_was_lost() {
    let stage = Stage::new().await;
    let reply = stage.client().chat(&ask("large")).await;
    let worst = stage.receipt_of(reply.header("x-tollgate-request-id")).await["held"].clone();
    let worst = worst.as_str().expect("held is money").to_owned();
    // Just room for the large model's worst case: enough after a refusal, not after a hang-up that may be charged.
    for (fault, taken) in [(Script::status(429), true), (Script::Hangup, false)] {
        let stage = Stage::budget(&worst, "reject").await;
        stage.small.answer(fault);
        let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
        assert_eq!(
            (reply.status == 200, stage.large.counts().asked == 1),
            (taken, taken),
            "{}",
            reply.text()
        );
        let id = reply.header("x-tollgate-request-id");
        let receipt = stage.receipt_of(id).await;
        assert_eq!(receipt["status"], if taken { "fallback" } else { "error" }, "{receipt}");
        assert_eq!(usd(&receipt["attempts"][0]["cost"]) > 0.0, !taken, "{receipt}");
        let metrics = stage.gateway.metrics().await;
        let settled = metrics.sum("tollgate_budget_settled_usd", &[]);
        assert!(settled > 0.0 && (settled - usd(&receipt["cost"])).abs() < 1e-12, "{receipt}");
        assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
        crate::stage::verified(&stage.home).await;
    }
}

#[tokio::test]
async fn streams_fall_back_before_their_first_byte() {
    let stage = Stage::new().await;
    stage.small.answer(Script::status(502));
    let stream = stage.client().with("x-tollgate-tags", "tier=any").stream(&ask_stream("auto")).await;
    assert_eq!((stream.status.as_u16(), stream.header("x-tollgate-model")), (200, "large"));
    let transcript = stream.finish().await;
    assert_eq!(transcript.content(), "the large answer");
    assert!(transcript.done());
}

#[tokio::test]
async fn an_upstreams_complaint_about_the_request_is_passed_on() {
    let stage = Stage::new().await;
    stage.small.answer(Script::Status {
        code: 400,
        body: r#"{"error":{"message":"temperature is too high","type":"invalid_request_error","param":"temperature","code":null}}"#.to_owned(),
        headers: Vec::new(),
    });
    let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.error()["message"].as_str().is_some_and(|text| text.contains("temperature is too high")));
    assert_eq!(reply.error()["param"], "temperature");
    assert_eq!(stage.large.counts().asked, 0, "a bad request is bad everywhere");
    let receipts = stage.receipts().await;
    assert!(receipts.iter().all(|receipt| receipt["cost"] == "0.000000"), "{receipts:?}");
}

#[tokio::test]
async fn what_one_engine_lacks_another_is_asked_for() {
    let stage = Stage::new().await;
    stage.small.answer(Script::Status {
        code: 400,
        body: r#"{"error":{"message":"Predicted output is not supported","type":"invalid_request_error","param":"prediction","code":"unsupported_parameter"}}"#.to_owned(),
        headers: Vec::new(),
    });
    let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "large"), "{}", reply.text());
    assert!(
        reply.header("x-tollgate-reason").contains("unsupported"),
        "{}",
        reply.header("x-tollgate-reason")
    );
    // Who names the model hears what it lacks.
    let reply = stage.client().chat(&ask("small")).await;
    assert_eq!((reply.status.as_u16(), &reply.error()["param"]), (400, &"prediction".into()));
}

#[tokio::test]
async fn what_fails_at_one_request_is_no_mark_against_an_engine() {
    let stage = Stage::new().await;
    for code in ["template_failed", "grammar_too_complex"] {
        let body = format!(r#"{{"error":{{"message":"no","type":"server_error","code":"{code}"}}}}"#);
        stage.small.answer(Script::Status { code: 500, body, headers: Vec::new() });
        for _ in 0..4 {
            let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
            assert_eq!(reply.header("x-tollgate-model"), "large", "{}", reply.text());
        }
        stage.small.answer(Chat::new("the small answer", 11, 7));
        let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
        assert_eq!(
            reply.header("x-tollgate-model"),
            "small",
            "{code}: {}",
            reply.header("x-tollgate-reason")
        );
    }
}

#[tokio::test]
async fn when_every_model_fails_the_error_is_an_upstreams() {
    let stage = Stage::budget("1.00", "reject").await;
    stage.small.answer(Script::status(500));
    stage.large.answer(Script::Hangup);
    for body in [ask("auto"), ask("small"), ask_stream("large")] {
        let reply = stage.client().chat(&body).await;
        assert!((500..600).contains(&reply.status.as_u16()), "{}: {}", reply.status, reply.text());
        assert!(reply.error()["type"].is_string());
        let text = reply.text();
        assert!(!text.contains("127.0.0.1"), "an upstream's address is nobody's business: {text}");
    }
    // `large` hung up on two of them, and may have charged for that; `small` said no, which is free.
    let receipts = stage.receipts().await;
    let lost: f64 = receipts.iter().map(|receipt| usd(&receipt["cost"])).sum();
    let attempts =
        receipts.iter().flat_map(|receipt| receipt["attempts"].as_array().cloned().unwrap_or_default());
    for attempt in attempts {
        assert_eq!(usd(&attempt["cost"]) > 0.0, attempt["model"] == "large", "{attempt}");
    }
    assert!(lost > 0.0, "{receipts:?}");
    let metrics = stage.gateway.metrics().await;
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    assert!((metrics.sum("tollgate_budget_settled_usd", &[]) - lost).abs() < 1e-12);
    crate::stage::verified(&stage.home).await;
}

#[tokio::test]
async fn a_deadline_ends_a_wait_for_an_upstream() {
    let stage = Stage::new().await;
    stage.small.answer(Chat::new("late", 1, 1).delayed(Duration::from_secs(30)));
    let began = std::time::Instant::now();
    let reply = stage.client().with("x-tollgate-deadline-ms", "2500").chat(&ask("small")).await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert!(began.elapsed() < Duration::from_secs(15));
    stage.small.until("the upstream to be let go", |counts| counts.abandoned == 1).await;
    // It was at work all that time, and of a whole answer nothing is known before its end.
    let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
    assert_eq!(
        (&receipt["cost"], &receipt["usage_estimated"]),
        (&receipt["estimate"], &true.into()),
        "{receipt}"
    );
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_given_up() {
    let stage = Stage::with(POLICY, SMALL_PRICE, "first_byte_timeout_ms = 300").await;
    stage.small.answer(Script::Hang);
    let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "large"), "{}", reply.text());
    let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
    let attempt = &receipt["attempts"][0];
    assert_eq!(
        (&attempt["reason"], &attempt["cost"]),
        (&"timeout".into(), &receipt["estimate"]),
        "{receipt}"
    );
    stage.small.until("the upstream to be let go", |counts| counts.abandoned == 1).await;
}

#[tokio::test]
async fn a_fallback_keeps_to_the_callers_limit_with_what_was_lost_before() {
    let price = "{ input = 0, output = 0, per_request = 0.00015 }";
    let stage = Stage::with(POLICY, price, "first_byte_timeout_ms = 300").await;
    stage.small.answer(Script::Hang);
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    // The large one may cost 95 × 5 + 20 × 10 = 675 µUSD at most, and 150 are lost.
    let reply = client.with("x-tollgate-max-cost-usd", "0.0008").chat(&ask("auto")).await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
    assert_eq!((&receipt["status"], &receipt["cost"]), (&"error".into(), &"0.000150".into()), "{receipt}");
    assert_eq!(stage.large.counts().asked, 0);
    let reply = client.with("x-tollgate-max-cost-usd", "0.001").chat(&ask("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "large"), "{}", reply.text());
}
