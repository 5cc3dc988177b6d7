//! Plain chat completions: routing by `model`, the contract's headers, bytes passed through.

use serde_json::{Value, json};
use tollgate_tests::client::{CHAT, Client};
use tollgate_tests::upstream::{Chat, Script};

use crate::stage::{Stage, ask};

#[tokio::test]
async fn a_named_model_answers_under_its_catalogue_name() {
    let stage = Stage::budget("1.00", "reject").await;
    let reply = stage.client().chat(&ask("small")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.content(), "the small answer");
    assert_eq!(reply.json()["model"], "small");
    assert_eq!(reply.json()["usage"]["total_tokens"], 18);
    assert_eq!(stage.small.last().json()["model"], "vendor/small-upstream");
    assert_eq!(stage.large.counts().asked, 0);
    assert_eq!(reply.header("x-tollgate-model"), "small");
    // 11 × 0.50 + 7 × 1.00 = 12.5 µUSD; the large model would have cost 11 × 5 + 7 × 10 = 125 µUSD.
    assert_eq!(reply.header("x-tollgate-cost-usd"), "0.0000125");
    assert_eq!(reply.header("x-tollgate-saved-usd"), "0.0001125");
    assert_eq!(reply.header("x-tollgate-budget-remaining-usd"), "0.9999875");
    for name in ["request-id", "route", "reason"] {
        assert!(
            !reply.header(&format!("x-tollgate-{name}")).is_empty(),
            "no x-tollgate-{name}: {:?}",
            reply.headers
        );
    }
    let number = |name: &str| -> f64 {
        let value = reply.header(name);
        value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}, no number"))
    };
    assert!((0.0..=1.0).contains(&number("x-tollgate-difficulty")));
    assert!(number("x-tollgate-estimate-usd") > 0.0);
    assert!(number("x-tollgate-overhead-us") > 0.0);
    assert!(reply.header("server-timing").contains("dur="), "{:?}", reply.headers);
}

#[tokio::test]
async fn auto_is_routed_and_rules_are_named() {
    let stage = Stage::new().await;
    let reply = stage.client().with("x-tollgate-tags", "tier=small").chat(&ask("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-route")), (200, "small only"));
    assert_eq!(reply.json()["model"], "small");
    let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
    assert_eq!(reply.header("x-tollgate-route"), "cheapest first");
    assert_eq!(reply.json()["model"], "small");
    let reply = stage.client().chat(&ask("auto:default")).await;
    assert_eq!(reply.header("x-tollgate-route"), "objective");
}

#[tokio::test]
async fn a_missing_model_means_auto() {
    let stage = Stage::new().await;
    let mut body = ask("auto");
    body.as_object_mut().expect("a chat body is an object").remove("model");
    let reply = stage.client().chat(&body).await;
    // Either is honest: routed as auto, or refused naming the field.
    match reply.status.as_u16() {
        200 => assert!(!reply.header("x-tollgate-model").is_empty()),
        400 => assert_eq!(reply.error()["param"], "model"),
        other => panic!("status {other}: {}", reply.text()),
    }
}

#[tokio::test]
async fn requests_reach_the_upstream_byte_for_byte_but_for_the_model() {
    let stage = Stage::new().await;
    let body = r#"{ "messages":[ {"role":"user","content":"caf\u00e9 \ud83d\ude00", "x_custom": [1.0, 1e3]} ],
        "model" :  "small", "temperature":0.70, "max_tokens": 20, "vendor_field":{"a":null,"b":[true , false]},"seed":9007199254740993 }"#;
    let reply = stage.client().post(CHAT, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = String::from_utf8(stage.small.last().body.to_vec()).expect("the body is text");
    assert_eq!(sent, body.replace("\"small\"", "\"vendor/small-upstream\""));
}

