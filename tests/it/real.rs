//! The real parts together: the shipped classifier through ONNX Runtime, and two small models in llama.cpp,
//! a dense one and a mixture of experts made from it, each in a worker that may die.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};
use tollgate_tests::gateway::{Gateway, send};
use tollgate_tests::home::Home;
use tollgate_tests::parts::MODELS;
use tollgate_tests::within;

const EASY: [&str; 4] = [
    "Hi there! How are you today?",
    "What is the capital of Japan?",
    "Translate to French: Good morning.",
    "Rewrite this politely: Send me the report now.",
];
const HARD: [&str; 4] = [
    "A tank holds 240 litres. Pipe A fills it in 6 hours and pipe B in 4 hours, while a leak drains 10 litres per hour. \
     Both pipes are opened at 08:00 and pipe B is closed after 90 minutes. At what time is the tank full? Show each step.",
    "Prove that the square root of 3 is irrational, and explain where the argument would fail for the square root of 4.",
    "Write a Python function that returns the k most frequent words of a text in O(n log k) time, without \
     collections.Counter, breaking ties alphabetically, and explain the complexity.",
    "Find all pairs of integers (x, y) with x^2 - 7y^2 = 2 and prove that your list is complete.",
];

pub(crate) fn config() -> String {
    let [dense, moe] = MODELS;
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
[policies]
files = ["policies"]
[[engine]]
name = "moe"
kind = "embedded"
model = "{moe}"
threads = 1
context = 1024
parallel = 2
[[engine]]
name = "dense"
kind = "embedded"
model = "{dense}"
threads = 1
context = 1024
parallel = 2
[[model]]
name = "small"
engine = "moe"
price = {{ input = 0.05, output = 0.10 }}
context = 1024
can = ["json"]
[[model]]
name = "large"
engine = "dense"
price = {{ input = 0.30, output = 0.60 }}
context = 1024
can = ["tools", "json"]
"#
    )
}

fn body(model: &str, max_tokens: u32) -> Value {
    json!({"model": model, "max_tokens": max_tokens, "temperature": 0, "seed": 7,
           "messages": [{"role": "user", "content": "Say something about the sea."}]})
}

