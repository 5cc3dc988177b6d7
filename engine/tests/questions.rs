//! Questions about tokens and prompts, answers that go on with the last message, and a template from a file.
#![cfg(feature = "llama")]

mod support;

use hyper::StatusCode;
use serde_json::{Value, json};
use support::{ask, call, chat, shared, text};

fn body(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[tokio::test]
async fn what_a_text_or_a_chat_is_to_the_model_can_be_asked() {
    let address = shared().await;
    let text = "Straße 媽 🤗 <|im_end|>";
    let (status, told) =
        call(&address, "POST", "/tokenize", body(&json!({"content": text, "with_pieces": true}))).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    let tokens: Vec<&Value> = told["tokens"].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    assert!(
        tokens.len() > 3 && told["tokens"].as_array().unwrap().iter().all(|token| !token["piece"].is_null())
    );
    let (_, told) = call(&address, "POST", "/detokenize", body(&json!({"tokens": tokens}))).await;
    assert_eq!(told["content"], text);
    let (_, prompt) = call(&address, "POST", "/apply-template", body(&ask("Hi", 1))).await;
    assert!(
        prompt["prompt"].as_str().unwrap().ends_with("Hi<|im_end|>\n<|im_start|>assistant\n"),
        "{prompt}"
    );
    let (_, count) = call(&address, "POST", "/v1/chat/completions/input_tokens", body(&ask("Hi", 1))).await;
    let (_, answer) = call(&address, "POST", "/chat/completions", body(&ask("Hi", 1))).await;
    assert_eq!(count["input_tokens"], answer["usage"]["prompt_tokens"], "without a version too");
    let (status, error) = call(&address, "POST", "/detokenize", body(&json!({"tokens": [99_999_999]}))).await;
    assert_eq!((status, &error["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("tokens")));
}

#[tokio::test]
async fn an_answer_goes_on_where_the_last_message_ends() {
    let mut request = ask("Count.", 4);
    let messages = request["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "one, two, three, four, five,"}));
    request["continue_final_message"] = json!(true);
    request["add_generation_prompt"] = json!(false);
    let (_, answer) = chat(&shared().await, &request).await;
    assert!(text(&answer).contains("six"), "{answer}");
    request["add_generation_prompt"] = json!(true);
    let (status, error) = chat(&shared().await, &request).await;
    assert_eq!(
        (status, &error["error"]["param"]),
        (StatusCode::BAD_REQUEST, &json!("continue_final_message"))
    );
}

#[tokio::test]
async fn a_template_may_come_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{% for m in messages %}<{{ m.role }}> {{ m.content }}{% endfor %}").unwrap();
    let mut options = support::options();
    options.chat_template = Some(file.path().to_owned());
    let address = support::start(options).await;
    let (_, prompt) = call(&address, "POST", "/apply-template", body(&ask("Hi", 1))).await;
    assert_eq!(prompt["prompt"], "<user> Hi");
}
