//! Whether two answers come to the same, where that can be told without understanding them.
//!
//! JSON is compared as values, results of calculations as numbers, chosen options by their letter, short answers by their
//! words. Anything else is [`Likeness::Unclear`], and left to a judge or not judged at all: code is not run here, for
//! nothing here is a place where a stranger's code may safely run.

use serde_json::Value;

/// How two answers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// They come to the same.
    Same,
    /// They do not.
    Different,
    /// It cannot be told like this.
    Unclear,
}

/// Longest answer, in words, that is compared word by word.
const SHORT: usize = 8;
/// An answer of at most so many words is a name, a label or a figure: another one is another answer.
const LABEL: usize = 3;

/// Compares two answers to a request of this domain.
pub(super) fn compare(domain: &str, one: &str, other: &str) -> Likeness {
    let pair = |found: fn(&str) -> Option<String>| Some((found(one)?, found(other)?));
    if let (Some(one), Some(other)) = (json(one), json(other)) {
        return told(one == other);
    }
    let (ours, theirs) = (words(one), words(other));
    if !ours.is_empty() && ours == theirs {
        return Likeness::Same;
    }
    if let Some((one, other)) =
        pair(marked).or_else(|| if domain == "math" { pair(last_number) } else { None })
    {
        return match (number(&one), number(&other)) {
            (Some(one), Some(other)) => told(equal(one, other)),
            _ => told(words(&one) == words(&other)),
        };
    }
    if let Some((one, other)) = pair(option) {
        return told(one == other);
    }
    let (short, long) = if ours.len() <= theirs.len() { (&ours, &theirs) } else { (&theirs, &ours) };
    if short.is_empty() || long.len() > SHORT {
        return Likeness::Unclear;
    }
    if short.len() <= LABEL && long.windows(short.len()).any(|window| window == short.as_slice()) {
        let negated = long.iter().any(|word| ["not", "no", "never"].contains(&word.as_str()));
        return if negated { Likeness::Unclear } else { Likeness::Same };
    }
    if long.len() <= LABEL { Likeness::Different } else { Likeness::Unclear }
}

fn told(same: bool) -> Likeness {
    if same { Likeness::Same } else { Likeness::Different }
}

/// An object or array, bare or in a code fence. Numbers are equal as JSON numbers, the order of keys does not matter.
fn json(text: &str) -> Option<Value> {
    let text = text.trim();
    let fenced = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let text = fenced.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner).trim());
    serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array())
}

/// A result marked as such: after `####`, in `\boxed{…}`, or after "answer is" or "answer:".
fn marked(text: &str) -> Option<String> {
    let line_of =
        |rest: &str| rest.lines().next().unwrap_or_default().trim().trim_end_matches('.').to_owned();
    if let Some((_, rest)) = text.rsplit_once("####") {
        return Some(line_of(rest));
    }
    if let Some((_, rest)) = text.rsplit_once("\\boxed{") {
        return rest.split('}').next().map(str::to_owned);
    }
    // Cut at the same places as the original: only ASCII letters change.
    let lower = text.to_ascii_lowercase();
    let at =
        ["answer is", "answer:"].iter().filter_map(|mark| Some(lower.rfind(mark)? + mark.len())).max()?;
    Some(line_of(text[at..].trim_start_matches([':', '*', ' ']))).filter(|found| !found.is_empty())
}

/// The last number in a text.
fn last_number(text: &str) -> Option<String> {
    let part_of_number = |letter: char| letter.is_ascii_digit() || ".,-".contains(letter);
    text.split(|letter| !part_of_number(letter))
        .map(|word| word.trim_end_matches(['.', ',', '-']))
        .rfind(|word| number(word).is_some())
        .map(str::to_owned)
}

/// A figure as people write it: `$1,234.50`, `50%`, `**7**`.
fn number(text: &str) -> Option<f64> {
    let bare: String = text.chars().filter(|letter| !",$€£%* ".contains(*letter)).collect();
    bare.trim_end_matches('.').parse().ok().filter(|number: &f64| number.is_finite())
}

fn equal(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-6 * one.abs().max(other.abs()).max(1.0)
}

/// The letter of a chosen option: `B`, `(B)`, `B) because`, `B. Paris`.
fn option(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches(['(', '*', '[']);
    let mut letters = text.chars();
    let letter = letters.next().filter(|letter| ('A'..='J').contains(letter))?;
    match letters.next() {
        None | Some(')' | '.' | ':' | '*' | ']') => Some(letter.to_string()),
        Some(_) => None,
    }
}

/// Lower-case words without punctuation at their ends; articles do not count.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| word.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase())
        .filter(|word| !word.is_empty() && !["the", "a", "an"].contains(&word.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Likeness::{Different, Same, Unclear};
    use super::*;

    #[test]
    fn answers_are_compared_by_what_they_come_to() {
        let cases = [
            ("knowledge", "Paris", "paris.", Same),
            ("knowledge", "Paris", "The capital is Paris.", Same),
            ("knowledge", "Paris", "It is not Paris.", Unclear),
            ("knowledge", "Paris", "Lyon", Different),
            ("classification", "positive", "negative", Different),
            (
                "chat",
                "Hello! How can I help you today with that?",
                "Hi there, what may I do for you now?",
                Unclear,
            ),
            ("math", "So he pays $1,200.", "12 * 100 = 1200.00", Same),
            ("math", "She has 7 left", "She has 8 left", Different),
            ("math", "so \\boxed{42}", "The answer is 42.", Same),
            ("reasoning", "Therefore\n#### 5", "#### 6", Different),
            ("knowledge", "(B) because it is", "B. Water", Same),
            ("knowledge", "The answer is B.", "The answer is C.", Different),
            ("code", "{\"a\": 1, \"b\": [2]}", "```json\n{\"b\":[2],\"a\":1}\n```", Same),
            ("code", "{\"a\": 1}", "{\"a\": 2}", Different),
            ("code", "def f(): return 1", "f = lambda: 1  # the shortest way of all to write it", Unclear),
            ("chat", "", "", Unclear),
        ];
        for (domain, one, other, wanted) in cases {
            assert_eq!(compare(domain, one, other), wanted, "{one:?} against {other:?}");
            assert_eq!(compare(domain, other, one), wanted, "{other:?} against {one:?}");
        }
    }
}
