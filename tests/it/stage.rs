//! What most tests start from: a small and a large model behind scripted upstreams, and a gateway before them.
//!
//! Prices: small 0.50 in and 1.00 out, large 5 and 10 USD per million tokens; `large` is the baseline.

use serde_json::{Value, json};
use tollgate_tests::client::Client;
use tollgate_tests::gateway::Gateway;
use tollgate_tests::home::Home;
use tollgate_tests::upstream::{Chat, Upstream};

/// The policy most tests run with. `tags.tier` chooses the rule.
pub(crate) const POLICY: &str = r#"
[policy]
name = "default"
baseline = "large"
[objective]
quality = 0.95
[[rule]]
name = "cheapest first"
when = 'tags.tier == "any"'
use = ["small", "large"]
quality = 0.0
[[rule]]
name = "small only"
when = 'tags.tier == "small"'
use = ["small"]
"#;

/// The price of `small` unless a test says otherwise.
pub(crate) const SMALL_PRICE: &str = "{ input = 0.50, output = 1.00 }";

/// Two scripted upstreams and a running gateway.
pub(crate) struct Stage {
    pub(crate) small: Upstream,
    pub(crate) large: Upstream,
    pub(crate) home: Home,
    pub(crate) gateway: Gateway,
}

impl Stage {
    /// The usual policy.
    pub(crate) async fn new() -> Self {
        Self::with(POLICY, SMALL_PRICE, "").await
    }

    /// The usual policy with a budget that matches every request.
    pub(crate) async fn budget(limit_usd: &str, on_exhausted: &str) -> Self {
        Self::with(
            &(POLICY.to_owned() + &budget("purse", "\"global\"", limit_usd, on_exhausted)),
            SMALL_PRICE,
            "",
        )
        .await
    }

    /// Any policy, any price of `small`, any further lines of `[server]`.
    pub(crate) async fn with(policy: &str, small_price: &str, server: &str) -> Self {
        let small = Upstream::start(Chat::new("the small answer", 11, 7)).await;
        let large = Upstream::start(Chat::new("the large answer", 11, 7)).await;
        let home = Home::new(&config(&small.base_url(), &large.base_url(), small_price, server));
        home.write("policies/default.toml", policy);
        let gateway = home.serve().await;
        Self { small, large, home, gateway }
    }

    pub(crate) fn client(&self) -> Client {
        self.gateway.client()
    }

    /// Every receipt in the ledger, oldest first.
    pub(crate) async fn receipts(&self) -> Vec<Value> {
        receipts(&self.home).await
    }

    /// Waits for the receipt of a request whose client did not wait for its end.
    pub(crate) async fn receipt_of(&self, request_id: &str) -> Value {
        tollgate_tests::within("the receipt", async {
            loop {
                let all = self.receipts().await;
                if let Some(found) = all.into_iter().find(|receipt| receipt["request_id"] == request_id) {
                    return found;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Makes a key and returns its secret.
    pub(crate) async fn key(&self, args: &[&str]) -> String {
        let place = ["--json", "--config", "tollgate.toml", "--data-dir", "data"];
        let args = [&["keys", "create"], args, &place].concat();
        let made = self.home.run(&args).await.success();
        let made: Value = serde_json::from_str(&made).expect("keys create --json prints JSON");
        made["secret"].as_str().expect("a key just made shows its secret").to_owned()
    }
}

/// Every receipt in a home's ledger, oldest first.
pub(crate) async fn receipts(home: &Home) -> Vec<Value> {
    let args = ["ledger", "export", "--config", "tollgate.toml", "--data-dir", "data"];
    let lines = home.run(&args).await.success();
    let receipt = |line| -> Value {
        let mut line: Value = serde_json::from_str(line).expect("an exported line is JSON");
        line["receipt"].take()
    };
    lines.lines().map(receipt).collect()
}

/// What `ledger verify` finds; fails the test unless it is content.
pub(crate) async fn verified(home: &Home) -> Value {
    let args = ["ledger", "verify", "--json", "--config", "tollgate.toml", "--data-dir", "data"];
    serde_json::from_str(&home.run(&args).await.success()).expect("verify --json prints JSON")
}

/// A `tollgate.toml` with both models.
pub(crate) fn config(small_url: &str, large_url: &str, small_price: &str, server: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
{server}
[policies]
files = ["policies"]
[[engine]]
name = "small-engine"
kind = "openai"
base_url = "{small_url}"
[[engine]]
name = "large-engine"
kind = "openai"
base_url = "{large_url}"
[[model]]
name = "small"
engine = "small-engine"
upstream_model = "vendor/small-upstream"
price = {small_price}
context = 8192
can = ["tools", "json"]
[[model]]
name = "large"
engine = "large-engine"
upstream_model = "vendor/large-upstream"
price = {{ input = 5.0, output = 10.0 }}
context = 32768
can = ["tools", "json"]
"#
    )
}

/// A budget for a policy file.
pub(crate) fn budget(name: &str, scope: &str, limit_usd: &str, on_exhausted: &str) -> String {
    format!(
        "[[budget]]\nname = \"{name}\"\nscope = {scope}\nlimit_usd = {limit_usd}\nwindow = \"1mo\"\n\
         on_exhausted = \"{on_exhausted}\"\n"
    )
}

/// A chat body.
pub(crate) fn ask(model: &str) -> Value {
    json!({"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello there"}]})
}

/// The same, streamed, with usage asked for.
pub(crate) fn ask_stream(model: &str) -> Value {
    let mut body = ask(model);
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    body
}
