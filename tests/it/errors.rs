//! Bad input: each a clear error in OpenAI's form that names what is wrong, and never a word to an upstream.

use serde_json::{Value, json};
use tollgate_tests::client::{CHAT, Client, Reply};
use tollgate_tests::home::Home;

use crate::keys::refused;
use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, config};

/// A body, the field its error must name, and a word its message must hold.
fn wrong_bodies() -> Vec<(String, Value, &'static str)> {
    let user = json!([{"role": "user", "content": "hi"}]);
    let with = |field: &str, value: Value| {
        let mut body = ask("small");
        body[field] = value;
        body.to_string()
    };
    vec![
        (String::new(), Value::Null, "empty"),
        ("{".to_owned(), Value::Null, "JSON"),
        ("{\"model\": \"small\", \"messages\": [}".to_owned(), Value::Null, "JSON"),
        ("[]".to_owned(), Value::Null, "object"),
        ("null".to_owned(), Value::Null, "object"),
        ("\"hi\"".to_owned(), Value::Null, "object"),
        (json!({"model": "small"}).to_string(), "messages".into(), "messages"),
        (json!({"model": 7, "messages": user}).to_string(), "model".into(), "model"),
        (with("messages", json!([])), "messages".into(), "messages"),
        (with("messages", json!("hi")), "messages".into(), "messages"),
        (with("messages", json!([7])), "messages[0]".into(), "messages"),
        (with("messages", json!([{"content": "hi"}])), "messages[0].role".into(), "role"),
        (with("messages", json!([{"role": "user", "content": 7}])), "messages[0].content".into(), "content"),
        (with("max_tokens", json!("many")), "max_tokens".into(), "max_tokens"),
        (with("max_tokens", json!(0)), "max_tokens".into(), "max_tokens"),
        (with("max_tokens", json!(-5)), "max_tokens".into(), "max_tokens"),
        (with("stream", json!("yes")), "stream".into(), "stream"),
        (with("n", json!(0)), "n".into(), "n"),
    ]
}

fn not_taken(reply: &Reply) -> Value {
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(reply.error()["code"], "unsupported_parameter");
    reply.error()
}

