//! Metrics: every series of the contract is there after traffic, with bounded labels.

use tollgate_tests::upstream::{Chat, Gate, Script};

use crate::stage::{Stage, ask, ask_stream};

const SERIES: [&str; 26] = [
    "gen_ai_client_token_usage_bucket",
    "gen_ai_client_operation_duration_seconds_bucket",
    "gen_ai_server_time_to_first_token_seconds_bucket",
    "gen_ai_server_time_per_output_token_seconds_bucket",
    "tollgate_requests_total",
    "tollgate_fail_open_total",
    "tollgate_cost_usd_total",
    "tollgate_saved_usd_total",
    "tollgate_budget_limit_usd",
    "tollgate_budget_settled_usd",
    "tollgate_budget_held_usd",
    "tollgate_budget_price_of_money",
    "tollgate_difficulty_bucket",
    "tollgate_overhead_seconds_bucket",
    "tollgate_score_seconds_bucket",
    "tollgate_escalations_total",
    "tollgate_fallbacks_total",
    "tollgate_engine_up",
    "tollgate_engine_queue_depth",
    "tollgate_engine_tokens_per_second",
    "tollgate_engine_kv_used_ratio",
    "tollgate_engine_restarts_total",
    "tollgate_ledger_rows_total",
    "tollgate_policy_info",
    "tollgate_overhead_seconds_count",
    "tollgate_score_seconds_sum",
];

/// Traffic of every kind: plain, streamed, fallen back, refused.
async fn traffic(stage: &Stage) {
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    client.chat(&ask("auto")).await;
    client.stream(&ask_stream("auto")).await.finish().await;
    stage.small.push(Script::status(503));
    client.chat(&ask("auto")).await;
    client.chat(&ask("nonsense-model")).await;
}

#[tokio::test]
async fn every_series_of_the_contract_is_exported() {
    let stage = Stage::budget("1.00", "reject").await;
    traffic(&stage).await;
    let reply = stage.client().get("/metrics").await;
    assert!(reply.header("content-type").starts_with("text/plain"));
    let metrics = stage.gateway.metrics().await;
    for name in SERIES {
        assert!(metrics.has(name, &[]), "no {name} in\n{}", reply.text());
    }
    assert!(
        metrics.has("tollgate_requests_total", &[("selected", "small"), ("model", "large")]),
        "{}",
        reply.text()
    );
    assert!((metrics.sum("tollgate_ledger_rows_total", &[]) - 3.0).abs() < 1e-12);
    assert!((metrics.sum("tollgate_fallbacks_total", &[]) - 1.0).abs() < 1e-12);
    assert!((metrics.sum("tollgate_engine_up", &[("engine", "large-engine")]) - 1.0).abs() < 1e-12);
    // 2 × 12.5 + 125 µUSD
    assert!((metrics.sum("tollgate_cost_usd_total", &[]) - 0.00015).abs() < 1e-12);
    assert!((metrics.sum("tollgate_saved_usd_total", &[]) - 0.000225).abs() < 1e-12);
    assert!(metrics.sum("tollgate_difficulty_count", &[]) >= 3.0);
}

#[tokio::test]
async fn labels_are_bounded() {
    let stage = Stage::new().await;
    for index in 0..30 {
        let tags = format!("team=made-up-{index},tier=t{index}");
        stage.client().with("x-tollgate-tags", &tags).chat(&ask(&format!("made-up-{index}"))).await;
    }
    let metrics = stage.gateway.metrics().await;
    let made_up =
        metrics.samples.iter().filter(|s| s.labels.values().any(|value| value.starts_with("made-up")));
    assert_eq!(made_up.count(), 0, "names that callers make up must not become series");
}

#[tokio::test]
async fn reports_add_up() {
    let stage = Stage::new().await;
    traffic(&stage).await;
    let by = async |dimensions: &str| -> serde_json::Value {
        let place = ["--config", "tollgate.toml", "--data-dir", "data"];
        let args = [&["ledger", "report", "--json", "--by", dimensions][..], &place].concat();
        let report = stage.home.run(&args).await.success();
        serde_json::from_str(&report).expect("report --json prints JSON")
    };
    let report = by("model").await;
    assert_eq!(report["total"]["cost_usd"], "0.000150", "{report}");
    assert_eq!(report["total"]["requests"], 3, "{report}");
    assert_eq!(report["lines"].as_array().map(Vec::len), Some(2), "{report}");
    let report = by("model,hour").await;
    assert_eq!(report["total"]["requests"], 3, "{report}");
    let hour = report["lines"][0]["group"][1].as_str().unwrap_or_default();
    assert!(hour.len() == 16 && hour.ends_with(":00"), "{report}");
}

