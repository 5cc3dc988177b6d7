//! Streams: passed on frame by frame, metered, and settled however they end.

use tollgate_tests::upstream::{Chat, Gate, Script};

use crate::stage::{Stage, ask_stream};

#[tokio::test]
async fn a_stream_arrives_whole_with_usage_and_cost() {
    let stage = Stage::new().await;
    let stream = stage.client().stream(&ask_stream("small")).await;
    assert_eq!(stream.status, 200);
    assert!(stream.header("content-type").starts_with("text/event-stream"));
    assert_eq!(stream.header("x-tollgate-model"), "small");
    assert!(stream.header("x-tollgate-cost-usd").is_empty(), "the cost is not known when a stream starts");
    let transcript = stream.finish().await;
    assert_eq!(transcript.content(), "the small answer");
    assert!(transcript.done() && transcript.ended);
    let usage = transcript.usage();
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&11.into(), &7.into()));
    assert!(!usage["cost_usd"].is_null(), "{usage}");
    for event in transcript.events.iter().filter(|event| !event.is_done()) {
        assert_eq!(event.json()["model"], "small");
    }
}

#[tokio::test]
async fn usage_is_metered_but_not_shown_unless_asked() {
    let stage = Stage::new().await;
    let mut body = ask_stream("small");
    body.as_object_mut().expect("an object").remove("stream_options");
    let transcript = stage.client().stream(&body).await.finish().await;
    assert!(transcript.usage().is_null(), "{:?}", transcript.events);
    assert!(transcript.events.iter().all(|event| event.is_done() || !event.json()["choices"][0].is_null()));
    assert!(transcript.done());
    let receipt = stage.receipts().await.pop().expect("one receipt");
    assert_eq!((&receipt["cost"], &receipt["usage_estimated"]), (&"0.0000125".into(), &false.into()));
}

