//! Vectors through the gateway: held, passed on, priced by what was read, and put on record, as chats are.

use serde_json::{Value, json};
use tollgate_tests::client::{Client, Reply};
use tollgate_tests::gateway::Gateway;
use tollgate_tests::home::Home;
use tollgate_tests::upstream::{Chat, Script, Upstream};

use crate::stage::{POLICY, SMALL_PRICE, ask, budget, config, receipts, verified};

#[path = "../../engine/tests/tiny/bert.rs"]
mod bert;

/// An engine and a model that embeds; all but `other` are the same model.
fn embeds(name: &str, url: &str) -> String {
    let upstream = if name == "other" { "vendor/other" } else { "vendor/embed" };
    format!(
        r#"
[[engine]]
name = "{name}-engine"
kind = "openai"
base_url = "{url}"
[[model]]
name = "{name}"
engine = "{name}-engine"
upstream_model = "{upstream}"
price = {{ input = 0.02, output = 0 }}
context = 512
can = ["embeddings"]
"#
    )
}

/// What an upstream answers, with this usage.
fn vectors(usage: &Value) -> Script {
    let data = json!([{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}]);
    let body = json!({"object": "list", "data": data, "model": "vendor/embed", "usage": usage, "extra": 1});
    Script::Raw { content_type: "application/json", body: body.to_string() }
}

/// Three scripted servers that embed, one of which also stands for the chat models.
struct Vectors {
    embed: Upstream,
    twin: Upstream,
    other: Upstream,
    home: Home,
    gateway: Gateway,
}

impl Vectors {
    async fn start(budgets: &str) -> Self {
        let usage = json!({"prompt_tokens": 7, "total_tokens": 7});
        let embed = Upstream::start(vectors(&usage)).await;
        let (twin, other) = (Upstream::start(vectors(&usage)).await, Upstream::start(vectors(&usage)).await);
        let chat = config(&other.base_url(), &other.base_url(), SMALL_PRICE, "");
        let models = [("embed", &embed), ("twin", &twin), ("other", &other)];
        let models = models.map(|(name, upstream)| embeds(name, &upstream.base_url())).concat();
        let home = Home::new(&(chat + &models));
        home.write("policies/default.toml", &(POLICY.to_owned() + budgets));
        let gateway = home.serve().await;
        Self { embed, twin, other, home, gateway }
    }

    async fn ask(&self, body: &Value) -> Reply {
        embed(&self.gateway.client(), body).await
    }
}

async fn embed(client: &Client, body: &Value) -> Reply {
    client.post("/v1/embeddings", body.to_string()).await
}