/// Money is held for one model's price: who could answer with another has to be allowed to.
#[tokio::test]
async fn fields_by_which_an_upstream_chooses_reach_only_those_that_may() {
    let stage = Stage::new().await;
    let with = |model: &str, field: &str, value: Value| {
        let mut body = ask(model);
        body[field] = value;
        body
    };
    for (field, value) in
        [("models", json!(["a", "b"])), ("provider", json!({"sort": "price"})), ("route", json!("fallback"))]
    {
        for model in ["auto", "small"] {
            let error = not_taken(&stage.client().chat(&with(model, field, value.clone())).await);
            assert_eq!(error["param"], field, "{error}");
            assert!(
                error["message"].as_str().unwrap_or_default().contains("allow_routing_fields"),
                "{error}"
            );
        }
    }
    assert_eq!(stage.small.counts().asked + stage.large.counts().asked, 0);
    assert_eq!(stage.client().chat(&with("small", "models", Value::Null)).await.status, 200);
    let config = config(&stage.small.base_url(), &stage.large.base_url(), SMALL_PRICE, "");
    let home = Home::new(
        &config.replace("name = \"large-engine\"", "name = \"large-engine\"\nallow_routing_fields = true"),
    );
    home.write("policies/default.toml", POLICY);
    let gateway = home.serve().await;
    let any = gateway.client().with("x-tollgate-tags", "tier=any");
    let reply = any.chat(&with("auto", "models", json!(["a"]))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-tollgate-model"), "large");
    assert_eq!(any.chat(&ask("auto")).await.header("x-tollgate-model"), "small", "which is cheaper");
    not_taken(&any.chat(&with("small", "models", json!(["a"]))).await);
}

#[tokio::test]
async fn wrong_bodies_name_the_field() {
    let stage = Stage::new().await;
    for (body, param, word) in wrong_bodies() {
        let reply = stage.client().post(CHAT, body.clone()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        let error = reply.error();
        assert_eq!(error["type"], "invalid_request_error", "{body}: {error}");
        let named = error["param"].as_str().unwrap_or_default();
        let wanted = param.as_str().unwrap_or_default();
        assert!(
            named == wanted || (!wanted.is_empty() && wanted.starts_with(named) && !named.is_empty()),
            "{body}: {error}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(word), "{body}: {message}");
        assert!(!reply.header("x-tollgate-request-id").is_empty());
    }
    assert_eq!(stage.small.counts().asked + stage.large.counts().asked, 0);
    assert_eq!(stage.client().chat(&ask("small")).await.status, 200, "and the gateway goes on");
}

#[tokio::test]
async fn invalid_utf8_is_told_with_its_place() {
    let stage = Stage::new().await;
    let mut body = ask("small").to_string().into_bytes();
    let place = body.windows(5).position(|window| window == b"Hello").expect("the prompt is in the body");
    body[place] = 0xff;
    let reply = stage.client().post(CHAT, body).await;
    assert_eq!(reply.status, 400);
    let message = reply.error()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("UTF-8") && message.contains(&place.to_string()), "{message}");
}

#[tokio::test]
async fn ten_megabytes_are_too_much_and_the_limit_is_named() {
    let stage = Stage::new().await;
    let mut body = ask("small");
    body["messages"][0]["content"] = "x".repeat(10 * 1024 * 1024).into();
    for client in [Client::http2(stage.gateway.addr()), stage.client()] {
        let reply = client.chat(&body).await;
        assert_eq!(reply.status, 413, "{}", reply.text());
        assert!(
            reply.error()["message"].as_str().is_some_and(|text| text.contains("8388608")),
            "{}",
            reply.text()
        );
    }
    assert_eq!(stage.client().chat(&ask("small")).await.status, 200, "and the gateway goes on");
}

#[tokio::test]
async fn who_is_refused_while_still_writing_reads_why() {
    let stage = Stage::new().await;
    let mut body = ask("small");
    // More than the kernel's buffers take in.
    body["messages"][0]["content"] = "x".repeat(24 * 1024 * 1024).into();
    let stranger = stage.client().key("tg-not-a-key");
    stage.key(&["--name", "ada"]).await;
    refused(&stranger).await;
    for _ in 0..2 {
        assert_eq!(stranger.chat(&body).await.error()["code"], "invalid_api_key");
        assert_eq!(stranger.post("/v1/nothing", body.to_string()).await.status, 401);
    }
}

#[tokio::test]
async fn deep_nesting_is_refused_or_passed_but_never_a_crash() {
    let stage = Stage::new().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let body = format!(
        "{{\"model\":\"small\",\"x\":{deep},\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}"
    );
    let status = stage.client().post(CHAT, body).await.status.as_u16();
    assert!([200, 400].contains(&status), "{status}");
    assert_eq!(stage.client().chat(&ask("small")).await.status, 200, "and the gateway goes on");
}

#[tokio::test]
async fn unknown_models_and_policies_say_what_there_is() {
    let stage = Stage::new().await;
    for (model, hint) in [("smal", "small"), ("gpt-9", "small"), ("auto:nope", "default")] {
        let reply = stage.client().chat(&ask(model)).await;
        assert_eq!(reply.status, 404, "{model}: {}", reply.text());
        let error = reply.error();
        assert_eq!(
            (&error["code"], &error["param"]),
            (&"model_not_found".into(), &"model".into()),
            "{error}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(hint) && message.contains(model.trim_start_matches("auto:")), "{message}");
    }
}

#[tokio::test]
async fn wrong_headers_name_the_header() {
    let stage = Stage::new().await;
    let wrong = [
        ("x-tollgate-deadline-ms", "soon"),
        ("x-tollgate-max-cost-usd", "cheap"),
        ("x-tollgate-max-cost-usd", "-1"),
        ("x-tollgate-quality", "1.5"),
        ("x-tollgate-tags", "team"),
        ("x-tollgate-explain", "maybe"),
        ("x-tollgate-max-cost", "0.01"),
        ("x-tollgate-deadline", "100"),
    ];
    for (name, value) in wrong {
        let reply = stage.client().with(name, value).chat(&ask("small")).await;
        assert_eq!(reply.status, 400, "{name}: {value}: {}", reply.text());
        assert!(reply.text().contains(name), "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn wrong_paths_and_methods() {
    let stage = Stage::new().await;
    let reply = stage.client().get("/v1/nothing").await;
    assert_eq!(reply.status, 404);
    assert!(reply.error()["message"].as_str().is_some_and(|text| text.contains("/v1/nothing")));
    let reply = stage.client().get(CHAT).await;
    assert_eq!(reply.status, 405);
    assert_eq!(reply.header("allow"), "POST");
    for path in ["/chat/completions", "/v1/v1/chat/completions", "/v1/chat/completions/"] {
        let reply = stage.client().post(path, ask("small").to_string()).await;
        assert_eq!(reply.status, 404);
        assert!(reply.text().contains("did you mean /v1/chat/completions?"), "{}", reply.text());
    }
}

#[tokio::test]
async fn messages_speak_of_json_and_not_of_the_gateways_types() {
    let stage = Stage::new().await;
    let with = |messages: Value| {
        let mut body = ask("small");
        body["messages"] = messages;
        body.to_string()
    };
    let cases = [
        (with(json!({"role": "user"})), "expected an array"),
        (with(json!(["hi"])), "expected a message, an object with `role` and `content`"),
        (with(json!([{"role": "user", "content": {}}])), "invalid type: object"),
        (with(json!([{"role": "user", "content": ["hi"]}])), "expected a part, an object with a `type`"),
        (format!("\u{feff}{}", ask("small")), "byte order mark"),
    ];
    for (body, words) in cases {
        let reply = stage.client().post(CHAT, body.clone()).await;
        assert_eq!(reply.status, 400, "{body}");
        let message = reply.error()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(words), "{body}: {message}");
    }
}

#[tokio::test]
async fn small_amounts_may_be_written_as_javascript_does() {
    let stage = Stage::new().await;
    let reply = stage.client().with("x-tollgate-max-cost-usd", "1e-1").chat(&ask("small")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = stage.client().with("x-tollgate-max-cost-usd", "1e-8").chat(&ask("small")).await;
    assert_eq!((reply.status.as_u16(), &reply.error()["code"]), (400, &"max_cost_too_low".into()));
    let message = reply.error()["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.contains("small:") && !message.contains("large:"),
        "only of the model asked for: {message}"
    );
    for wrong in ["1e999", "-1e-3", "inf", "e"] {
        assert_eq!(
            stage.client().with("x-tollgate-max-cost-usd", wrong).chat(&ask("small")).await.status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_met_is_refused_before_any_spend() {
    let stage = Stage::new().await;
    let reply = stage.client().with("x-tollgate-deadline-ms", "1").chat(&ask("auto")).await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    let reply = stage.client().with("x-tollgate-max-cost-usd", "0.00000001").chat(&ask("auto")).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("max-cost"), "{}", reply.text());
    let mut long = ask("auto");
    long["messages"][0]["content"] = "many words ".repeat(40_000).into();
    let reply = stage.client().chat(&long).await;
    assert_eq!((reply.status.as_u16(), &reply.error()["code"]), (400, &"context_length_exceeded".into()));
    assert_eq!(stage.small.counts().asked + stage.large.counts().asked, 0);
}
