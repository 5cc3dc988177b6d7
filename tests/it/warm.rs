//! `slot_save_mb`: a local engine keeps its warm prefixes on disk while it does not run, and no longer than it is told to.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tollgate_tests::gateway::Gateway;
use tollgate_tests::home::Home;

use crate::demand::config;
use crate::real::ready;
use crate::stage::POLICY;

fn ask(question: &str) -> Value {
    let system = "You are a careful clerk who answers in few words. ".repeat(10);
    json!({"model": "small", "max_tokens": 4, "temperature": 0,
           "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}]})
}

async fn cached(gateway: &Gateway, question: &str) -> u64 {
    let reply = gateway.client().chat(&ask(question)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or_default()
}

async fn serve(home: &Home) -> Gateway {
    let gateway = home.serve().await;
    ready(&gateway).await;
    gateway
}

#[tokio::test]
async fn a_restart_of_the_gateway_leaves_the_next_chat_warm() {
    let home = Home::new(&config("", "slot_save_mb = 64", ""));
    home.write("policies/default.toml", POLICY);
    let file = home.data().join("engines/moe.slots");
    let gateway = serve(&home).await;
    assert!(cached(&gateway, "What is a fox?").await < 40);
    assert_eq!(gateway.stop().await.code(), Some(0));
    let facts = std::fs::metadata(&file).expect("it is written when the engine ends");
    assert_eq!(facts.permissions().mode() & 0o777, 0o600);
    let gateway = serve(&home).await;
    assert!(cached(&gateway, "Where is Rome?").await > 100);
    assert_eq!(gateway.stop().await.code(), Some(0));
    assert!(file.exists());
    home.write("tollgate.toml", &config("", "", ""));
    let gateway = serve(&home).await;
    assert!(!file.exists(), "nobody wants it any more");
    assert!(cached(&gateway, "Where is Rome?").await < 40);
}
