//! `tollgate calibrate`, and its file in `score`, in a gateway, and when it changes under a running one.

use std::fmt::Write as _;

use rustix::process::Signal;
use serde_json::{Value, json};
use tollgate_tests::home::{Home, Outcome};

use crate::stage::{POLICY, SMALL_PRICE, Stage, config};

/// Requests about gardens, which the small model is good at, and about ships, which it is not: the graph thinks the opposite.
pub(crate) fn labels(count: usize) -> String {
    let mut lines = String::new();
    for nth in 0..count {
        let (topic, good) = if nth % 2 == 0 { ("harbour ships", 0) } else { ("garden roses", 9) };
        let prompt = format!("Tell me number {nth} about {topic}, please, and why it matters.");
        let label = json!({
            "prompt": prompt,
            "small_ok": u8::from(nth / 2 % 10 < good),
            "large_ok": u8::from(nth % 11 != 0),
        });
        writeln!(lines, "{label}").expect("a string takes any text");
    }
    lines
}

pub(crate) async fn calibrate(home: &Home) -> Outcome {
    home.run(&["calibrate", "--labels", "labels.jsonl", "--out", "router.json", "--json"]).await
}

async fn difficulty(home: &Home, prompt: &str, args: &[&str]) -> f64 {
    let line = json!({ "prompt": prompt }).to_string();
    let out = home.run_with(&[&["score"], args].concat(), &line).await.success();
    let score: Value = serde_json::from_str(&out).expect("score prints JSON");
    score["difficulty"].as_f64().expect("a score has a difficulty")
}

const ROSES: &str = "Tell me number 777 about garden roses, please, and why it matters.";
const SHIPS: &str = "Tell me number 777 about harbour ships, please, and why it matters.";
const FITTED: [&str; 2] = ["--calibration", "router.json"];

#[tokio::test]
async fn labels_move_the_scores_of_command_and_gateway_alike() {
    let home = Home::new("");
    home.write("labels.jsonl", &labels(240));
    let report: Value = serde_json::from_str(&calibrate(&home).await.success()).expect("it prints JSON");
    let apgr = |when: &str| report[when]["apgr"]["value"].as_f64().expect("the report has figures");
    assert!(apgr("after") > apgr("before") + 0.05, "{report:#}");
    assert!(difficulty(&home, SHIPS, &FITTED).await > difficulty(&home, ROSES, &FITTED).await);

    let stage = Stage::with(POLICY, SMALL_PRICE, "").await;
    let fitted = std::fs::read_to_string(home.path().join("router.json")).expect("it was written");
    let (small, large) = (stage.small.base_url(), stage.large.base_url());
    let calibrated =
        Home::new(&config(&small, &large, SMALL_PRICE, "[router]\ncalibration = \"router.json\""));
    calibrated.write("policies/default.toml", POLICY);
    calibrated.write("router.json", &fitted);
    let gateway = calibrated.serve().await;
    let body = json!({ "model": "auto", "messages": [{ "role": "user", "content": SHIPS }] });
    let decision = gateway.client().post("/v1/decision", body.to_string()).await.json();
    let said = decision["score"]["difficulty"].as_f64().expect("a decision has its score");
    assert!((said - difficulty(&home, SHIPS, &FITTED).await).abs() < 1e-6, "{decision:#}");
    let routed = calibrated.run(&["route", SHIPS, "--json", "--config", "tollgate.toml"]).await.success();
    let routed: Value = serde_json::from_str(&routed).expect("route prints JSON");
    assert!((routed["score"]["difficulty"].as_f64().expect("a score") - said).abs() < 1e-6);
}