/// How many requests are counted in all, and under these labels.
async fn counted(stage: &Stage, labels: &[(&str, &str)]) -> (f64, f64) {
    let metrics = stage.gateway.metrics().await;
    (metrics.sum("tollgate_requests_total", &[]), metrics.sum("tollgate_requests_total", labels))
}

#[tokio::test]
async fn a_missed_deadline_is_one_request_under_its_own_name() {
    let stage = Stage::new().await;
    stage.small.answer(Script::Hang);
    let reply = stage.client().with("x-tollgate-deadline-ms", "2500").chat(&ask("small")).await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert_eq!(reply.header("x-should-retry"), "false", "a late answer is not worth a second price");
    let labels =
        [("selected", "small"), ("model", "small"), ("route", "pinned"), ("status", "deadline_exceeded")];
    assert_eq!(counted(&stage, &labels).await, (1.0, 1.0));
    let receipt = stage.receipt_of(reply.header("x-tollgate-request-id")).await;
    assert_eq!((&receipt["status"], &receipt["http_status"]), (&"error".into(), &504.into()), "{receipt}");
    let metrics = stage.gateway.metrics().await;
    let overhead = metrics.sum("tollgate_overhead_seconds_sum", &[]);
    assert!(overhead < 1.0, "{overhead} s of waiting for the engine were put down to the gateway");
}

#[tokio::test]
async fn a_request_that_no_engine_answers_keeps_its_route() {
    let stage = Stage::new().await;
    stage.small.answer(Script::status(500));
    let reply = stage.client().chat(&ask("small")).await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    let labels =
        [("selected", "small"), ("model", "none"), ("route", "pinned"), ("status", "upstream_error")];
    assert_eq!(counted(&stage, &labels).await, (1.0, 1.0));
}

#[tokio::test]
async fn the_time_of_a_stream_is_the_engines() {
    let stage = Stage::new().await;
    let gate = Gate::closed();
    stage.small.push(Chat::new("one two three", 11, 3).gated(1, &gate));
    let mut stream = stage.client().stream(&ask_stream("small")).await;
    stream.next().await;
    // The engine takes its time; that this passes is what is measured.
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    gate.open();
    stream.finish().await;
    let metrics = stage
        .gateway
        .metrics_reach("the stream to be counted", |m| {
            m.sum("tollgate_requests_total", &[("status", "ok")]) > 0.5
        })
        .await;
    let total = metrics.sum("gen_ai_client_operation_duration_seconds_sum", &[]);
    let overhead = metrics.sum("tollgate_overhead_seconds_sum", &[]);
    assert!(total >= 0.7 && overhead < total - 0.6, "overhead {overhead} s of {total} s");
}

#[tokio::test]
async fn only_what_is_paid_for_is_counted() {
    let stage = Stage::new().await;
    stage.client().get("/favicon.ico").await;
    stage.client().get("/v1/nothing").await;
    stage.client().post("/v1/decision", ask("nonsense-model").to_string()).await;
    assert_eq!(counted(&stage, &[]).await, (0.0, 0.0));
    stage.client().post("/v1/nothing", "{}").await;
    assert_eq!(counted(&stage, &[("status", "not_found")]).await, (1.0, 1.0));
}

#[tokio::test]
async fn a_teams_sums_are_there_before_it_spends() {
    let stage = Stage::new().await;
    stage.key(&["--name", "k", "--team", "search"]).await;
    let zero = [("team", "search"), ("model", "small")];
    let metrics = stage.gateway.metrics_reach("the team", |m| m.has("tollgate_cost_usd_total", &zero)).await;
    assert!(metrics.sum("tollgate_cost_usd_total", &[]).abs() < 1e-12);
    for name in ["tollgate_saved_usd_total", "tollgate_extra_usd_total"] {
        assert!(metrics.has(name, &zero) && metrics.has(name, &[("team", "none"), ("model", "large")]));
    }
}
