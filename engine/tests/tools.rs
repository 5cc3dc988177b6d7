//! Calls of tools by real models over HTTP: forced and free, whole and streamed, one and several, and their results.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: a failure is its message")]

mod support;

use hyper::StatusCode;
use serde_json::{Value, json};
use support::{Running, ask_with, chat, shared, start, stream, text};

/// A model that was trained on tools; the tests of free calls need it (`tollgate models pull qwen-coder-0.5b`).
const TRAINED: &str = "qwen-coder-0.5b";

fn weather() -> Value {
    json!({"type": "function", "function": {
        "name": "get_weather", "description": "Tells the weather in a city.",
        "parameters": {"type": "object", "required": ["city", "unit"], "additionalProperties": false, "properties": {
            "city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]},
        }},
    }})
}

fn time() -> Value {
    json!({"type": "function", "function": {
        "name": "get_time", "description": "Tells the time in a zone.",
        "parameters": {"type": "object", "required": ["zone"], "properties": {"zone": {"type": "string", "maxLength": 20}}},
    }})
}

fn ask(choice: Value, more: Value) -> Value {
    let mut body = ask_with("What is the weather in Rome, in celsius?", 120, more);
    body["tools"] = json!([weather(), time()]);
    body["tool_choice"] = choice;
    body
}

fn the_weather() -> Value {
    json!({"type": "function", "function": {"name": "get_weather"}})
}

fn calls(answer: &Value) -> &Vec<Value> {
    let calls = answer["choices"][0]["message"]["tool_calls"].as_array();
    calls.unwrap_or_else(|| panic!("no calls in {answer}"))
}

/// The arguments of a call, of which the shape is checked.
fn arguments(call: &Value) -> Value {
    assert_eq!(call["type"], "function");
    assert!(call["id"].as_str().unwrap().starts_with("call_"), "{call}");
    serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap()
}

fn is_the_weather(call: &Value) {
    assert_eq!(call["function"]["name"], "get_weather");
    let arguments = arguments(call);
    assert!(arguments["city"].is_string(), "{call}");
    assert!(["celsius", "fahrenheit"].contains(&arguments["unit"].as_str().unwrap()), "{call}");
}

async fn trained() -> Option<Running> {
    let mut options = support::options_if_there(TRAINED)?;
    options.parallel = 2;
    Some(start(options).await)
}

#[tokio::test]
async fn a_named_function_is_called_even_by_a_model_that_knows_no_tools() {
    for more in [json!({}), json!({"temperature": 1.5, "seed": 3})] {
        let (status, answer) = chat(&shared().await, &ask(the_weather(), more)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(calls(&answer).len(), 1);
        is_the_weather(&calls(&answer)[0]);
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(answer["choices"][0]["message"]["content"], Value::Null);
    }
}

#[tokio::test]
async fn some_function_is_called_where_one_is_required() {
    let more = json!({"parallel_tool_calls": false});
    let (_, answer) = chat(&shared().await, &ask(json!("required"), more)).await;
    let [call] = calls(&answer).as_slice() else { panic!("one call, not {answer}") };
    let name = call["function"]["name"].as_str().unwrap();
    assert!(["get_weather", "get_time"].contains(&name), "{name}");
    assert!(arguments(call).is_object());
}

#[tokio::test]
async fn a_stream_of_calls_says_the_same_as_a_whole_answer() {
    let address = start(support::options()).await;
    let (_, whole) = chat(&address, &ask(the_weather(), json!({}))).await;
    let chunks = stream(&address, &ask(the_weather(), json!({"stream": true}))).await;
    let deltas: Vec<&Value> =
        chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).collect();
    let begun: Vec<&&Value> = deltas.iter().filter(|delta| delta["id"].is_string()).collect();
    assert_eq!(begun.len(), 1, "the id comes once");
    assert_eq!((&begun[0]["index"], &begun[0]["function"]["name"]), (&json!(0), &json!("get_weather")));
    let streamed: String =
        deltas.iter().filter_map(|delta| delta["function"]["arguments"].as_str()).collect();
    assert_eq!(streamed, calls(&whole)[0]["function"]["arguments"].as_str().unwrap());
    assert!(deltas.len() > 3, "arguments leave as they are written");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn a_call_cut_by_its_limit_says_so() {
    let mut body = ask(the_weather(), json!({}));
    body["max_tokens"] = json!(3);
    let (_, answer) = chat(&shared().await, &body).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(calls(&answer)[0]["function"]["name"], "get_weather");
}

#[tokio::test]
async fn a_trained_model_calls_by_itself_and_answers_by_the_result() {
    let Some(address) = trained().await else { return };
    let (_, answer) = chat(&address, &ask(json!("auto"), json!({}))).await;
    is_the_weather(&calls(&answer)[0]);
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    let chunks = stream(&address, &ask(json!("auto"), json!({"stream": true}))).await;
    let streamed: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str())
        .collect();
    let called = &calls(&answer)[0];
    assert!(streamed.starts_with(called["function"]["arguments"].as_str().unwrap()), "{streamed}");
    let mut body = ask(json!("none"), json!({}));
    let question = body["messages"][0].clone();
    body["messages"] = json!([
        {"role": "developer", "content": "Be brief."}, question,
        {"role": "assistant", "content": null, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": called["id"], "content": "{\"celsius\": 31, \"sky\": \"cloudless\"}"},
        {"role": "user", "content": "How many degrees is that? Say it in one sentence."},
    ]);
    let (status, answer) = chat(&address, &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert!(text(&answer).contains("31"), "{answer}");
}

#[tokio::test]
async fn tools_that_may_not_be_called_are_not_shown() {
    let Some(address) = trained().await else { return };
    let (_, without) =
        chat(&address, &ask_with("What is the weather in Rome, in celsius?", 40, json!({}))).await;
    let mut body = ask(json!("none"), json!({}));
    body["max_tokens"] = json!(40);
    let (_, answer) = chat(&address, &body).await;
    assert_eq!(answer["usage"]["prompt_tokens"], without["usage"]["prompt_tokens"]);
    assert_eq!(text(&answer), text(&without));
}

#[tokio::test]
async fn a_call_or_json_where_both_are_asked_for() {
    let Some(address) = trained().await else { return };
    let schema = json!({"type": "object", "properties": {"reply": {"type": "string", "maxLength": 60}}, "required": ["reply"]});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "reply", "strict": true, "schema": schema}});
    let (_, answer) = chat(&address, &ask(json!("auto"), json!({ "response_format": format }))).await;
    match answer["choices"][0]["message"]["tool_calls"].as_array() {
        Some(calls) => is_the_weather(&calls[0]),
        None => {
            assert!(serde_json::from_str::<Value>(text(&answer)).unwrap()["reply"].is_string(), "{answer}")
        }
    }
}

#[tokio::test]
async fn a_schema_that_cannot_be_compiled_names_its_tool() {
    let mut body = ask(json!("required"), json!({}));
    body["tools"][1]["function"]["strict"] = json!(true);
    body["tools"][1]["function"]["parameters"] = json!({"type": "object", "properties": {"a": {"not": {}}}});
    let (status, answer) = chat(&shared().await, &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["error"]["param"], "tools[1].function.parameters");
}
