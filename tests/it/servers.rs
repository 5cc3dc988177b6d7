//! Servers that run already: whether they answer is found out before a request does, and their load is read and weighed.

use serde_json::json;
use tollgate_tests::gateway::Gateway;
use tollgate_tests::home::Home;
use tollgate_tests::metrics::Exposition;
use tollgate_tests::upstream::{Chat, Upstream};

use crate::stage::{POLICY, SMALL_PRICE, ask, config};

const SMALL: [(&str, &str); 1] = [("engine", "small-engine")];

/// A small server with this page, which is looked at every second, and a large one that is not.
async fn serve(path: &str, status: u16, body: &str) -> (Upstream, Upstream, Home, Gateway) {
    let small = Upstream::start(Chat::new("the small answer", 11, 7)).await;
    small.page(path, status, body);
    let large = Upstream::start(Chat::new("the large answer", 11, 7)).await;
    let text = config(&small.base_url(), &large.base_url(), SMALL_PRICE, "");
    let probed = |url: &str, seconds: u32| format!("base_url = {url:?}\nprobe_s = {seconds}");
    let plain = |url: &str| format!("base_url = {url:?}");
    let text = text.replace(&plain(&small.base_url()), &probed(&small.base_url(), 1));
    let text = text.replace(&plain(&large.base_url()), &probed(&large.base_url(), 0));
    let home = Home::new(&text);
    home.write("policies/default.toml", POLICY);
    let gateway = home.serve().await;
    (small, large, home, gateway)
}

fn is(metrics: &Exposition, name: &str, value: f64) -> bool {
    (metrics.sum(name, &SMALL) - value).abs() < 1e-9
}

#[tokio::test]
async fn a_server_that_is_down_is_found_out_before_a_request_is_sent() {
    let (small, _large, _home, gateway) = serve("/v1/models", 401, "{}").await;
    gateway.metrics_reach("the first look", |metrics| is(metrics, "tollgate_engine_up", 1.0)).await;
    small.page("/v1/models", 500, "oops");
    gateway.metrics_reach("the server down", |metrics| is(metrics, "tollgate_engine_up", 0.0)).await;
    let readiness = gateway.client().get("/readyz").await;
    assert_eq!(readiness.status, 200, "the other answers");
    assert!(readiness.text().contains("engine small-engine does not answer"), "{}", readiness.text());
    assert_eq!(readiness.json()["engines"], json!({"small-engine": "down", "large-engine": "up"}));
    let client = gateway.client().with("x-tollgate-tags", "tier=any");
    let reply = client.chat(&ask("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "large"));
    assert_eq!(small.counts().asked, 0, "no request was spent on finding out");
    let reply = client.chat(&ask("small")).await;
    assert_eq!(reply.status, 503);
    assert!(reply.error()["message"].to_string().contains("does not answer"), "{}", reply.text());
    // A key that may not list models is no illness.
    small.page("/v1/models", 403, "no");
    gateway.metrics_reach("the server back", |metrics| is(metrics, "tollgate_engine_up", 1.0)).await;
    assert_eq!(client.chat(&ask("auto")).await.header("x-tollgate-model"), "small");
}

#[tokio::test]
async fn a_servers_load_is_read_shown_and_weighed() {
    let figures = |waiting: u32, tokens: u32, seconds: f64| {
        format!(
            "# TYPE vllm:num_requests_running gauge\n\
             vllm:num_requests_running{{model_name=\"m\"}} 2.0\n\
             vllm:num_requests_waiting{{model_name=\"m\"}} {waiting}.0\n\
             vllm:gpu_cache_usage_perc{{model_name=\"m\"}} 0.75\n\
             vllm:time_per_output_token_seconds_sum{{model_name=\"m\"}} {seconds}\n\
             vllm:time_per_output_token_seconds_count{{model_name=\"m\"}} {tokens}\n"
        )
    };
    let (small, _large, _home, gateway) = serve("/metrics", 200, &figures(0, 1000, 10.0)).await;
    let speed = |metrics: &Exposition| is(metrics, "tollgate_engine_tokens_per_second", 100.0);
    gateway.metrics_reach("its speed", speed).await;
    let client = gateway.client().with("x-tollgate-tags", "tier=any").with("x-tollgate-deadline-ms", "20000");
    assert_eq!(client.chat(&ask("auto")).await.header("x-tollgate-model"), "small");
    small.page("/metrics", 200, &figures(5000, 1100, 20.0));
    let loaded = |metrics: &Exposition| {
        is(metrics, "tollgate_engine_queue_depth", 5000.0)
            && is(metrics, "tollgate_engine_tokens_per_second", 10.0)
            && is(metrics, "tollgate_engine_kv_used_ratio", 0.75)
    };
    gateway.metrics_reach("its load", loaded).await;
    let reply = client.chat(&ask("auto")).await;
    assert_eq!(reply.header("x-tollgate-model"), "large", "the queue would take hours: {:?}", reply.headers);
}
