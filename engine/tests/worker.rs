//! A worker with a real model, over HTTP: answers, streams, limits, stop strings, seeds, errors.
#![cfg(feature = "llama")]

mod support;

use hyper::StatusCode;
use serde_json::{Value, json};
use support::{ask, ask_with, call, chat, get, shared, stream, streamed_text, text};

const STORY: &str = "Tell me a short story about a fox.";

#[tokio::test]
async fn an_answer_has_the_shape_that_clients_expect() {
    let (status, answer) = chat(&shared().await, &ask("Say hello.", 8)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "SmolLM2-135M-Instruct.Q4_1");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(!text(&answer).is_empty());
    let usage = &answer["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap();
    assert!(count("prompt_tokens") > 5 && (1..=8).contains(&count("completion_tokens")), "{usage}");
    assert_eq!(count("total_tokens"), count("prompt_tokens") + count("completion_tokens"));
    assert!(count("engine_us") > 0);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
}

#[tokio::test]
async fn a_stream_says_the_same_as_a_whole_answer() {
    // On a worker of their own: other requests in the same batch may change the last bits of a sum.
    let address = support::start(support::options()).await;
    for prompt in [STORY, "Write the numbers from one to ten in Japanese: 一、二、", "List three emoji 🦊🚀"]
    {
        let (_, whole) = chat(&address, &ask(prompt, 48)).await;
        let (_, again) = chat(&address, &ask(prompt, 48)).await;
        assert_eq!(text(&whole), text(&again), "greedy answers repeat");
        let chunks = stream(&address, &ask_with(prompt, 48, json!({"stream": true}))).await;
        assert_eq!(streamed_text(&chunks), text(&whole));
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let last = chunks.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "usage only when asked for");
    }
}

#[tokio::test]
async fn usage_comes_in_a_last_chunk_of_its_own_when_asked_for() {
    let more = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = stream(&shared().await, &ask_with(STORY, 5, more)).await;
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 5);
    assert!(others.iter().all(|chunk| chunk["usage"] == Value::Null && chunk.get("usage").is_some()));
}

#[tokio::test]
async fn likelihoods_come_with_the_tokens_they_are_of() {
    let address = support::start(support::options()).await;
    let more = json!({"logprobs": true, "top_logprobs": 3, "temperature": 0});
    let (status, whole) = chat(&address, &ask_with(STORY, 12, more.clone())).await;
    assert_eq!(status, StatusCode::OK, "{whole}");
    let tokens = whole["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len() as u64, whole["usage"]["completion_tokens"].as_u64().unwrap());
    let said: String = tokens.iter().filter_map(|token| token["token"].as_str()).collect();
    assert_eq!(said, text(&whole));
    for token in tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!((top.len(), &top[0]["token"]), (3, &token["token"]), "greedy takes the likeliest");
        let chances: f64 = top.iter().filter_map(|one| one["logprob"].as_f64()).map(f64::exp).sum();
        assert!(token["logprob"].as_f64().unwrap() <= 0.0 && chances <= 1.0 + 1e-4, "{token}");
    }
    let mut streamed = more;
    streamed["stream"] = true.into();
    let chunks = stream(&address, &ask_with(STORY, 12, streamed)).await;
    let pieces: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .collect();
    assert_eq!(pieces.len(), tokens.len());
    assert!(pieces.iter().zip(tokens).all(|(piece, token)| piece["token"] == token["token"]));
}

