//! Upstreams that fail before the first byte: another model answers and the answer says so, or the error is clear.

use std::time::Duration;

use tollgate_tests::upstream::{Chat, Script};

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, ask_stream};

#[tokio::test]
async fn the_next_model_answers_and_the_answer_says_so() {
    let broken = [
        Script::status(500),
        Script::status(503),
        Script::status(429),
        Script::Hangup,
        Script::Raw { content_type: "text/html", body: "<html>oops</html>".to_owned() },
    ];
    for fault in broken {
        // A gateway of its own: an engine that fails three times in a row is left alone for a while.
        let stage = Stage::new().await;
        let client = stage.client().with("x-tollgate-tags", "tier=any");
        stage.small.answer(fault.clone());
        let reply = client.chat(&ask("auto")).await;
        assert_eq!(reply.status, 200, "{fault:?}: {}", reply.text());
        assert_eq!(
            (reply.content().as_str(), reply.header("x-tollgate-model")),
            ("the large answer", "large")
        );
        assert!(reply.header("x-tollgate-reason").contains("fall"), "{fault:?}: {:?}", reply.headers);
        // The receipt charges the model that answered.
        let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
        assert_eq!(
            (&receipt["selected"], &receipt["model"]),
            (&"small".into(), &"large".into()),
            "{receipt}"
        );
        assert_eq!(
            (&receipt["status"], &receipt["cost"]),
            (&"fallback".into(), &"0.000125".into()),
            "{receipt}"
        );
        let fallbacks = stage.gateway.metrics().await.sum("tollgate_fallbacks_total", &[]);
        assert_eq!(fallbacks as usize, 1, "{fault:?}");
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
    let metrics = stage.gateway.metrics().await;
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    assert!(metrics.sum("tollgate_budget_settled_usd", &[]).abs() < 1e-12);
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
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_given_up() {
    let stage = Stage::with(POLICY, SMALL_PRICE, "first_byte_timeout_ms = 300").await;
    stage.small.answer(Script::Hang);
    let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "large"), "{}", reply.text());
    stage.small.until("the upstream to be let go", |counts| counts.abandoned == 1).await;
}
