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

/// Words that turn what stands beside them round.
const NEGATIONS: [&str; 3] = ["not", "no", "never"];
/// Signs that belong to the number they stand before.
const SIGNS: &str = "+-<>=≤≥≠±";
/// The end of names that differ by nothing else: C, C++, C#.
const SUFFIXES: &str = "+#";
/// What means something in code, at a word's beginning or end.
const CODE: &str = "+-<>=()[]{}/\\^&|!%\"'$@~#";

/// Compares two answers to a request of this domain.
pub(super) fn compare(domain: &str, one: &str, other: &str) -> Likeness {
    let pair = |found: fn(&str) -> Option<String>| Some((found(one)?, found(other)?));
    if let (Some(one), Some(other)) = (json(one), json(other)) {
        return told(same_json(&one, &other));
    }
    let ours = words(domain, one);
    if !ours.is_empty() && ours == words(domain, other) {
        return Likeness::Same;
    }
    if let (Some(one), Some(other)) = (number(one), number(other)) {
        return told(equal(one, other));
    }
    if let Some((one, other)) =
        pair(marked).or_else(|| if domain == "math" { pair(last_number) } else { None })
    {
        return match (number(&one), number(&other)) {
            (Some(one), Some(other)) => told(equal(one, other)),
            _ => in_words(domain, &one, &other),
        };
    }
    in_words(domain, one, other)
}

/// Compares short answers by the option they choose, or by their words.
fn in_words(domain: &str, one: &str, other: &str) -> Likeness {
    let (ours, theirs) = (words(domain, one), words(domain, other));
    if !ours.is_empty() && ours == theirs {
        return Likeness::Same;
    }
    if let (Some(one), Some(other)) = (option(one), option(other)) {
        return told(one == other);
    }
    let (short, long) = if ours.len() <= theirs.len() { (&ours, &theirs) } else { (&theirs, &ours) };
    if short.is_empty() || long.len() > SHORT {
        return Likeness::Unclear;
    }
    if short.len() <= LABEL && long.windows(short.len()).any(|window| window == short.as_slice()) {
        let negated = long.iter().any(|word| NEGATIONS.contains(&word.as_str()));
        return if negated { Likeness::Unclear } else { Likeness::Same };
    }
    // One formula can be written in many ways, a figure spelt out.
    let formula = one.contains('\\') || other.contains('\\');
    let spelt = number(one).is_some() != number(other).is_some();
    if long.len() <= LABEL && !formula && !spelt { Likeness::Different } else { Likeness::Unclear }
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

/// Whether two values are equal; 1 and 1.0 are.
fn same_json(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // Whole numbers exactly: as floats, long ids that differ are equal.
        (Value::Number(a), Value::Number(b)) => {
            a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(one, other)| same_json(one, other))
        }
        (Value::Object(a), Value::Object(b)) => {
            let in_other =
                |(key, one): (&String, &Value)| b.get(key).is_some_and(|other| same_json(one, other));
            a.len() == b.len() && a.iter().all(in_other)
        }
        _ => one == other,
    }
}

/// A result marked as such: after `####`, in `\boxed{…}`, or after "answer is" or "answer:".
fn marked(text: &str) -> Option<String> {
    let line_of =
        |rest: &str| rest.lines().next().unwrap_or_default().trim().trim_end_matches('.').to_owned();
    if let Some((_, rest)) = text.rsplit_once("####") {
        return Some(line_of(rest));
    }
    if let Some((_, rest)) = text.rsplit_once("\\boxed{") {
        return Some(rest[..closing(rest)].to_owned());
    }
    // Cut at the same places as the original: only ASCII letters change.
    let lower = text.to_ascii_lowercase();
    let at =
        ["answer is", "answer:"].iter().filter_map(|mark| Some(lower.rfind(mark)? + mark.len())).max()?;
    Some(line_of(text[at..].trim_start_matches([':', '*', ' ']))).filter(|found| !found.is_empty())
}

/// Where the brace that was opened before this text is closed; its end if it is not.
fn closing(text: &str) -> usize {
    let mut open = 1;
    let closes = |letter: char| {
        open += i32::from(letter == '{') - i32::from(letter == '}');
        open == 0
    };
    text.find(closes).unwrap_or(text.len())
}

/// The last number in a text.
fn last_number(text: &str) -> Option<String> {
    let part_of_number = |letter: char| letter.is_ascii_digit() || ".,-−".contains(letter);
    text.split(|letter| !part_of_number(letter))
        .map(|word| word.trim_end_matches(['.', ',', '-']))
        .rfind(|word| number(word).is_some())
        .map(str::to_owned)
}