#[tokio::test]
async fn max_tokens_cuts_and_says_so() {
    for (name, limit) in [("max_tokens", 1), ("max_completion_tokens", 7)] {
        let mut body = ask(STORY, 50);
        body.as_object_mut().unwrap().remove("max_tokens");
        body[name] = json!(limit);
        let (_, answer) = chat(&shared().await, &body).await;
        assert_eq!(answer["usage"]["completion_tokens"], limit);
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
    }
    let (_, answer) = chat(&shared().await, &ask("What is 1+1? Answer with one word.", 200)).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn stop_strings_end_the_answer_and_are_not_shown() {
    let address = support::start(support::options()).await;
    let (_, whole) = chat(&address, &ask(STORY, 60)).await;
    let whole = text(&whole);
    // A piece from the middle that begins and ends inside words, so that it spans several tokens.
    let middle: Vec<char> = whole.chars().skip(25).take(9).collect();
    let stop: String = middle.into_iter().collect();
    let expected = &whole[..whole.find(&stop).unwrap()];
    for more in [json!({"stop": stop}), json!({"stop": ["never said", stop], "stream": false})] {
        let (_, answer) = chat(&address, &ask_with(STORY, 60, more)).await;
        assert_eq!(text(&answer), expected);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }
    let chunks = stream(&address, &ask_with(STORY, 60, json!({"stop": [stop], "stream": true}))).await;
    assert_eq!(streamed_text(&chunks), expected);
}

#[tokio::test]
async fn the_seed_decides_a_random_answer() {
    let address = support::start(support::options()).await;
    let with_seed = |seed: u64| ask_with(STORY, 30, json!({"temperature": 1.0, "top_p": 1.0, "seed": seed}));
    let (_, first) = chat(&address, &with_seed(1)).await;
    let (_, again) = chat(&address, &with_seed(1)).await;
    let (_, other) = chat(&address, &with_seed(2)).await;
    assert_eq!(text(&first), text(&again));
    assert_ne!(text(&first), text(&other));
}

#[tokio::test]
async fn an_answer_may_be_kept_from_ending() {
    let address = shared().await;
    let hello = "Reply with one word: hello.";
    let (_, ended) = chat(&address, &ask_with(hello, 200, json!({}))).await;
    assert_eq!(ended["choices"][0]["finish_reason"], "stop", "{ended}");
    let (_, kept) = chat(&address, &ask_with(hello, 200, json!({"ignore_eos": true}))).await;
    assert_eq!(kept["choices"][0]["finish_reason"], "length");
    assert_eq!(kept["usage"]["completion_tokens"], 200);
}

#[tokio::test]
async fn a_prompt_begun_before_is_not_read_again() {
    let address = support::start(support::options()).await;
    let system = "You are a careful assistant. ".repeat(20);
    let talk = |question: &str| {
        let messages = json!([{"role": "system", "content": system}, {"role": "user", "content": question}]);
        ask_with("", 4, json!({"messages": messages, "cache_prompt": true}))
    };
    let (_, first) = chat(&address, &talk("Hi")).await;
    let (_, second) = chat(&address, &talk("What is a fox?")).await;
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert_eq!(cached(&first), 0);
    let prompt = second["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(cached(&second) > 100 && cached(&second) < prompt, "{second}");
    let (_, third) = chat(&address, &talk("What is a fox?")).await;
    assert_eq!(cached(&third), prompt - 1, "all but the token whose logits are needed");
}

#[tokio::test]
async fn a_prompt_too_long_for_the_context_is_refused_and_a_long_answer_is_cut() {
    let long = "word ".repeat(1500);
    let (status, error) = chat(&shared().await, &ask(&long, 5)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error["error"]["code"], "context_length_exceeded");
    assert_eq!(error["error"]["param"], "messages");
    assert!(error["error"]["message"].as_str().unwrap().contains("1024 tokens"), "{error}");
    // An answer may ask for more than there is room for: it ends where the context ends.
    let mut options = support::options();
    options.context = 64;
    let address = support::start(options).await;
    let (_, answer) = chat(&address, &ask(STORY, 5000)).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["total_tokens"], 64);
}

#[tokio::test]
async fn mistakes_are_named_in_the_openai_shape() {
    let cases: [(&[u8], &str, &str); 6] = [
        (b"{\"messages\": [", "", "invalid_json"),
        (b"\"\xff\xfe\"", "", "invalid_json"),
        (b"{}", "messages", "invalid_value"),
        (br#"{"messages": []}"#, "messages", "invalid_value"),
        (
            br#"{"messages": [{"role": "user", "content": "x"}], "temperature": 9}"#,
            "temperature",
            "invalid_value",
        ),
        (
            br#"{"messages": [{"role": "user", "content": "x"}], "audio": {}}"#,
            "audio",
            "unsupported_parameter",
        ),
    ];
    for (body, param, code) in cases {
        let (status, answer) = call(&shared().await, "POST", "/v1/chat/completions", body.to_vec()).await;
        let error = &answer["error"];
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["code"], code, "{answer}");
        assert_eq!(error["param"].as_str().unwrap_or(""), param);
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    // Sent while the worker refuses it: the client reads so all the same.
    for _ in 0..3 {
        let huge = vec![b' '; 17 << 20];
        assert_eq!(
            call(&shared().await, "POST", "/v1/chat/completions", huge).await.0,
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }
    assert_eq!(
        call(&shared().await, "GET", "/v1/chat/completions", Vec::new()).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(get(&shared().await, "/nowhere").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_model_is_listed_with_its_facts() {
    let (status, list) = get(&shared().await, "/v1/models").await;
    assert_eq!(status, StatusCode::OK);
    let model = &list["data"][0];
    assert_eq!(model["id"], "SmolLM2-135M-Instruct.Q4_1");
    assert_eq!(model["meta"]["context"], support::CONTEXT);
    assert_eq!(model["meta"]["architecture"], "llama");
}

#[tokio::test]
async fn several_answers_to_one_prompt_each_have_a_draw_of_their_own() {
    let address = support::start(support::options()).await;
    let more = json!({"n": 3, "temperature": 1.2, "seed": 5, "cache_prompt": false});
    let (status, answer) = chat(&address, &ask_with(STORY, 12, more.clone())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    let texts: Vec<&str> =
        choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap()).collect();
    assert!(texts[0] != texts[1] && texts[1] != texts[2], "{texts:?}");
    let (_, one) = chat(&address, &ask_with(STORY, 12, json!({}))).await;
    assert_eq!(answer["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"], "the prompt counts once");
    assert_eq!(answer["usage"]["completion_tokens"], 36);
    let mut streamed = more;
    streamed["stream"] = true.into();
    streamed["stream_options"] = json!({"include_usage": true});
    let chunks = stream(&address, &ask_with(STORY, 12, streamed)).await;
    for index in 0..3 {
        let own: Vec<&Value> = chunks.iter().filter(|chunk| chunk["choices"][0]["index"] == index).collect();
        assert_eq!(own[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(own.last().unwrap()["choices"][0]["finish_reason"], "length");
    }
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 36);
    let (status, refused) = chat(&address, &ask_with(STORY, 12, json!({"n": 100}))).await;
    assert_eq!((status, &refused["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("n")), "{refused}");
}

#[tokio::test]
async fn biases_force_a_token_or_keep_it_out() {
    let address = shared().await;
    let with = |token: u64, bias: i32| {
        ask_with(
            STORY,
            4,
            json!({"logit_bias": {token.to_string(): bias}, "logprobs": true, "top_logprobs": 1}),
        )
    };
    let (status, forced) = chat(&address, &with(100, 100)).await;
    assert_eq!(status, StatusCode::OK, "{forced}");
    let tokens = forced["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert!(tokens.iter().all(|token| token["token"] == tokens[0]["token"]), "{tokens:?}");
    assert!(tokens.iter().any(|token| token["token"] != token["top_logprobs"][0]["token"]), "not by itself");
    let (status, refused) = chat(&address, &with(999_999, 1)).await;
    assert_eq!((status, &refused["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("logit_bias")));
}

#[tokio::test]
async fn what_is_not_text_is_refused_by_its_place() {
    let parts =
        |part: Value| json!([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]);
    for part in [json!({"type": "image_url", "image_url": {"url": "data:,"}}), json!({"type": "input_audio"})]
    {
        let kind = part["type"].clone();
        let (status, answer) =
            chat(&shared().await, &ask_with("", 4, json!({"messages": parts(part)}))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(answer["error"]["param"], "messages[0].content[1]");
        assert!(answer["error"]["message"].as_str().unwrap().contains(kind.as_str().unwrap()), "{answer}");
    }
}

#[tokio::test]
async fn bare_prompts_are_continued_as_they_are() {
    let address = support::start(support::options()).await;
    let ask = |prompt: Value, more: Value| {
        let mut body = json!({"prompt": prompt, "max_tokens": 6, "temperature": 0, "cache_prompt": false});
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        body.to_string().into_bytes()
    };
    let prompt = "The capital of France is";
    let (status, one) = call(&address, "POST", "/v1/completions", ask(json!(prompt), json!({}))).await;
    assert_eq!(status, StatusCode::OK, "{one}");
    assert_eq!(one["object"], "text_completion");
    assert!(one["choices"][0]["text"].as_str().unwrap().contains("Paris"), "{one}");
    let two = ask(json!([prompt, "One, two, three,"]), json!({"n": 2}));
    let (_, several) = call(&address, "POST", "/v1/completions", two).await;
    assert_eq!(several["choices"].as_array().unwrap().len(), 4, "{several}");
    assert_eq!(several["choices"][1]["text"], one["choices"][0]["text"]);
    assert_eq!(several["usage"]["completion_tokens"], 24);
    let (_, other) =
        call(&address, "POST", "/v1/completions", ask(json!("One, two, three,"), json!({}))).await;
    let count = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(count(&several), count(&one) + count(&other), "each prompt counts once");
    let mut client = support::Client::connect(&address).await;
    let response = client.send("POST", "/v1/completions", ask(json!(prompt), json!({"stream": true}))).await;
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let chunks = body
        .split("\n\n")
        .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok());
    let streamed: String =
        chunks.map(|chunk| chunk["choices"][0]["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(streamed, one["choices"][0]["text"].as_str().unwrap());
    let (status, refused) = call(&address, "POST", "/v1/completions", ask(json!([999_999]), json!({}))).await;
    assert_eq!((status, &refused["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("prompt")));
}
