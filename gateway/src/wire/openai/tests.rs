use bytes::Bytes;

use super::*;

fn parse(body: &str) -> Chat<'_> {
    Chat::parse(body.as_bytes()).unwrap()
}

fn refused(body: &[u8]) -> (Option<String>, &'static str, String) {
    match Chat::parse(body).unwrap_err() {
        Fault::Invalid(invalid) => (invalid.param, invalid.code, invalid.message),
        other => panic!("{other:?}"),
    }
}

fn rewritten(body: &str, model: &str, max_tokens: Option<u64>) -> String {
    let chat = parse(body);
    String::from_utf8(
        chat.rewrite(
            &Bytes::copy_from_slice(body.as_bytes()),
            &Wanted { model, max_tokens, ..Wanted::default() },
        )
        .to_vec(),
    )
    .unwrap()
}

#[test]
fn reads_what_routing_needs() {
    let chat = parse(
        r#"{"model":"auto","n":2,"max_tokens":7,"stream":true,"stream_options":{"include_usage":true},
        "tools":[{"type":"function"}],"response_format":{"type":"json_schema"},"messages":[
        {"role":"developer","content":"be short"},
        {"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"b\n"}]},
        {"role":"assistant","content":null,"tool_calls":[]}]}"#,
    );
    assert_eq!((chat.model.as_ref(), chat.choices, chat.max_tokens), ("auto", 2, Some(7)));
    assert!(chat.stream && chat.wants_usage && chat.tools && chat.json);
    assert_eq!((chat.images, chat.user_turns), (1, 1));
    let texts: Vec<_> = chat.turns.iter().map(|turn| turn.text.as_ref()).collect();
    assert_eq!(texts, ["be short", "a\nb\n", ""]);
}

