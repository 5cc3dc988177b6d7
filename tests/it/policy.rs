//! Policy files: changed while the gateway runs, and a bad one never replaces a good one.

use rustix::process::Signal;
use serde_json::{Value, json};
use tollgate_tests::within;

use crate::stage::{POLICY, Stage, ask};

const THREE_MISTAKES: &str = r#"
[policy]
name = "default"
baseline = "larg"
[objective]
qualitty = 0.95
[[rule]]
name = "broken"
when = 'difficlty > 0.5'
use = ["small"]
"#;

async fn route(stage: &Stage) -> String {
    let reply = stage.client().with("x-tollgate-tags", "tier=small").chat(&ask("auto")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-tollgate-route").to_owned()
}

async fn until_route(stage: &Stage, wanted: &str) {
    within("the new policy to act", async {
        while route(stage).await != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn saved_changes_act_without_a_restart() {
    let stage = Stage::new().await;
    assert_eq!(route(&stage).await, "small only");
    stage.home.write("policies/default.toml", &POLICY.replace("small only", "small, renamed"));
    until_route(&stage, "small, renamed").await;
    stage.home.write("policies/default.toml", &POLICY.replace("small only", "small again"));
    stage.gateway.signal(Signal::HUP);
    until_route(&stage, "small again").await;
    let metrics = stage.gateway.metrics().await;
    assert!(
        (metrics.sum("tollgate_policy_info", &[("name", "default")]) - 1.0).abs() < 1e-12,
        "one policy of a name is in force"
    );
}

#[tokio::test]
async fn a_bad_policy_never_replaces_a_good_one() {
    let stage = Stage::new().await;
    stage.home.write("policies/default.toml", THREE_MISTAKES);
    stage.gateway.signal(Signal::HUP);
    stage
        .gateway
        .metrics_reach("the refusal", |metrics| {
            metrics.sum("tollgate_policy_reload_failures_total", &[]) >= 1.0
        })
        .await;
    stage
        .gateway
        .logged("all three problems", |log| {
            ["larg", "qualitty", "difficlty"].iter().all(|word| log.contains(word))
        })
        .await;
    assert_eq!(route(&stage).await, "small only");
    stage.home.write("policies/default.toml", &POLICY.replace("small only", "mended"));
    until_route(&stage, "mended").await;
}

#[tokio::test]
async fn three_mistakes_are_three_problems_at_once() {
    let stage = Stage::new().await;
    stage.home.write("bad.toml", THREE_MISTAKES);
    let checked = stage.home.run(&["policy", "check", "bad.toml", "--config", "tollgate.toml"]).await;
    assert_eq!(checked.code, Some(1));
    let said = checked.said();
    for place in ["bad.toml:4:", "bad.toml:6:", "bad.toml:9:"] {
        assert!(said.contains(place), "no {place} in {said}");
    }
    for meant in ["large", "quality", "difficulty"] {
        assert!(said.contains(meant), "no suggestion {meant} in {said}");
    }
    assert_eq!(said.matches("error:").count(), 3, "{said}");
}

#[tokio::test]
async fn the_shipped_policies_are_good() {
    let stage = Stage::new().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let shipped = std::fs::read_dir(folder).expect("the policies folder is there");
    let files: Vec<String> = shipped
        .map(|entry| entry.expect("it can be listed").path().display().to_string())
        .filter(|path| path.ends_with(".toml") && !path.ends_with("Cargo.toml"))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    let args: Vec<&str> = ["policy", "check"].into_iter().chain(files.iter().map(String::as_str)).collect();
    stage.home.run(&args).await.success();
}

#[tokio::test]
async fn route_decides_as_the_gateway_does() {
    let stage = Stage::new().await;
    let tool = json!({"type": "function", "function": {"name": "f", "description": "x".repeat(3000)}});
    let body =
        json!({"model": "auto", "messages": [{"role": "user", "content": "Hello there"}], "tools": [tool]});
    stage.home.write("request.json", &body.to_string());
    let told = stage.client().post("/v1/decision", body.to_string()).await.json();
    let place = ["--config", "tollgate.toml", "--json"];
    let routed = stage.home.run(&[&["route", "--file", "request.json"], &place[..]].concat()).await.success();
    let routed: Value = serde_json::from_str(&routed).expect("route prints JSON");
    for model in 0..2 {
        let (here, there) = (&routed["decision"]["verdicts"][model], &told["candidates"][model]);
        assert_eq!(here["cost"], there["cost"], "the tools are prompt, too: {here} {there}");
        assert_eq!(here["worst_cost"], there["worst_cost"]);
    }
    let images = json!({"model": "auto", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]});
    stage.home.write("request.json", &images.to_string());
    let refused = stage.home.run(&["route", "--file", "request.json", "--config", "tollgate.toml"]).await;
    assert_eq!(refused.code, Some(1));
    for model in ["small", "large"] {
        assert!(refused.stdout.contains(model), "each model with its reason: {}", refused.stdout);
    }
    let unknown = json!({"model": "lrage", "messages": [{"role": "user", "content": "Hello"}]});
    stage.home.write("request.json", &unknown.to_string());
    let refused = stage.home.run(&["route", "--file", "request.json", "--config", "tollgate.toml"]).await;
    assert!(refused.stderr.contains("there is no model \"lrage\""), "{}", refused.stderr);
}
