//! Answers held to a JSON schema, by a real model over HTTP.
#![cfg(feature = "llama")]

mod support;

use hyper::StatusCode;
use serde_json::{Value, json};
use support::{ask_with, chat, shared, stream, streamed_text, text};

/// A request whose answer must be JSON of a schema.
fn ask_for(schema: &Value, max_tokens: u32) -> Value {
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "it", "strict": true, "schema": schema}});
    ask_with("Invent a person who likes animals.", max_tokens, json!({ "response_format": format }))
}

fn person() -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": ["first_name", "age", "pets"],
        "properties": {
            "first_name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 1, "maximum": 99},
            "pets": {"type": "array", "items": {"enum": ["cat", "dog"]}, "maxItems": 2},
        },
    })
}

#[tokio::test]
async fn an_answer_is_json_of_the_schema_and_ends_with_it() {
    let (status, answer) = chat(&shared().await, &ask_for(&person(), 200)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let said: Value = serde_json::from_str(text(&answer)).unwrap();
    assert!(said["first_name"].is_string() && said["pets"].is_array(), "{said}");
    assert!((1..=99).contains(&said["age"].as_u64().unwrap()), "{said}");
    assert_eq!(said.as_object().unwrap().len(), 3);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let mut body = ask_for(&person(), 200);
    body["stream"] = true.into();
    let chunks = stream(&shared().await, &body).await;
    assert!(serde_json::from_str::<Value>(&streamed_text(&chunks)).is_ok());
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn hot_answers_are_held_to_it_too() {
    let mut body = ask_for(&person(), 300);
    for seed in 0..4 {
        body["temperature"] = json!(1.8);
        body["seed"] = json!(seed);
        let (_, answer) = chat(&shared().await, &body).await;
        assert!(serde_json::from_str::<Value>(text(&answer)).is_ok(), "{answer}");
    }
}

#[tokio::test]
async fn any_object_will_do_where_no_schema_is_given() {
    let format = json!({"response_format": {"type": "json_object"}, "temperature": 0});
    let (_, answer) = chat(&shared().await, &ask_with("Reply with the JSON {\"a\": 1}.", 60, format)).await;
    assert!(text(&answer).starts_with('{'), "{answer}");
    if answer["choices"][0]["finish_reason"] == "stop" {
        assert!(serde_json::from_str::<Value>(text(&answer)).unwrap().is_object());
    }
}

#[tokio::test]
async fn an_answer_cut_by_its_limit_says_so() {
    let (_, answer) = chat(&shared().await, &ask_for(&person(), 3)).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 3);
}

#[tokio::test]
async fn a_schema_that_cannot_be_compiled_is_named() {
    let schema = json!({"type": "object", "properties": {"a": {"not": {"type": "string"}}}});
    let (status, answer) = chat(&shared().await, &ask_for(&schema, 9)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["error"]["param"], "response_format.json_schema");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("not") && message.contains("strict"), "{message}");
}
