//! Takes away what surrounds a request without changing it: greetings, thanks, "Question:", "Answer:".
//!
//! People and benchmarks wrap the same request in many ways, and a route must not hang on that. Phrases
//! are taken off both ends, whole words only and in any case. A text that is nothing but such phrases
//! stays as it is: a greeting is a request, too.

/// Phrases that may stand before a request, longer ones before their own beginnings.
const BEFORE: [&str; 48] = [
    "i hope this message finds you well",
    "i hope you are doing well",
    "i hope you're doing well",
    "hope you are well",
    "hope you're well",
    "i was wondering if you could help me with this",
    "i was wondering if you could",
    "i would appreciate it if you could",
    "would you be so kind as to",
    "would you kindly",
    "could you please help me with this",
    "could you please help me with the following",
    "could you please",
    "could you kindly",
    "can you please",
    "can you help me with this",
    "can you help me with the following",
    "please help me with this",
    "please help me with the following",
    "help me with this",
    "i need help with this",
    "i need help with the following",
    "i have a question for you",
    "i have a question",
    "quick question",
    "please answer the following question",
    "please answer this question",
    "answer the following question",
    "answer this question",
    "here is a question",
    "here is my question",
    "here is a problem",
    "consider the following question",
    "the following is a question",
    "good morning",
    "good afternoon",
    "good evening",
    "dear assistant",
    "hi there",
    "hello there",
    "hey there",
    "hello",
    "hi",
    "hey",
    "please",
    "kindly",
    "question:",
    "q:",
];

/// Phrases that may stand after a request.
const AFTER: [&str; 19] = [
    "thank you very much in advance",
    "thank you so much in advance",
    "thank you in advance",
    "thanks a lot in advance",
    "many thanks in advance",
    "thanks in advance",
    "thank you very much",
    "thank you so much",
    "thanks so much",
    "thanks a lot",
    "many thanks",
    "thank you",
    "thanks",
    "i would really appreciate it",
    "i appreciate your help",
    "please",
    "the answer is",
    "answer:",
    "a:",
];

/// `text` without the phrases around it; all of it when nothing else would be left.
pub(crate) fn request(text: &str) -> &str {
    let mut rest = text.trim();
    while let Some(shorter) = BEFORE.iter().find_map(|phrase| without_start(rest, phrase)) {
        rest = shorter;
    }
    while let Some(shorter) = AFTER.iter().find_map(|phrase| without_end(rest, phrase)) {
        rest = shorter;
    }
    if rest.chars().any(char::is_alphanumeric) { rest } else { text.trim() }
}

/// What may stand between a phrase and the request.
fn is_gap(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | '.' | '!' | ':' | ';' | '-' | '–' | '—')
}

fn without_start<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let start = text.get(..phrase.len())?;
    let rest = &text[phrase.len()..];
    let ends = phrase.ends_with(':') || rest.starts_with(is_gap);
    (start.eq_ignore_ascii_case(phrase) && ends).then(|| rest.trim_start_matches(is_gap))
}

fn without_end<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let text = if phrase.ends_with(':') { text.trim_end() } else { text.trim_end_matches(is_gap) };
    let cut = text.len().checked_sub(phrase.len())?;
    let end = text.get(cut..)?;
    let rest = &text[..cut];
    // A phrase starts a sentence or a line, so that "write a letter to say thanks" keeps its thanks.
    let starts = rest.trim_end_matches(' ').ends_with(['.', '!', '?', ',', ';', '\n']);
    (end.eq_ignore_ascii_case(phrase) && (starts || phrase.ends_with(':') && rest.ends_with(' ')))
        .then(|| rest.trim_end())
}

#[cfg(test)]
mod tests {
    use super::request;

    #[test]
    fn what_surrounds_a_request_is_taken_away() {
        let question = "What is the capital of Chile?";
        for wrapped in [
            "  What is the capital of Chile?\n",
            "Hi there! Could you please answer the following question: What is the capital of Chile?",
            "hello, I have a question. What is the capital of Chile? Thanks in advance!",
            "Question: What is the capital of Chile?\nAnswer:",
            "Q: What is the capital of Chile? A:",
            "Good morning. What is the capital of Chile? Thank you very much.",
            "HELLO! PLEASE ANSWER THIS QUESTION: What is the capital of Chile?",
        ] {
            // "Could you please" and "answer …" are two phrases; both go.
            assert_eq!(request(wrapped), question, "{wrapped}");
        }
    }

    #[test]
    fn what_belongs_to_a_request_stays() {
        for text in [
            "Hello",
            "hi!",
            "Thanks a lot",
            "Highlight the verbs.",
            "Write a letter to say thanks.",
            "",
            " ",
            "?",
        ] {
            assert_eq!(request(text), text.trim(), "{text}");
        }
    }
}