#[tokio::test]
async fn answers_reach_the_client_byte_for_byte_but_for_the_model() {
    let stage = Stage::new().await;
    let answer = r#"{"id" : "x","object":"chat.completion","created":1,
      "model":"vendor/small-upstream","choices":[{"index":0,"message":{"role":"assistant","content":"ok \u00e9","reasoning_content":"hm"},"finish_reason":"stop","logprobs":null}],
      "usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4,"vendor":1.50}, "unknown":[1,2.50,{"z":"\"model\":\"vendor/small-upstream\""}]}"#;
    stage.small.push(Script::Raw { content_type: "application/json", body: answer.to_owned() });
    let reply = stage.client().chat(&ask("small")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.text(), answer.replacen("\"vendor/small-upstream\"", "\"small\"", 1));
}

#[tokio::test]
async fn tools_and_unknown_fields_pass_both_ways() {
    let stage = Stage::new().await;
    stage.small.push(
        Chat::new("ok", 9, 1).with("system_fingerprint", json!("fp_1")).with("x_vendor", json!({"n": 1})),
    );
    let mut body = ask("small");
    body["tools"] =
        json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    body["x_unknown"] = json!({"deep": [1, 2, {"three": 3}]});
    let reply = stage.client().chat(&body).await;
    let sent = stage.small.last().json();
    assert_eq!((&sent["tools"], &sent["x_unknown"]), (&body["tools"], &body["x_unknown"]));
    assert_eq!(reply.json()["system_fingerprint"], "fp_1");
    assert_eq!(reply.json()["x_vendor"]["n"], 1);
}

#[tokio::test]
async fn callers_keys_stay_with_the_gateway() {
    let stage = Stage::new().await;
    let key = stage.key(&["--name", "ada"]).await;
    crate::keys::accepted(&stage.client().key(&key)).await;
    let seen = format!("{:?}", stage.small.last().headers);
    assert!(!seen.contains(&key) && !seen.contains("x-tollgate"), "{seen}");
}

#[tokio::test]
async fn the_model_list_shows_the_catalogue() {
    let stage = Stage::new().await;
    let list = stage.client().get("/v1/models").await.json();
    let names: Vec<&str> =
        list["data"].as_array().expect("a list").iter().filter_map(|m| m["id"].as_str()).collect();
    for name in ["auto", "small", "large"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(list["object"], "list");
    for path in ["/v1/models/small", "/v1/models/%73mall", "/v1/models/auto"] {
        let model = stage.client().get(path).await;
        assert_eq!(
            (model.status.as_u16(), &model.json()["object"]),
            (200, &Value::from("model")),
            "{}",
            model.text()
        );
    }
    let missing = stage.client().get("/v1/models/gpt-9").await;
    assert_eq!(
        (missing.status.as_u16(), &missing.json()["error"]["code"]),
        (404, &Value::from("model_not_found"))
    );
    assert_eq!(stage.client().get("/healthz").await.status, 200);
    assert_eq!(stage.client().get("/readyz").await.status, 200);
}

#[tokio::test]
async fn decisions_are_explained_without_calling_a_model() {
    let stage = Stage::new().await;
    let body = ask("auto");
    let reply = stage.client().post("/v1/decision", body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    for name in ["small", "large", "p_good", "utility"] {
        assert!(text.contains(name), "no {name} in {text}");
    }
    assert_eq!(stage.small.counts().asked + stage.large.counts().asked, 0);
    let explained = stage.client().with("x-tollgate-explain", "1").chat(&body).await;
    let header: Value =
        serde_json::from_str(explained.header("x-tollgate-decision")).expect("the decision is JSON");
    assert!(header.to_string().contains("p_good"), "{header}");
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let stage = Stage::new().await;
    let client = Client::http2(stage.gateway.addr());
    let (small, large) = (ask("small"), ask("large"));
    let (one, two) = tokio::join!(client.chat(&small), client.chat(&large));
    assert_eq!((one.content().as_str(), two.content().as_str()), ("the small answer", "the large answer"));
    let transcript = client.stream(&crate::stage::ask_stream("small")).await.finish().await;
    assert!(transcript.done() && transcript.ended);
}