pub(crate) async fn ready(gateway: &Gateway) {
    within("both engines", async {
        while gateway.client().get("/readyz").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn score_tells_easy_from_hard() {
    let home = Home::new("");
    let prompts: Vec<String> =
        EASY.iter().chain(&HARD).map(|prompt| json!({"id": prompt, "prompt": prompt}).to_string()).collect();
    let out = home.run_with(&["score"], &prompts.join("\n")).await.success();
    let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("score prints JSON lines"));
    let scores: BTreeMap<String, f64> = lines
        .map(|line| {
            for field in
                ["difficulty", "domain", "p_small", "p_large", "output_tokens", "familiar", "score_us"]
            {
                assert!(!line[field].is_null(), "no {field} in {line}");
            }
            (line["id"].as_str().unwrap_or_default().to_owned(), line["difficulty"].as_f64().unwrap_or(-1.0))
        })
        .collect();
    let highest_easy = EASY.iter().map(|prompt| scores[*prompt]).fold(0.0, f64::max);
    let lowest_hard = HARD.iter().map(|prompt| scores[*prompt]).fold(1.0, f64::min);
    assert!(highest_easy < lowest_hard, "{scores:#?}");
}

#[tokio::test]
async fn score_goes_on_after_a_bad_line() {
    let home = Home::new("");
    let outcome =
        home.run_with(&["score"], "{\"prompt\": \"hi\"}\nnonsense\n{\"prompt\": \"hello\"}\n").await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.said());
    assert_eq!(
        outcome.stdout.lines().filter(|line| line.contains("difficulty")).count(),
        2,
        "{}",
        outcome.stdout
    );
}

#[tokio::test]
async fn the_shipped_policy_sends_easy_prompts_down_and_hard_ones_up() {
    let stage = crate::stage::Stage::with(
        include_str!("../../policies/default.toml"),
        "{ input = 0.05, output = 0.10 }",
        "",
    )
    .await;
    for (prompts, expected) in [(EASY, "small"), (HARD, "large")] {
        for prompt in prompts {
            let body =
                json!({"model": "auto", "max_tokens": 64, "messages": [{"role": "user", "content": prompt}]});
            let reply = stage.client().chat(&body).await;
            assert_eq!(reply.header("x-tollgate-model"), expected, "{prompt}: {:?}", reply.headers);
        }
    }
}

#[tokio::test]
async fn two_local_models_answer_fall_back_and_come_back() {
    let home = Home::new(&config());
    home.write("policies/default.toml", crate::stage::POLICY);
    let gateway = home.serve().await;
    ready(&gateway).await;
    answers_are_real(&gateway).await;
    forms_are_kept(&gateway).await;
    a_dead_worker_is_replaced(&gateway).await;
    assert_eq!(gateway.stop().await.code(), Some(0));
    crate::stage::verified(&home).await;
}

async fn answers_are_real(gateway: &Gateway) {
    for model in ["small", "large"] {
        let reply = gateway.client().chat(&body(model, 12)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!reply.content().trim().is_empty());
        let answer = reply.json();
        let completion = answer["usage"]["completion_tokens"].as_u64().expect("usage is reported");
        assert!((1..=12).contains(&completion), "{answer}");
        assert!(answer["usage"]["prompt_tokens"].as_u64().is_some_and(|n| n >= 8), "{answer}");
        assert_eq!(answer["choices"][0]["finish_reason"], if completion == 12 { "length" } else { "stop" });
        assert!(reply.header("x-tollgate-cost-usd").parse::<f64>().is_ok_and(|cost| cost > 0.0));
        let mut streamed = body(model, 12);
        streamed["stream"] = true.into();
        streamed["stream_options"] = json!({"include_usage": true});
        let transcript = gateway.client().stream(&streamed).await.finish().await;
        assert_eq!(transcript.content(), reply.content(), "greedy text is the same, streamed or not");
        assert_eq!(transcript.usage()["completion_tokens"], completion);
        assert!(transcript.done());
    }
}

/// Forced calls go to the model that can, JSON to any; both keep their form.
async fn forms_are_kept(gateway: &Gateway) {
    let client = gateway.client().with("x-tollgate-tags", "tier=any");
    let schema =
        json!({"type": "object", "properties": {"sea": {"enum": ["calm", "rough"]}}, "required": ["sea"]});
    let mut asked = body("auto", 60);
    asked["tools"] = json!([{"type": "function", "function": {"name": "look", "parameters": schema}}]);
    asked["tool_choice"] = json!("required");
    asked["parallel_tool_calls"] = json!(false);
    let reply = client.chat(&asked).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-tollgate-model"), "large", "the one that can");
    let answer = reply.json();
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls", "{answer}");
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    let kept = |text: &Value| {
        let value: Value = serde_json::from_str(text.as_str().unwrap_or_default()).expect("the form is JSON");
        ["calm", "rough"].contains(&value["sea"].as_str().unwrap_or_default())
    };
    assert!(call["name"] == "look" && kept(&call["arguments"]), "{answer}");
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "sea", "strict": true, "schema": schema}});
    for model in ["small", "large"] {
        let mut asked = body(model, 60);
        asked["response_format"] = format.clone();
        let answer = client.chat(&asked).await.json();
        assert!(kept(&answer["choices"][0]["message"]["content"]), "{answer}");
    }
    let mut asked = body("large", 60);
    asked["response_format"] =
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "sea"}}});
    let refused = client.chat(&asked).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.json()["error"]["param"], "response_format.json_schema");
}

/// Kills the mixture's worker; the dense model answers meanwhile and the answer says so.
async fn a_dead_worker_is_replaced(gateway: &Gateway) {
    let worker = worker_of(gateway, MODELS[1]);
    send(worker, Signal::KILL);
    let client = gateway.client().with("x-tollgate-tags", "tier=any");
    let reply = within("a fallback", async {
        loop {
            let reply = client.chat(&body("auto", 4)).await;
            assert_eq!(reply.status, 200, "a dead worker must not fail requests: {}", reply.text());
            if reply.header("x-tollgate-model") == "large" {
                return reply;
            }
        }
    })
    .await;
    let reason = reply.header("x-tollgate-reason");
    assert!(reason.contains("small") || reason.contains("down") || reason.contains("fall"), "{reason}");
    within("the small model to come back", async {
        while client.chat(&body("auto", 4)).await.header("x-tollgate-model") != "small" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_ne!(worker_of(gateway, MODELS[1]), worker);
    let metrics = gateway.metrics().await;
    assert!((metrics.sum("tollgate_engine_restarts_total", &[("engine", "moe")]) - 1.0).abs() < 1e-12);
    assert!((metrics.sum("tollgate_engine_up", &[("engine", "moe")]) - 1.0).abs() < 1e-12);
}

/// The child of the gateway whose command line names this model.
pub(crate) fn worker_of(gateway: &Gateway, model: &str) -> u32 {
    let children = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("the gateway runs");
    let tasks = children.filter_map(Result::ok).map(|task| task.path().join("children"));
    let pids: Vec<u32> = tasks
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    let named = |pid: &&u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        // The dense model's name is a part of the mixture's.
        line.contains(model) && (model.ends_with("-moe") || !line.contains("-moe"))
    };
    let found = pids.iter().find(named).copied();
    found.unwrap_or_else(|| panic!("no worker of {model} among {pids:?}"))
}
