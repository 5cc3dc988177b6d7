//! What was read once is not read again, whichever slot read it: copies of cells between slots, and what they must not
//! change.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;

use hyper::StatusCode;
use serde_json::{Value, json};
use support::{Client, Running, ask_with, chat, start, text, until_stats};
use tokio::task::JoinSet;

/// A worker of so many slots.
async fn worker(parallel: u32) -> Running {
    let mut options = support::options();
    options.parallel = parallel;
    start(options).await
}

/// Some three hundred tokens that many talks begin with; `kind` makes them others.
fn system(kind: &str) -> String {
    format!("You are a careful {kind} who answers in few words. ").repeat(24)
}

/// The next turn of a talk.
fn turn(system: &str, said: &[(&str, &str)], question: &str, reuse: bool) -> Value {
    let mut messages = vec![json!({"role": "system", "content": system})];
    for (asked, answered) in said {
        messages.push(json!({"role": "user", "content": asked}));
        messages.push(json!({"role": "assistant", "content": answered}));
    }
    messages.push(json!({"role": "user", "content": question}));
    ask_with("", 8, json!({"messages": messages, "cache_prompt": reuse}))
}

/// Tokens of a prompt, and those of them that were not read for it.
fn read(answer: &Value) -> (u64, u64) {
    let usage = &answer["usage"];
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    (usage["prompt_tokens"].as_u64().unwrap(), cached)
}

const QUESTIONS: [&str; 4] = ["What is a fox?", "Name a colour.", "Where is Rome?", "Count to three."];

#[tokio::test]
async fn talks_that_arrive_together_read_their_common_beginning_once() {
    let worker = worker(4).await;
    let mut answers = JoinSet::new();
    for question in QUESTIONS {
        let address = worker.to_string();
        answers.spawn(async move { chat(&address, &turn(&system("clerk"), &[], question, true)).await });
    }
    let mut unread = Vec::new();
    while let Some(answer) = answers.join_next().await {
        let (status, answer) = answer.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        let (prompt, cached) = read(&answer);
        assert!(prompt > 200, "{answer}");
        unread.push(prompt - cached);
    }
    unread.sort_unstable();
    assert!(unread[3] > 200, "one of them read it: {unread:?}");
    assert!(unread[..3].iter().all(|&unread| unread < 40), "the others did not: {unread:?}");
}

#[tokio::test]
async fn another_talk_with_the_same_beginning_leaves_the_first_one_warm() {
    let worker = worker(2).await;
    let clerk = system("clerk");
    // Long enough that taking the slot over would lose more than a copy costs.
    let [fox, colour] =
        ["foxes", "colours"].map(|what| format!("Think of {what} before you answer. ").repeat(8));
    let (_, first) = chat(&worker, &turn(&clerk, &[], &fox, true)).await;
    let (_, other) = chat(&worker, &turn(&clerk, &[], &colour, true)).await;
    assert_eq!(read(&first).1, 0);
    assert!(read(&other).1 > 200, "{other}");
    for (question, earlier) in [(&fox, &first), (&colour, &other)] {
        let said = [(&question[..], text(earlier))];
        let (_, next) = chat(&worker, &turn(&clerk, &said, "And then?", true)).await;
        assert!(read(&next).1 + 8 > read(earlier).0, "{question}: {earlier} then {next}");
    }
}

#[tokio::test]
async fn an_answer_does_not_tell_whether_its_beginning_was_copied() {
    let worker = worker(3).await;
    let clerk = system("clerk");
    let likely = |reuse| {
        let mut body = turn(&clerk, &[], QUESTIONS[2], reuse);
        (body["logprobs"], body["top_logprobs"]) = (true.into(), 5.into());
        body
    };
    let (_, afresh) = chat(&worker, &likely(false)).await;
    // Three talks, of which the last one copies and the slot it copies to held something else.
    for (kind, question) in [("cook", QUESTIONS[0]), ("clerk", QUESTIONS[1]), ("cook", QUESTIONS[3])] {
        chat(&worker, &turn(&system(kind), &[], question, true)).await;
    }
    let (_, copied) = chat(&worker, &likely(true)).await;
    assert_eq!(read(&afresh).1, 0);
    assert!(read(&copied).1 > 200, "{copied}");
    let tokens = |answer: &Value| answer["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    for (token, other) in tokens(&afresh).iter().zip(&tokens(&copied)) {
        let chance = |token: &Value| token["logprob"].as_f64().unwrap();
        assert_eq!(token["token"], other["token"]);
        // Read in other portions, sums are rounded differently; a wrong cell would change far more.
        assert!((chance(token) - chance(other)).abs() < 0.05, "{token} against {other}");
    }
}

#[tokio::test]
async fn when_the_one_that_reads_for_others_goes_away_they_read_on() {
    let worker = worker(3).await;
    let long = system("clerk").repeat(3);
    let mut leader = Client::connect(&worker).await;
    let body = turn(&long, &[], QUESTIONS[0], true);
    let mut asked = Box::pin(leader.chat(&body));
    tokio::select! {
        _ = &mut asked => unreachable!("a long prompt takes longer than a look at the figures"),
        _ = until_stats(&worker, |stats| stats["active"] == 1) => {}
    }
    let mut answers = JoinSet::new();
    for question in &QUESTIONS[1..3] {
        let (address, body) = (worker.to_string(), turn(&long, &[], question, true));
        answers.spawn(async move { chat(&address, &body).await });
    }
    tokio::select! {
        _ = &mut asked => {}
        _ = until_stats(&worker, |stats| stats["active"] == 3) => {}
    }
    drop(asked);
    drop(leader);
    let mut unread = 0;
    while let Some(answer) = answers.join_next().await {
        let (status, answer) = answer.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        let (prompt, cached) = read(&answer);
        unread += prompt - cached;
        assert!(unread < prompt + 80, "the two of them read it once at most: {answer}");
    }
}
