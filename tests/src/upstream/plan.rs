//! Turns a script into an HTTP answer: a list of steps that the body takes one after the other.
//!
//! The body knows whether it was read to its end, which is how a test learns that the gateway gave up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Response, header};
use serde_json::{Value, json};

use super::{Body, Chat, Gate, Script, Shared};

enum Step {
    Send(String),
    Pass(Gate),
    Cut,
}

/// Answers everything but chats: the model list that gateways probe.
pub(super) fn listing() -> Result<Response<Body>, std::io::Error> {
    let list = json!({"object": "list", "data": [{"id": "scripted-upstream", "object": "model"}]});
    plain(
        200,
        "application/json",
        &[],
        Full::from(list.to_string()).map_err(|never| match never {}).boxed_unsync(),
    )
}

/// Answers with a page that a test has laid down.
pub(super) fn page(status: u16, body: String) -> Result<Response<Body>, std::io::Error> {
    plain(status, "text/plain", &[], Full::from(body).map_err(|never| match never {}).boxed_unsync())
}

/// Carries out one script.
pub(super) async fn respond(
    script: Script,
    asked: &Value,
    shared: Arc<Shared>,
) -> Result<Response<Body>, std::io::Error> {
    match script {
        Script::Chat(chat) => answer(*chat, asked, shared).await,
        Script::Status { code, body, headers } => {
            plain(code, "application/json", &headers, steps([Step::Send(body)].into(), shared))
        }
        Script::Raw { content_type, body } => {
            plain(200, content_type, &[], steps([Step::Send(body)].into(), shared))
        }
        Script::Hang => {
            // Dropped, and counted as abandoned, when the gateway closes its side.
            let _unanswered = Progress { left: VecDeque::new(), finished: false, shared };
            std::future::pending().await
        }
        Script::Hangup => Err(std::io::Error::other("scripted hang-up")),
    }
}

async fn answer(chat: Chat, asked: &Value, shared: Arc<Shared>) -> Result<Response<Body>, std::io::Error> {
    let progress = Progress { left: VecDeque::new(), finished: false, shared };
    if chat.delay > Duration::ZERO {
        tokio::time::sleep(chat.delay).await;
    }
    if let Some((0, gate)) = &chat.gate {
        gate.passed().await;
    }
    let shared = progress.end();
    let judged = asked["logprobs"].as_bool().unwrap_or(false);
    if asked["stream"].as_bool().unwrap_or(false) {
        let usage = asked["stream_options"]["include_usage"].as_bool().unwrap_or(false);
        return plain(200, "text/event-stream", &[], steps(chunks(&chat, usage, judged), shared));
    }
    let mut plan: VecDeque<Step> = [Step::Send(whole(&chat, judged).to_string())].into();
    if chat.cut_after.is_some() {
        // Announce more than is sent: the reader sees a body that ends too early.
        plan = [Step::Send("{\"id\": \"chatcmpl-scripted\", ".to_owned()), Step::Cut].into();
    }
    plain(200, "application/json", &[], steps(plan, shared))
}

/// What is told of how likely these pieces were.
fn logprobs(chat: &Chat, pieces: &[String], judged: bool) -> Value {
    let Some(logprob) = chat.logprob.filter(|_| judged) else { return Value::Null };
    let tokens = pieces
        .iter()
        .map(|piece| json!({"token": piece, "logprob": logprob, "bytes": null, "top_logprobs": []}));
    json!({"content": tokens.collect::<Vec<_>>(), "refusal": null})
}

fn whole(chat: &Chat, judged: bool) -> Value {
    let mut body = json!({
        "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1_700_000_000, "model": chat.model,
        "choices": [{"index": 0, "finish_reason": chat.finish, "logprobs": logprobs(chat, &chat.pieces, judged),
                     "message": {"role": "assistant", "content": chat.text()}}],
    });
    if let Some(usage) = chat.usage {
        body["usage"] = usage.json();
    }
    merge(&mut body, chat);
    body
}

fn chunks(chat: &Chat, usage_asked: bool, judged: bool) -> VecDeque<Step> {
    let chunk = |choices: Value| {
        let mut chunk = json!({
            "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_700_000_000,
            "model": chat.model, "choices": choices,
        });
        merge(&mut chunk, chat);
        chunk
    };
    let frame = |value: Value| Step::Send(format!("data: {value}\n\n"));
    let mut plan = VecDeque::new();
    for (index, piece) in chat.pieces.iter().enumerate() {
        plan.extend(faults(chat, index));
        let delta = if index == 0 {
            json!({"role": "assistant", "content": piece})
        } else {
            json!({"content": piece})
        };
        let told = logprobs(chat, std::slice::from_ref(piece), judged);
        plan.push_back(frame(chunk(
            json!([{"index": 0, "delta": delta, "logprobs": told, "finish_reason": null}]),
        )));
    }
    plan.extend(faults(chat, chat.pieces.len()));
    plan.push_back(frame(chunk(json!([{"index": 0, "delta": {}, "finish_reason": chat.finish}]))));
    if let (Some(usage), true) = (chat.usage, usage_asked) {
        let mut last = chunk(json!([]));
        last["usage"] = usage.json();
        plan.push_back(frame(last));
    }
    plan.push_back(Step::Send("data: [DONE]\n\n".to_owned()));
    plan
}

/// What goes wrong after `sent` pieces.
fn faults(chat: &Chat, sent: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some((after, gate)) = &chat.gate
        && *after == sent
        && sent > 0
    {
        steps.push(Step::Pass(gate.clone()));
    }
    if chat.garbage_after == Some(sent) {
        steps.push(Step::Send("data: {\"choices\": [{]\n\n".to_owned()));
    }
    if chat.cut_after == Some(sent) {
        steps.push(Step::Cut);
    }
    steps
}

fn merge(body: &mut Value, chat: &Chat) {
    for (field, value) in &chat.extra {
        body[field.as_str()] = value.clone();
    }
}

fn plain(
    code: u16,
    content_type: &str,
    headers: &[(&'static str, &'static str)],
    body: Body,
) -> Result<Response<Body>, std::io::Error> {
    let mut response = Response::builder().status(code).header(header::CONTENT_TYPE, content_type);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).map_err(std::io::Error::other)
}

fn steps(left: VecDeque<Step>, shared: Arc<Shared>) -> Body {
    let progress = Progress { left, finished: false, shared };
    let frames = stream::unfold(progress, |mut progress| async move {
        loop {
            match progress.left.pop_front() {
                Some(Step::Send(text)) => return Some((Ok(Frame::data(Bytes::from(text))), progress)),
                Some(Step::Pass(gate)) => gate.passed().await,
                Some(Step::Cut) => {
                    // What was sent so far must leave before the connection breaks.
                    tokio::task::yield_now().await;
                    return Some((Err(std::io::Error::other("scripted cut")), progress));
                }
                None => {
                    progress.finished = true;
                    progress.shared.count(|counts| counts.answered += 1);
                    return None;
                }
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

struct Progress {
    left: VecDeque<Step>,
    finished: bool,
    shared: Arc<Shared>,
}

impl Progress {
    /// Ends without counting: another `Progress` takes over.
    fn end(mut self) -> Arc<Shared> {
        self.finished = true;
        Arc::clone(&self.shared)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.count(|counts| counts.abandoned += 1);
        }
    }
}