#[tokio::test]
async fn a_request_is_passed_on_and_costs_what_was_read() {
    let stage = Vectors::start("").await;
    let client =
        stage.gateway.client().with("x-tollgate-tags", "team=search").with("x-tollgate-run", "run-7");
    let body = json!({"model": "embed", "input": ["the sea", "and the land"], "encoding_format": "float",
                      "dimensions": 2, "user": "u", "unknown": {"a": 1}});
    let reply = embed(&client, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!((&answer["model"], &answer["extra"]), (&json!("embed"), &json!(1)));
    assert_eq!(answer["data"][0]["embedding"], json!([0.6, 0.8]));
    let seen = stage.embed.last();
    assert_eq!(seen.path, "/v1/embeddings");
    let mut expected = body.clone();
    expected["model"] = "vendor/embed".into();
    assert_eq!(seen.json(), expected, "nothing but the model's name is another");
    // 7 × 0.02 = 0.14 µUSD
    assert_eq!(reply.header("x-tollgate-cost-usd"), "0.00000014");
    assert_eq!((reply.header("x-tollgate-model"), reply.header("x-tollgate-route")), ("embed", "pinned"));
    assert!(!reply.headers.contains_key("x-tollgate-difficulty"), "there was nothing to weigh");
    let receipt = receipts(&stage.home).await.pop().expect("one receipt");
    assert_eq!(receipt["request_id"], reply.header("x-tollgate-request-id"));
    assert_eq!((&receipt["cost"], &receipt["usage_estimated"]), (&json!("0.00000014"), &json!(false)));
    assert_eq!(
        (&receipt["usage"]["prompt_tokens"], &receipt["usage"]["completion_tokens"]),
        (&json!(7), &json!(0))
    );
    assert_eq!((&receipt["run"], &receipt["tags"]["team"]), (&json!("run-7"), &json!("search")));
    assert_eq!((&receipt["saved"], &receipt["difficulty"]), (&json!("0.000000"), &Value::Null), "{receipt}");
    verified(&stage.home).await;
    let metrics = stage.gateway.metrics().await;
    let operation = [("gen_ai_operation_name", "embeddings"), ("gen_ai_response_model", "embed")];
    let counted = metrics.sum("gen_ai_client_operation_duration_seconds_count", &operation);
    assert!((counted - 1.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_usage_that_did_not_come_is_counted_here() {
    let stage = Vectors::start("").await;
    stage.embed.answer(vectors(&Value::Null));
    // Tokens by number count as they are, and two stand around each input: 3 + 2 + 1 + 2.
    let reply = stage.ask(&json!({"model": "embed", "input": [[5, 6, 7], [8]]})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-tollgate-cost-usd"), "0.00000016");
    let receipt = receipts(&stage.home).await.pop().expect("one receipt");
    assert_eq!((&receipt["usage"]["prompt_tokens"], &receipt["usage_estimated"]), (&json!(8), &json!(true)));
}

#[tokio::test]
async fn a_budget_refuses_before_anything_is_sent() {
    // 100 letters are 102 tokens at most, 2.04 µUSD.
    let stage = Vectors::start(&budget("purse", "\"global\"", "0.000002", "reject")).await;
    let refused = stage.ask(&json!({"model": "embed", "input": "x".repeat(100)})).await;
    assert_eq!((refused.status.as_u16(), &refused.error()["code"]), (429, &json!("insufficient_quota")));
    assert_eq!(stage.embed.counts().asked, 0);
    let paid = stage.ask(&json!({"model": "embed", "input": "x".repeat(90)})).await;
    assert_eq!(paid.status, 200, "{}", paid.text());
    let client = stage.gateway.client().with("x-tollgate-max-cost-usd", "0.0000001");
    let refused = embed(&client, &json!({"model": "embed", "input": "x".repeat(50)})).await;
    assert_eq!((refused.status.as_u16(), &refused.error()["code"]), (400, &json!("max_cost_too_low")));
}

#[tokio::test]
async fn only_the_same_model_stands_in() {
    let stage = Vectors::start("").await;
    let body = json!({"model": "embed", "input": "the sea"});
    stage.embed.answer(Script::status(503));
    let reply = stage.ask(&body).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "twin"), "{}", reply.text());
    assert_eq!(reply.json()["model"], "twin");
    let receipt = receipts(&stage.home).await.pop().expect("one receipt");
    assert_eq!((&receipt["status"], &receipt["selected"]), (&json!("fallback"), &json!("embed")));
    stage.twin.answer(Script::status(503));
    assert!(stage.ask(&body).await.status.is_server_error());
    // An answer that holds no vectors is none.
    stage.twin.answer(Chat::new("words", 7, 1));
    let reply = stage.ask(&json!({"model": "twin", "input": "the sea"})).await;
    assert!(reply.status.is_server_error(), "{}", reply.text());
    assert_eq!(stage.other.counts().asked, 0, "vectors of another model are of no use");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name() {
    let stage = Vectors::start("").await;
    for (body, status, param, code) in [
        (json!({"model": "small", "input": "a"}), 400, Value::Null, "unsupported_capability"),
        (json!({"model": "auto", "input": "a"}), 400, json!("model"), "invalid_value"),
        (json!({"model": "gone", "input": "a"}), 404, json!("model"), "model_not_found"),
        (json!({"input": "a"}), 400, json!("model"), "missing_required_parameter"),
        (json!({"model": "embed"}), 400, json!("input"), "missing_required_parameter"),
        (json!({"model": "embed", "input": ["a", 5]}), 400, json!("input[1]"), "invalid_type"),
    ] {
        let reply = stage.ask(&body).await;
        let error = reply.error();
        assert_eq!((reply.status.as_u16(), &error["code"]), (status, &json!(code)), "{body}: {error}");
        assert!(param.is_null() || error["param"] == param, "{body}: {error}");
    }
    let chat = stage.gateway.client().chat(&ask("embed")).await;
    assert_eq!((chat.status.as_u16(), &chat.error()["code"]), (400, &json!("unsupported_capability")));
    assert!(chat.text().contains("/v1/embeddings"), "{}", chat.text());
    assert_eq!(stage.gateway.client().get("/v1/embeddings").await.status, 405);
    assert_eq!(stage.embed.counts().asked, 0);
}

#[tokio::test]
async fn a_local_engine_embeds_what_it_is_paid_for() {
    let file = tempfile::Builder::new().suffix(".gguf").tempfile().expect("a temporary file");
    bert::write(file.path());
    let chat = Upstream::start(Chat::new("chat", 1, 1)).await;
    let config = config(&chat.base_url(), &chat.base_url(), SMALL_PRICE, "")
        + &format!(
            r#"
[[engine]]
name = "bert-engine"
kind = "embedded"
model = "{}"
threads = 1
[[model]]
name = "bert"
engine = "bert-engine"
price = {{ input = 0.02, output = 0 }}
can = ["embeddings"]
"#,
            file.path().display()
        );
    let home = Home::new(&config);
    home.write("policies/default.toml", POLICY);
    let gateway = home.serve().await;
    crate::real::ready(&gateway).await;
    let client = gateway.client();
    tollgate_tests::within("the engine", async {
        while client.get("/readyz").await.json()["engines"]["bert-engine"] != "up" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let reply = embed(&client, &json!({"model": "bert", "input": ["the sea", "ab"]})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let vector: Vec<f64> =
        serde_json::from_value(reply.json()["data"][1]["embedding"].clone()).expect("numbers");
    assert_eq!(vector.len() as u64, bert::WIDTH);
    assert!((vector.iter().map(|part| part * part).sum::<f64>() - 1.0).abs() < 1e-5);
    // Six letters and two, and a token on either side of both: 12 × 0.02 = 0.24 µUSD.
    assert_eq!(reply.json()["usage"]["prompt_tokens"], 12);
    assert_eq!(reply.header("x-tollgate-cost-usd"), "0.00000024");
    let long = "b".repeat(usize::try_from(bert::CONTEXT).expect("a small number"));
    let refused = embed(&client, &json!({"model": "bert", "input": ["a", long]})).await;
    assert_eq!((refused.status.as_u16(), &refused.error()["param"]), (400, &json!("input[1]")));
    let receipts = receipts(&home).await;
    let charged: Vec<&Value> = receipts.iter().map(|receipt| &receipt["cost"]).collect();
    assert_eq!(charged, [&json!("0.00000024"), &json!("0.000000")], "{receipts:?}");
}
