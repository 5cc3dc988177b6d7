//! The harness itself: a scripted upstream does what its script says, and knows when it was given up.

use serde_json::{Value, json};
use tollgate_tests::client::Client;
use tollgate_tests::upstream::{Chat, Gate, Script, Upstream};

fn direct(upstream: &Upstream) -> Client {
    let url = upstream.base_url();
    let addr = url.trim_start_matches("http://").trim_end_matches("/v1");
    Client::new(addr.parse().expect("the base url holds the address"))
}

fn stream_body() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true,
           "stream_options": {"include_usage": true}})
}

#[tokio::test]
async fn streams_end_with_usage_and_done() {
    let upstream = Upstream::start(Chat::new("one two three", 5, 3)).await;
    let transcript = direct(&upstream).stream(&stream_body()).await.finish().await;
    assert_eq!(transcript.content(), "one two three");
    assert_eq!(transcript.usage()["total_tokens"], 8);
    assert!(transcript.done() && transcript.ended);
    upstream.until("the answer", |counts| counts.answered == 1).await;
}

#[tokio::test]
async fn a_cut_stream_breaks_after_its_pieces() {
    let upstream = Upstream::start(Chat::new("one two three", 5, 3).cut_after(2)).await;
    let transcript = direct(&upstream).stream(&stream_body()).await.finish().await;
    assert_eq!(transcript.content(), "one two ");
    assert!(!transcript.ended);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let gate = Gate::closed();
    let upstream = Upstream::start(Chat::new("one two three", 5, 3).gated(1, &gate)).await;
    let mut stream = direct(&upstream).stream(&stream_body()).await;
    assert!(stream.next().await.is_some());
    drop(stream);
    upstream.until("the abandoned answer", |counts| counts.abandoned == 1).await;
    assert_eq!(upstream.counts().answered, 0);
}

#[tokio::test]
async fn queued_scripts_come_before_the_standing_one() {
    let upstream = Upstream::start(Chat::new("fine", 5, 1)).await;
    upstream.push(Script::status(503));
    let body = json!({"messages": []});
    assert_eq!(direct(&upstream).chat(&body).await.status, 503);
    assert_eq!(direct(&upstream).chat(&body).await.content(), "fine");
    assert_eq!(upstream.seen().len(), 2);
}