#[test]
fn all_that_templates_put_into_a_prompt_is_counted() {
    let bytes = |message: &str| {
        parse(&format!(r#"{{"model":"m","messages":[{{"role":"assistant",{message}}}]}}"#)).prompt_bytes
    };
    let text = "x".repeat(1_000);
    for field in ["content", "reasoning_content", "reasoning", "refusal", "name", "tool_call_id"] {
        assert!(bytes(&format!(r#""{field}":"{text}""#)) >= 1_000, "{field}");
    }
    assert_eq!(bytes(r#""content":null,"reasoning_content":null"#), bytes(r#""content":"""#));
    for beside in ["documents", "chat_template", "chat_template_kwargs", "tools", "response_format"] {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"{beside}":{{"type":"{text}"}}}}"#);
        assert!(parse(&body).prompt_bytes >= 1_000, "{beside}");
    }
}

#[test]
fn as_many_choices_are_paid_for_as_any_server_makes() {
    let choices =
        |fields: &str| parse(&format!(r#"{{"model":"m","messages":[{{"role":"user"}}]{fields}}}"#)).choices;
    assert_eq!(choices(""), 1);
    assert_eq!((choices(r#","n":3"#), choices(r#","n_cmpl":5"#), choices(r#","n":7,"n_cmpl":2"#)), (3, 5, 7));
    let (param, code, _) = refused(br#"{"model":"m","messages":[{"role":"user"}],"n_cmpl":1000}"#);
    assert_eq!((param.as_deref(), code), (Some("n_cmpl"), "invalid_value"));
}

#[test]
fn fields_by_which_engines_choose_are_found_at_the_top_alone() {
    let routing = |fields: &str| {
        let messages = r#""messages":[{"role":"user","content":"\"models\":[\"x\"]"}]"#;
        parse(&format!(r#"{{"model":"m",{fields}{messages}}}"#)).routing
    };
    for (fields, found) in [
        (r#""models":["a","b"],"#, Some("models")),
        (r#""provider":{"order":["x"]},"#, Some("provider")),
        (r#""providerOptions":{"gateway":{"only":["x"]}},"#, Some("providerOptions")),
        (r#""\u0066allbacks":["b"],"#, Some("fallbacks")),
        (r#""api_base":"http://x","user_config":{},"#, Some("user_config")),
        (r#""extra_body":{"models":["b"]},"#, Some("extra_body")),
        (r#""models":null,"#, None),
        (
            r#""tools":[{"function":{"parameters":{"models":["a"],"provider":1}}}],"metadata":{"route":"x"},"#,
            None,
        ),
        (r#""transforms":["middle-out"],"#, None),
        ("", None),
    ] {
        assert_eq!(routing(fields), found, "{fields}");
    }
    let vectors = Chat::parse_embeddings(br#"{"model":"m","input":"a","provider":{}}"#).unwrap();
    assert_eq!(vectors.routing, Some("provider"));
}

#[test]
fn plain_text_is_borrowed() {
    let chat = parse(r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#);
    assert!(matches!(chat.turns[0].text, Cow::Borrowed("hello")));
}

#[test]
fn mistakes_name_the_field() {
    let cases: [(&[u8], Option<&str>, &str); 14] = [
        (b"", None, "empty_body"),
        (b"{\"model\": ", None, "invalid_json"),
        (b"[1]", None, "invalid_type"),
        (b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", None, "invalid_utf8"),
        (br#"{"messages":[{"role":"user","content":"x"}]}"#, Some("model"), "missing_required_parameter"),
        (br#"{"model":3,"messages":[{"role":"user"}]}"#, Some("model"), "invalid_type"),
        (br#"{"model":"m"}"#, Some("messages"), "missing_required_parameter"),
        (br#"{"model":"m","messages":[]}"#, Some("messages"), "empty_array"),
        (br#"{"model":"m","messages":"hi"}"#, Some("messages"), "invalid_type"),
        (
            br#"{"model":"m","messages":[{"role":"user","content":7}]}"#,
            Some("messages[0].content"),
            "invalid_type",
        ),
        (br#"{"model":"m","messages":[{"role":"user"}],"stream":"yes"}"#, Some("stream"), "invalid_type"),
        (
            br#"{"model":"m","messages":[{"role":"user"}],"max_tokens":-1}"#,
            Some("max_tokens"),
            "invalid_type",
        ),
        (
            br#"{"model":"m","messages":[{"role":"user"}],"max_tokens":0}"#,
            Some("max_tokens"),
            "invalid_value",
        ),
        (br#"{"model":"m","messages":[{"role":"user"}],"n":1000}"#, Some("n"), "invalid_value"),
    ];
    for (body, param, code) in cases {
        let (found_param, found_code, message) = refused(body);
        assert_eq!((found_param.as_deref(), found_code), (param, code), "{message}");
    }
    let (_, _, message) = refused(b"{\"model\": \"m\",\n \"messages\" [] }");
    assert!(message.contains("line 2 column 13"), "{message}");
}

#[test]
fn a_key_written_twice_is_refused() {
    let (_, _, message) = refused(br#"{"model":"a","model":"b","messages":[{"role":"user"}]}"#);
    assert!(message.contains("duplicate field `model`"), "{message}");
}

#[test]
fn untouched_bodies_are_the_same_bytes() {
    let body = r#" { "model" : "m", "x_new": {"y":[1.50]}, "messages":[{"role":"user"}], "max_tokens":5 }"#;
    assert_eq!(rewritten(body, "m", Some(5)), body);
}

#[test]
fn only_what_must_change_changes() {
    let body = r#"{"model":"auto","messages":[{"role":"user"}],"max_tokens":900,"seed":1e3}"#;
    assert_eq!(
        rewritten(body, "q\"x", Some(20)),
        r#"{"model":"q\"x","messages":[{"role":"user"}],"max_tokens":20,"seed":1e3}"#
    );
    let body = r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":null}"#;
    assert!(rewritten(body, "m", Some(20)).ends_with(r#""max_tokens":20}"#));
    let body = r#"{"model":"m","messages":[{"role":"user"}]}"#;
    assert!(rewritten(body, "m", Some(20)).starts_with(r#"{"max_tokens":20,"model""#));
    let body = r#"{"model":"m","messages":[{"role":"user"}],"max_completion_tokens":50}"#;
    assert!(rewritten(body, "m", Some(20)).ends_with(r#""max_completion_tokens":20}"#));
}

#[test]
fn no_second_limit_lets_an_answer_pass_the_one_that_was_paid_for() {
    let body = r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":10,"max_completion_tokens":90000,"n_predict":-1}"#;
    assert_eq!(parse(body).max_tokens, Some(10));
    assert_eq!(
        rewritten(body, "m", Some(10)),
        r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":10,"max_completion_tokens":10,"n_predict":10}"#
    );
    let body = r#"{"model":"m","messages":[{"role":"user"}],"n_predict":70}"#;
    assert_eq!(parse(body).max_tokens, Some(70));
    assert_eq!(
        rewritten(body, "m", Some(20)),
        r#"{"max_tokens":20,"model":"m","messages":[{"role":"user"}],"n_predict":20}"#
    );
}

#[test]
fn streams_are_asked_for_usage() {
    let ask = |options: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"stream":true{options}}}"#);
        rewritten(&body, "m", None)
    };
    assert!(ask("").starts_with(r#"{"stream_options":{"include_usage":true},"model""#));
    assert!(ask(r#","stream_options":null"#).ends_with(r#""stream_options":{"include_usage":true}}"#));
    assert!(ask(r#","stream_options":{ }"#).ends_with(r#""stream_options":{"include_usage":true }}"#));
    assert!(ask(r#","stream_options":{"a":1}"#).ends_with(r#"{"include_usage":true,"a":1}}"#));
    assert!(ask(r#","stream_options":{"include_usage":false}"#).ends_with(r#"{"include_usage":true}}"#));
}