/// A figure as people write it: `$1,234.50`, `50%`, `**7**`; `1, 2` is none.
fn number(text: &str) -> Option<f64> {
    let bare = text.trim_matches(|letter: char| letter.is_whitespace() || "*%".contains(letter));
    let bare = bare.trim_end_matches(['*', '%', ' ', '.']);
    let bare: String = bare.chars().filter(|letter| !"$€£".contains(*letter)).map(ascii_minus).collect();
    let whole = bare.split('.').next().unwrap_or_default();
    let thousands = whole.split(',').skip(1).all(|group| group.len() == 3);
    let bare: String = bare.trim().chars().filter(|letter| !thousands || *letter != ',').collect();
    bare.parse().ok().filter(|number: &f64| number.is_finite())
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

/// Lower-case words without punctuation at their ends, but with the signs that change what they say; articles do not
/// count, nor do bullets and dashes outside of calculations and code.
fn words(domain: &str, text: &str) -> Vec<String> {
    let exact = ["math", "code"].contains(&domain);
    let word = |word: &str| {
        let word: String = word.to_lowercase().chars().map(ascii_minus).collect();
        let signs = |more: &'static str| {
            move |letter: char| domain == "code" && CODE.contains(letter) || more.contains(letter)
        };
        let (leads, ends) = (signs(SIGNS), signs(SUFFIXES));
        if !word.contains(char::is_alphanumeric) {
            return if exact {
                word.trim_matches(['.', ',', ';', ':', '`']).to_owned()
            } else {
                String::new()
            };
        }
        let end = word.trim_end_matches(|letter: char| !letter.is_alphanumeric() && !ends(letter));
        let start = end
            .trim_start_matches(|letter: char| !letter.is_alphanumeric() && !leads(letter) && letter != '.');
        // A sign or a point before anything but a number is a bullet or a dash.
        let bare = start.trim_start_matches(|letter: char| !letter.is_alphanumeric());
        let counts = exact || bare.starts_with(|letter: char| letter.is_numeric());
        (if counts { start } else { bare }).to_owned()
    };
    text.split_whitespace()
        .map(word)
        .filter(|word| !word.is_empty() && !["the", "a", "an"].contains(&word.as_str()))
        .collect()
}

/// Typographic minus signs as the one that programs write.
fn ascii_minus(letter: char) -> char {
    if ['−', '–'].contains(&letter) { '-' } else { letter }
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
            ("code", "{\"a\": [1, 2.5]}", "{\"a\": [1.0, 2.5]}", Same),
            ("code", "{\"id\": 9007199254740993}", "{\"id\": 9007199254740992}", Different),
        ];
        told_as(&cases);
    }

    #[test]
    fn signs_that_change_an_answer_make_another() {
        told_as(&[
            ("knowledge", "-5", "5", Different),
            ("knowledge", "−5 °C", "-5 °C", Same),
            ("knowledge", "It is .5 per cent.", "It is 5 per cent.", Unclear),
            ("math", "x = -2", "x = 2", Different),
            ("math", "a - b", "a + b", Different),
            ("knowledge", "C++", "C", Different),
            ("knowledge", "C#.", "C#", Same),
            ("knowledge", "$1,200.00", "1200", Same),
            ("knowledge", "1, 2", "12", Unclear),
            ("math", "\\boxed{1,2}", "\\boxed{12}", Unclear),
            ("math", "5 %", "**5%**.", Same),
            ("code", "while a < b and b < 10: step(a)", "while a > b and b < 10: step(a)", Unclear),
            ("code", "return []", "return {}", Different),
            ("code", "`git status`", "Run `git status`.", Same),
            ("chat", "- Paris", "Paris!", Same),
        ]);
    }

    #[test]
    fn marked_results_are_read_whole_and_compared_by_what_they_say() {
        told_as(&[
            ("math", "\\boxed{\\frac{1}{2}}", "\\boxed{\\frac{1}{3}}", Unclear),
            ("math", "\\boxed{\\frac{1}{2}}", "thus \\boxed{\\frac{1}{2}}.", Same),
            ("math", "The answer is 42 apples.", "The answer is 42.", Same),
            ("knowledge", "The answer is Paris.", "The answer is Paris, the capital of France.", Same),
            ("knowledge", "The answer is **B**.", "The answer is B) Water.", Same),
            ("knowledge", "The answer is two.", "The answer is 2.", Unclear),
            ("knowledge", "The answer is not Paris.", "The answer is Paris.", Unclear),
        ]);
    }

    fn told_as(cases: &[(&str, &str, &str, Likeness)]) {
        for (domain, one, other, wanted) in cases {
            assert_eq!(compare(domain, one, other), *wanted, "{one:?} against {other:?}");
            assert_eq!(compare(domain, other, one), *wanted, "{other:?} against {one:?}");
        }
    }
}