#[tokio::test]
async fn wrong_labels_are_told_with_their_lines() {
    let home = Home::new("");
    let mut lines = labels(60);
    lines.push_str("{\"prompt\": \"hi\", \"small_ok\": 2, \"large_ok\": 1}\n");
    lines.push_str("{\"prompt\": \"hi\", \"small_ok\": 1}\n\nnonsense\n");
    lines.push_str("{\"prompt\": \"hi\", \"small_okay\": 1, \"large_ok\": 1}\n");
    home.write("labels.jsonl", &lines);
    let outcome = calibrate(&home).await;
    assert_eq!(outcome.code, Some(1));
    for told in [
        "labels.jsonl:61: small_ok and large_ok are 0 or 1",
        ":62: missing field `large_ok`",
        ":64: ",
        ":65: unknown field",
    ] {
        assert!(outcome.stderr.contains(told), "{told}: {}", outcome.stderr);
    }
    assert!(!home.path().join("router.json").exists(), "nothing is fitted to half a file");

    home.write("labels.jsonl", &labels(49));
    let said = calibrate(&home).await.stderr;
    assert!(said.contains("49 labels are too few") && said.contains("50"), "{said}");
    home.write("labels.jsonl", &labels(80).replace("\"small_ok\":0", "\"small_ok\":1"));
    let said = calibrate(&home).await.stderr;
    assert!(said.contains("small_ok is 1 in all but 0 of the 80 labels"), "{said}");
    let said = home.run(&["calibrate", "--labels", "none.jsonl", "--out", "router.json"]).await;
    assert!(said.code == Some(1) && said.stderr.contains("none.jsonl cannot be read"), "{}", said.stderr);
}

/// A home whose gateway uses `router.json`, fitted to its own labels.
async fn fitted(policy: &str) -> Home {
    let url = "http://127.0.0.1:9/v1";
    let home = Home::new(&config(url, url, SMALL_PRICE, "[router]\ncalibration = \"router.json\""));
    home.write("policies/default.toml", policy);
    home.write("labels.jsonl", &labels(240));
    calibrate(&home).await.success();
    home
}

fn of_another_graph(home: &Home) -> String {
    let text = std::fs::read_to_string(home.path().join("router.json")).expect("it was written");
    let mut calibration: Value = serde_json::from_str(&text).expect("a calibration is JSON");
    calibration["graph"] = json!("0123456789abcdef");
    calibration.to_string()
}

#[tokio::test]
async fn a_file_that_does_not_fit_stops_a_start_and_changes_nothing_later() {
    let home = fitted(POLICY).await;
    let gateway = home.serve().await;
    let score = async || {
        let body = json!({ "model": "auto", "messages": [{ "role": "user", "content": SHIPS }] }).to_string();
        gateway.client().post("/v1/decision", body).await.json()["score"]["difficulty"].clone()
    };
    let before = score().await;
    let other = of_another_graph(&home);
    home.write("router.json", &other);
    gateway.signal(Signal::HUP);
    gateway.logged("the refusal", |log| log.contains("another router graph")).await;
    assert_eq!(score().await, before, "the calibration in force stays");
    gateway.stop().await;

    let serve = ["serve", "--config", "tollgate.toml", "--data-dir", "data"];
    for (text, told) in [
        (other.as_str(), "another router graph"),
        ("{", "not a calibration"),
        ("{\"tollgate_calibration\": 99}", "format 99"),
    ] {
        home.write("router.json", text);
        for args in [&serve[..], &["score", "--calibration", "router.json"]] {
            let outcome = home.run(args).await;
            assert!(outcome.code == Some(1) && outcome.stderr.contains(told), "{told}: {}", outcome.stderr);
            assert!(outcome.stderr.contains("router.json") && outcome.stderr.contains("tollgate calibrate"));
        }
    }
}

#[tokio::test]
async fn an_ability_beside_a_calibration_is_told() {
    let home = fitted(POLICY).await;
    let url = "http://127.0.0.1:9/v1";
    let stated = config(url, url, SMALL_PRICE, "[router]\ncalibration = \"router.json\"");
    home.write("tollgate.toml", &stated.replace("name = \"small\"\n", "name = \"small\"\nability = -0.5\n"));
    home.serve().await.logged("the doubt", |log| log.contains("`ability` beside a calibration")).await;
}

#[tokio::test]
async fn a_bound_on_losses_needs_labels_that_show_it() {
    let bounded =
        |most: &str| POLICY.replace("quality = 0.95", &format!("quality = 0.95\nmax_loss = {most}"));
    let home = fitted(&bounded("0.3")).await;
    let gateway = home.serve().await;
    assert_eq!(gateway.client().get("/healthz").await.status, 200);
    gateway.stop().await;
    home.write("policies/default.toml", &bounded("0.001"));
    let serve = ["serve", "--config", "tollgate.toml", "--data-dir", "data"];
    let said = home.run(&serve).await.said();
    assert!(
        said.contains("max_loss = 0.001 cannot be kept") && said.contains("label more prompts"),
        "{said}"
    );
    home.write("tollgate.toml", &config("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1", SMALL_PRICE, ""));
    let said = home.run(&serve).await.said();
    assert!(said.contains("only a calibration bounds losses"), "{said}");
}
