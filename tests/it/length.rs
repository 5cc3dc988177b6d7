//! How long a prompt is: what an engine reports corrects what is expected, and what does not fit one model goes to a larger one.

use tollgate_tests::upstream::{Chat, Script};

use crate::stage::{Stage, ask};

fn too_long() -> Script {
    let body = r#"{"error":{"message":"This model's maximum context length is 8192 tokens, your messages have 9001.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
    Script::Status { code: 400, body: body.to_owned(), headers: Vec::new() }
}

#[tokio::test]
async fn a_prompt_too_long_for_a_model_goes_to_one_with_a_larger_context() {
    let stage = Stage::budget("1.00", "reject").await;
    stage.small.answer(too_long());
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    let reply = client.chat(&ask("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "large"), "{}", reply.text());
    let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
    assert_eq!(receipt["attempts"][0]["reason"], "context_length", "{receipt}");
    assert_eq!(receipt["attempts"][0]["cost"], "0.000000", "a refusal is free: {receipt}");

    // Where none is larger, the caller hears it as OpenAI says it, and nobody is asked in vain.
    stage.large.answer(too_long());
    stage.small.answer(Chat::new("the small answer", 11, 7));
    let before = stage.small.counts().asked;
    let reply = stage.client().chat(&ask("large")).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(
        (&reply.error()["code"], &reply.error()["param"]),
        (&"context_length_exceeded".into(), &"messages".into())
    );
    assert_eq!(stage.small.counts().asked, before);
    let receipts = stage.receipts().await;
    assert!(receipts.iter().all(|receipt| receipt["attempts"].as_array().is_some_and(|all| all.len() <= 1)));
    let metrics = stage.gateway.metrics().await;
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    // Six of them in a row speak against no engine.
    for _ in 0..6 {
        assert_eq!(stage.client().chat(&ask("large")).await.status, 400);
    }
    stage.large.answer(Chat::new("the large answer", 11, 7));
    assert_eq!(stage.client().chat(&ask("large")).await.status, 200);
    crate::stage::verified(&stage.home).await;
}

#[tokio::test]
async fn what_an_engine_reports_of_prompts_corrects_what_is_expected() {
    let stage = Stage::new().await;
    let words = |count: usize| {
        let mut body = ask("small");
        body["messages"][0]["content"] = vec!["winter"; count].join(" ").into();
        body
    };
    // Expected are 7 letters in 4 for each word, 8,750 in all: more than the context of 8,192.
    let refused = stage.client().chat(&words(5_000)).await;
    assert_eq!((refused.status.as_u16(), &refused.error()["code"]), (400, &"context_length_exceeded".into()));
    assert_eq!(stage.small.counts().asked, 0);
    // Its tokenizer makes one token of a word.
    stage.small.answer(Chat::new("the small answer", 1_000, 7));
    assert_eq!(stage.client().chat(&words(1_000)).await.status, 200);
    stage.small.answer(Chat::new("the small answer", 5_000, 7));
    let reply = stage.client().chat(&words(5_000)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
    // 0.5 µUSD for each of about 5,000 tokens, and the expected answer.
    let estimate: f64 = receipt["estimate"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    assert!((0.002_4..0.003_5).contains(&estimate), "{receipt}");
    // The other model is not known yet: there it is 8,750 as before, which fits.
    stage.large.answer(Chat::new("the large answer", 5_000, 7));
    let mut body = words(5_000);
    body["model"] = "large".into();
    let reply = stage.client().chat(&body).await;
    let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
    let estimate: f64 = receipt["estimate"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    assert!(estimate > 0.043, "{receipt}");
}