#[tokio::test]
async fn frames_are_passed_on_as_they_come() {
    let stage = Stage::new().await;
    let gate = Gate::closed();
    stage.small.push(Chat::new("one two three four", 11, 4).gated(2, &gate));
    let mut stream = stage.client().stream(&ask_stream("small")).await;
    // The upstream waits after two pieces: both must be here before it goes on.
    let mut seen = String::new();
    while seen != "one two " {
        let event = stream.next().await.expect("an event");
        seen += event.json()["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
    }
    gate.open();
    assert_eq!(stream.finish().await.content(), "three four");
}

#[tokio::test]
async fn unknown_chunk_fields_and_events_are_kept() {
    let stage = Stage::new().await;
    let body = concat!(
        ": keep-alive\n\n",
        "data: {\"id\":\"a\",\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hé\", \"x\" : 1.0}}],\"z\":[ 1 ]}\n\n",
        "data: {\"id\":\"a\",\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n"
    );
    stage.small.push(Script::Raw { content_type: "text/event-stream", body: body.to_owned() });
    let transcript = stage.client().stream(&ask_stream("small")).await.finish().await;
    let text = String::from_utf8(transcript.raw).expect("the stream is text");
    assert!(text.contains("{\"content\":\"hé\", \"x\" : 1.0}"), "{text}");
    assert!(text.contains("\"z\":[ 1 ]"), "{text}");
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_was_produced() {
    let stage = Stage::budget("1.00", "reject").await;
    let gate = Gate::closed();
    stage.small.push(Chat::new(&"word ".repeat(12), 11, 12).gated(8, &gate));
    let mut stream = stage.client().stream(&ask_stream("small")).await;
    let id = stream.header("x-tollgate-request-id").to_owned();
    assert!(stream.next().await.is_some());
    drop(stream);
    stage.small.until("the upstream to be let go", |counts| counts.abandoned == 1).await;
    let receipt = stage.receipt_of(&id).await;
    assert_eq!(
        (&receipt["status"], &receipt["usage_estimated"]),
        (&"cancelled".into(), &true.into()),
        "{receipt}"
    );
    let cost: f64 =
        receipt["cost"].as_str().expect("money is exact text").parse().expect("money is a number");
    assert!(cost > 0.0, "{receipt}");
    assert!(
        cost <= receipt["held"].as_str().and_then(|held| held.parse().ok()).expect("held is money"),
        "{receipt}"
    );
    let metrics = stage
        .gateway
        .metrics_reach("the hold's end", |metrics| metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12)
        .await;
    assert!((metrics.sum("tollgate_budget_settled_usd", &[]) - cost).abs() < 1e-12);
}

#[tokio::test]
async fn an_upstream_that_dies_mid_stream_ends_in_an_error_event() {
    for fault in
        [Chat::new("one two three", 11, 3).cut_after(2), Chat::new("one two three", 11, 3).garbage_after(2)]
    {
        let stage = Stage::budget("1.00", "reject").await;
        stage.small.push(fault);
        let transcript = stage.client().stream(&ask_stream("small")).await.finish().await;
        assert!(transcript.ended, "the stream must end as HTTP wants it");
        let errors =
            transcript.events.iter().filter(|event| !event.is_done() && event.json()["error"].is_object());
        let errors: Vec<_> = errors.map(|event| event.json()["error"].clone()).collect();
        assert_eq!(errors.len(), 1, "{:?}", transcript.events);
        assert!(errors[0]["message"].is_string() && errors[0]["type"].is_string(), "{errors:?}");
        let receipt = stage.receipts().await.pop().expect("one receipt");
        assert_eq!(receipt["status"], "error", "{receipt}");
        assert_ne!(receipt["cost"], "0.000000", "what was produced is paid for: {receipt}");
        assert!(stage.gateway.metrics().await.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    }
}

/// Streams that end without a terminator, how many choices were asked for, and how they are booked.
#[tokio::test]
async fn a_stream_is_whole_when_all_of_its_choices_are() {
    let end = |index: u32| {
        format!(
            "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"a\"}},\"finish_reason\":\"stop\"}}]}}\n\n"
        )
    };
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":4}}";
    for (choices, body, status) in [
        (2, end(0), "error"),
        (2, [end(1), end(0)].concat(), "ok"),
        (1, end(0), "ok"),
        // No empty line after the last frame.
        (1, [&end(0), usage].concat(), "ok"),
        (1, [&end(0), usage, "\n\ndata: [DONE]"].concat(), "ok"),
        (1, [&end(0), "data: {\"choices\":[{\"del"].concat(), "error"),
        // No stream at all: nothing of it is anybody's business.
        (1, "{\"detail\":\"secret path\"}".to_owned(), "error"),
        (1, [&end(0), "data: {\"id\":\"x\",\"error\":{\"code\":502},\"choices\":[]}"].concat(), "error"),
        (1, [&end(0), "data: {\"id\":\"x\",\"error\":{\"code\":502}}\n\ndata: [DONE]\n\n"].concat(), "error"),
    ] {
        let stage = Stage::new().await;
        stage.small.push(Script::Raw { content_type: "text/event-stream", body: body.clone() });
        let mut ask = ask_stream("small");
        ask["n"] = choices.into();
        let transcript = stage.client().stream(&ask).await.finish().await;
        assert!(transcript.done() && transcript.ended, "{body}");
        assert!(!String::from_utf8_lossy(&transcript.raw).contains("secret"), "{body}");
        let told =
            transcript.events.iter().any(|event| !event.is_done() && event.json()["error"].is_object());
        assert_eq!(told, status == "error", "{body}: {:?}", transcript.events);
        let receipt = stage.receipts().await.pop().expect("one receipt");
        assert_eq!(receipt["status"], status, "{body}: {receipt}");
        if body.contains("usage") {
            assert_eq!(
                (&receipt["usage"]["completion_tokens"], &receipt["usage_estimated"]),
                (&4.into(), &false.into())
            );
            assert!(!transcript.usage()["cost_usd"].is_null(), "{body}");
        }
    }
}

/// Chunks as some servers send them, and the completion tokens that are charged.
#[tokio::test]
async fn a_usage_that_came_before_the_text_is_not_the_whole_bill() {
    let stage = Stage::new().await;
    let chunk =
        |delta: &str, usage: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]{usage}}}\n\n");
    let early =
        chunk("{\"role\":\"assistant\"}", ",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1}");
    let thought = chunk("{\"content\":null,\"reasoning_content\":\"so \"}", "").repeat(40);
    let text = chunk("{\"content\":\"word\"}", "").repeat(60);
    let finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let body = [early, thought, text, finish.to_owned()].concat();
    stage.small.push(Script::Raw { content_type: "text/event-stream", body });
    assert!(stage.client().stream(&ask_stream("small")).await.finish().await.done());
    let receipt = stage.receipts().await.pop().expect("one receipt");
    let usage = &receipt["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"]),
        (&10.into(), &101.into()),
        "{receipt}"
    );
    assert_eq!(receipt["usage_estimated"], true, "{receipt}");
}

#[tokio::test]
async fn who_leaves_after_the_engine_has_told_pays_what_it_told() {
    let stage = Stage::new().await;
    let gate = Gate::closed();
    let told = "{\"prompt_tokens\":1000,\"completion_tokens\":500}";
    let usage = serde_json::from_str(told).expect("it is JSON");
    stage.small.push(Chat::new("one two", 11, 2).with("usage", usage).gated(1, &gate));
    let mut stream = stage.client().stream(&ask_stream("small")).await;
    let id = stream.header("x-tollgate-request-id").to_owned();
    assert!(stream.next().await.is_some());
    drop(stream);
    stage.small.until("the upstream to be let go", |counts| counts.abandoned == 1).await;
    let receipt = stage.receipt_of(&id).await;
    // 1000 × 0.50 + 500 × 1.00 µUSD
    assert_eq!(
        (&receipt["status"], &receipt["cost"]),
        (&"cancelled".into(), &"0.001000".into()),
        "{receipt}"
    );
    assert_eq!(receipt["usage_estimated"], false, "{receipt}");
}
