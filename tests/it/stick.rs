//! `[stick]`: which requests a decision holds for.

use serde_json::{Value, json};
use tollgate_tests::client::Client;

use crate::stage::{SMALL_PRICE, Stage};

/// Short prompts go to `small`, long ones to `large`, and `only large` nowhere else.
fn policy(decide: &str) -> String {
    format!(
        r#"
[policy]
name = "default"
baseline = "large"
[stick]
decide = "{decide}"
[[rule]]
name = "only large"
when = 'tags.tier == "large"'
use = ["large"]
[[rule]]
name = "long"
when = 'prompt_tokens > 300'
use = ["large", "small"]
quality = 1.0
[[rule]]
name = "short"
when = 'true'
quality = 0.0
"#
    )
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

/// A question, a tool call and its long result.
fn after_tool(question: &str) -> Vec<Value> {
    let call = json!({"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}});
    vec![
        user(question),
        json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        json!({"role": "tool", "tool_call_id": "c1", "content": "Prove that p divides q. ".repeat(200)}),
    ]
}

async fn model(client: &Client, messages: &[Value]) -> (String, String) {
    let answer = client.chat(&json!({"model": "auto", "max_tokens": 20, "messages": messages})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    (answer.header("x-tollgate-model").to_owned(), answer.header("x-tollgate-reason").to_owned())
}

#[tokio::test]
async fn tool_results_keep_the_model_of_their_turn() {
    let stage = Stage::with(&policy("user_turn"), SMALL_PRICE, "").await;
    let client = stage.client();
    assert_eq!(model(&client, &[user("What is in the file?")]).await.0, "small");
    let (kept, reason) = model(&client, &after_tool("What is in the file?")).await;
    assert_eq!(kept, "small");
    assert!(reason.contains("began this turn"), "{reason}");
    // The next message of the user's is another turn, and another question another conversation.
    let mut next = after_tool("What is in the file?");
    next.push(user(&"Prove it at length. ".repeat(200)));
    assert_eq!(model(&client, &next).await.0, "large");
    assert_eq!(model(&client, &after_tool("Whose file is it?")).await.0, "large");
    // A rule that forbids the model is stronger.
    let bound = client.with("x-tollgate-tags", "tier=large");
    assert_eq!(model(&bound, &after_tool("What is in the file?")).await.0, "large");
}

#[tokio::test]
async fn a_run_keeps_the_model_it_began_with() {
    let stage = Stage::with(&policy("run"), SMALL_PRICE, "").await;
    let long = [user(&"Prove that p divides q. ".repeat(200))];
    let run = |id: &str| stage.client().with("x-tollgate-run", id);
    assert_eq!(model(&run("one"), &[user("Hello")]).await.0, "small");
    let (kept, reason) = model(&run("one"), &long).await;
    assert_eq!(kept, "small");
    assert!(reason.contains("began this run"), "{reason}");
    assert_eq!(model(&run("two"), &long).await.0, "large");
    assert_eq!(model(&run("two"), &[user("Hello")]).await.0, "large");
    // Requests of no run share nothing.
    assert_eq!(model(&stage.client(), &[user("Hello")]).await.0, "small");
    assert_eq!(model(&stage.client(), &long).await.0, "large");
}

#[tokio::test]
async fn without_it_every_request_decides() {
    let stage = Stage::with(&policy("request"), SMALL_PRICE, "").await;
    let client = stage.client().with("x-tollgate-run", "one");
    assert_eq!(model(&client, &[user("What is in the file?")]).await.0, "small");
    assert_eq!(model(&client, &after_tool("What is in the file?")).await.0, "large");
}
