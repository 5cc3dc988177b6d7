//! Asking a model which of two answers is good.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_policies::{Policy, Usage};
use tollgate_router::{prompt_tokens, prompt_tokens_upper};

use super::errand::{Errand, Unanswered};
use crate::app::App;
use crate::said;

/// Longest text of each part shown to the judge, characters.
const SHOWN: usize = 6000;
/// Tokens of a verdict.
const VERDICT_TOKENS: u64 = 8;

const TASK: &str = "You judge answers. Read the request and the two answers. Reply with one capital letter only: A if only \
                    answer A is correct and useful, B if only answer B is, C if both are, D if neither is.";

/// What is to be judged.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The request that was answered twice.
    pub(super) request: &'a str,
    /// Its conversation.
    pub(super) asked: String,
    /// The answer of the model that served.
    pub(super) served: &'a str,
    /// The baseline's.
    pub(super) baseline: &'a str,
    /// Whether the served answer is shown first: judges prefer a place, so it is drawn.
    pub(super) served_first: bool,
}

/// Whether the answers are good: the served one, the baseline's; `None` if the judge gave no verdict.
pub(super) async fn judge(
    app: &Arc<App>,
    policy: &Policy,
    place: usize,
    question: Question<'_>,
) -> Result<Option<(bool, bool)>, Unanswered> {
    let model = &app.catalog.models()[place];
    let (first, second) = match question.served_first {
        true => (question.served, question.baseline),
        false => (question.baseline, question.served),
    };
    let shown = |text: &str| text.chars().take(SHOWN).collect::<String>();
    let text = format!(
        "<request>\n{}\n</request>\n<answer_a>\n{}\n</answer_a>\n<answer_b>\n{}\n</answer_b>",
        shown(&question.asked),
        shown(first),
        shown(second)
    );
    let prompt = prompt_tokens([TASK, text.as_str()]);
    let upper = prompt_tokens_upper((TASK.len() + text.len()) as u64, 2);
    let body = json!({
        "model": model.upstream_model,
        "messages": [{ "role": "system", "content": TASK }, { "role": "user", "content": text }],
        "max_tokens": VERDICT_TOKENS,
        "temperature": 0,
    });
    // Of a model paid by time the most is the time that an answer may take.
    let wait = u64::try_from(app.limits.answer_wait.as_micros()).unwrap_or(u64::MAX);
    let usage = Usage { prompt_tokens: prompt, completion_tokens: VERDICT_TOKENS, ..Usage::default() };
    let errand = Errand {
        app,
        policy,
        request: question.request,
        purpose: "judge",
        place,
        body: Bytes::from(body.to_string()),
        service_tier: None,
        worst: model.price.worst_case(upper, VERDICT_TOKENS, wait, None),
        expected: model.price.cost(&usage),
    };
    let answer = errand.run().await?;
    // A verdict that goes on after its letter is cut, and a verdict all the same.
    let verdict = said::whole(&answer).or_else(|| said_at_all(&answer));
    Ok(verdict.and_then(|text| letter(&text)).map(|letter| match (letter, question.served_first) {
        ('A', true) | ('B', false) => (true, false),
        ('A' | 'B', _) => (false, true),
        ('C', _) => (true, true),
        _ => (false, false),
    }))
}

fn said_at_all(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    Some(answer.pointer("/choices/0/message/content")?.as_str()?.to_owned())
}

/// The verdict's letter: the one it begins with, else the only one in it. `A` before a small letter is an article.
fn letter(text: &str) -> Option<char> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut first = true;
    while let Some(at) = rest.find(char::is_alphanumeric) {
        let word = &rest[at..];
        let end = word.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(word.len());
        let after = &word[end..];
        let next = after.strip_prefix(' ').unwrap_or_default();
        let listed = next.starts_with("and ") || next.starts_with("or ");
        let article = next.starts_with(char::is_lowercase) && !listed;
        match &word[..end] {
            "A" if article => {}
            "A" | "B" | "C" | "D" if first => return word.chars().next(),
            "A" | "B" | "C" | "D" => found.extend(word.chars().next()),
            _ => {}
        }
        (rest, first) = (after, false);
    }
    let verdict = found.first().copied();
    verdict.filter(|verdict| found.iter().all(|letter| letter == verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_its_letter() {
        assert_eq!(letter("B"), Some('B'));
        assert_eq!(letter("**C** because both"), Some('C'));
        assert_eq!(letter("Answer: D."), Some('D'));
        assert_eq!(letter("I cannot tell"), None);
        assert_eq!(letter("Both answers"), None);
        assert_eq!(letter("A correct answer is B"), Some('B'), "an article is no verdict");
        assert_eq!(letter("I think A and B are both"), None, "which of the two?");
        assert_eq!(letter("B, since A is wrong"), Some('B'));
        assert_eq!(letter("A"), Some('A'));
    }
}
