//! Looking up what comes next, with a real model: it changes how fast an answer is written, and not what it says.
//!
//! Tokens that are computed together are summed in another order than one by one, so the last bits of a chance may differ, and
//! with them a call that was close. That much is allowed, and looked at: two answers may part only where both tokens were
//! as good as each other, or where the draw fell between them.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: a failure is its message")]

mod support;

use serde_json::{Value, json};
use std::collections::HashMap;
use support::{ask_with, chat, text};

/// How far the logarithm of a chance may be moved by the order of its sums.
const ROUNDING: f64 = 0.05;
/// How much of a draw's range may be.
const SLIVER: f64 = 0.02;

/// The tokens of an answer, each with those that were likely in its place.
fn tokens(answer: &Value) -> Vec<Value> {
    answer["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_else(|| panic!("{answer}"))
}

fn said(token: &Value) -> &str {
    token["token"].as_str().unwrap()
}

/// What was likely in a place, the likeliest first: its logarithms after the penalties for what was `written` before.
fn likely<'t>(token: &'t Value, written: &[Value], penalty: f64) -> Vec<(&'t str, f64)> {
    let mut times: HashMap<&str, f64> = HashMap::new();
    written.iter().for_each(|token| *times.entry(said(token)).or_default() += 1.0);
    let top = token["top_logprobs"].as_array().unwrap().iter();
    let bent =
        |one: &Value| one["logprob"].as_f64().unwrap() - penalty * times.get(said(one)).unwrap_or(&0.0);
    let mut likely: Vec<(&str, f64)> = top.map(|one| (said(one), bent(one))).collect();
    likely.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    likely
}

/// Whether rounding alone may have chosen the one or the other, at this temperature.
fn is_close(likely: &[(&str, f64)], one: &str, other: &str, temperature: f64) -> bool {
    let place = |wanted: &str| likely.iter().position(|(token, _)| *token == wanted);
    let (Some(one), Some(other)) = (place(one), place(other)) else { return false };
    if temperature == 0.0 {
        return (likely[one].1 - likely[other].1).abs() < ROUNDING;
    }
    // A draw goes along the tokens in this order: what lies between the two must be next to nothing.
    let weight = |(_, logprob): &(&str, f64)| (logprob / temperature).exp();
    let between: f64 = likely[one.min(other) + 1..one.max(other)].iter().map(weight).sum();
    between < SLIVER * likely.iter().map(weight).sum::<f64>()
}

/// Fails unless the answers are the same up to a close call.
fn agree(plain: &Value, guessing: &Value, (penalty, temperature): (f64, f64)) {
    let (plain, guessing) = (tokens(plain), tokens(guessing));
    let parting = plain.iter().zip(&guessing).position(|(a, b)| said(a) != said(b));
    let common = parting.unwrap_or_else(|| plain.len().min(guessing.len()));
    for (a, b) in plain.iter().zip(&guessing).take(common) {
        let moved = (a["logprob"].as_f64().unwrap() - b["logprob"].as_f64().unwrap()).abs();
        assert!(moved < ROUNDING, "{a} against {b}");
    }
    let Some(parting) = parting else {
        assert_eq!(plain.len(), guessing.len());
        return;
    };
    let likely = likely(&plain[parting], &plain[..parting], penalty);
    let (one, other) = (said(&plain[parting]), said(&guessing[parting]));
    assert!(is_close(&likely, one, other, temperature), "token {parting}: {one:?}, {other:?} of {likely:?}");
}

#[tokio::test]
async fn looking_up_what_comes_next_does_not_change_what_is_said() {
    let mut plain = support::options();
    plain.lookup = 0;
    let (plain, guessing) = (support::start(plain).await, support::start(support::options()).await);
    let list = "apple, pear, plum, cherry, grape, lemon, melon, peach, fig, date";
    let repeat = format!("Repeat this list word for word, twice: {list}. The list is: {list}.");
    let story = "Tell me a short story about a fox.";
    for (prompt, penalty, temperature) in
        [(&repeat[..], 0.0, 0.0), (story, 0.5, 0.0), (&repeat[..], 0.0, 0.7)]
    {
        let more = json!({"frequency_penalty": penalty, "temperature": temperature, "seed": 5, "ignore_eos": true,
            "logprobs": true, "top_logprobs": 20});
        let body = ask_with(prompt, 60, more);
        let (_, expected) = chat(&plain, &body).await;
        let (_, answer) = chat(&guessing, &body).await;
        agree(&expected, &answer, (penalty, temperature));
        assert_eq!(answer["usage"]["completion_tokens"], expected["usage"]["completion_tokens"]);
        // What was guessed wrong left nothing behind: the talk goes on as if nothing had been guessed.
        let messages = json!([
            {"role": "user", "content": prompt}, {"role": "assistant", "content": text(&answer)},
            {"role": "user", "content": "Thank you."},
        ]);
        let next = ask_with("", 1, json!({"messages": messages, "cache_prompt": true, "logprobs": true}));
        let chance = |answer: &Value| tokens(answer)[0]["logprob"].as_f64().unwrap();
        let (_, expected) = chat(&plain, &next).await;
        let (_, next) = chat(&guessing, &next).await;
        assert!((chance(&next) - chance(&expected)).abs() < 0.02, "{next} against {expected}");
    }
}

#[test]
fn what_is_no_close_call_is_told_from_one() {
    let likely = [("a", -0.5), ("b", -0.52), ("c", -2.0), ("d", -9.0), ("e", -9.1)];
    assert!(is_close(&likely, "a", "b", 0.0) && !is_close(&likely, "a", "c", 0.0));
    assert!(is_close(&likely, "b", "c", 1.0) && is_close(&likely, "c", "e", 1.0));
    assert!(!is_close(&likely, "a", "c", 1.0) && !is_close(&likely, "a", "unlikely", 1.0));
}
