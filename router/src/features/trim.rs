//! Takes away what surrounds a request without changing it: greetings, thanks, "Question:", "Answer:".
//!
//! People and benchmarks wrap the same request in many ways, and a route must not hang on that. Phrases
//! are taken off both ends, whole words only and in any case. A text that is nothing but such phrases
//! stays as it is: a greeting is a request, too.

/// Phrases that may stand before a request, longer ones first, so that none hides one that begins with it.
const BEFORE: [&str; 98] = [
    "i was wondering if you could help me with this",
    "could you please help me with the following",
    "please answer the following question",
    "could you help me with the following",
    "i need your help with the following",
    "would you mind helping me with this",
    "i hope this message finds you well",
    "i would appreciate it if you could",
    "could you please help me with this",
    "can you help me with the following",
    "please help me with the following",
    "i hope you are having a good day",
    "i would like your help with this",
    "can you please help me with this",
    "i would be grateful if you could",
    "consider the following question",
    "i have a quick question for you",
    "i need your help with this task",
    "i could use some help with this",
    "please respond to the following",
    "i need help with the following",
    "i'd appreciate it if you could",
    "answer the following question",
    "please help me with this task",
    "i was wondering if you could",
    "i'd like your help with this",
    "i'd be grateful if you could",
    "please answer this question",
    "the following is a question",
    "could you help me with this",
    "please answer the following",
    "would you be so kind as to",
    "i need your help with this",
    "i need some help with this",
    "help me with the following",
    "i hope you are doing well",
    "can you help me with this",
    "i have a question for you",
    "i hope you're doing well",
    "please help me with this",
    "hope you are doing well",
    "sorry for bothering you",
    "i have a quick question",
    "hope you're doing well",
    "i have a quick request",
    "i have a small request",
    "i need help with this",
    "i have a task for you",
    "answer this question",
    "answer the following",
    "here is the question",
    "here is my question",
    "i hope you are well",
    "sorry to bother you",
    "i would like you to",
    "here is a question",
    "i hope you're well",
    "i hope all is well",
    "sorry to interrupt",
    "here's my question",
    "hope you are well",
    "help me with this",
    "i have a question",
    "here is a problem",
    "if you don't mind",
    "here's a question",
    "hope you're well",
    "would you kindly",
    "could you please",
    "could you kindly",
    "hope all is well",
    "i have a request",
    "here is the task",
    "i'd like you to",
    "here is my task",
    "can you please",
    "quick question",
    "good afternoon",
    "dear assistant",
    "i want you to",
    "i need you to",
    "good morning",
    "good evening",
    "hello there",
    "if possible",
    "hey there",
    "question:",
    "excuse me",
    "greetings",
    "hi there",
    "good day",
    "dear ai",
    "please",
    "kindly",
    "hello",
    "hey",
    "hi",
    "q:",
];

/// Phrases that may stand after a request.
const AFTER: [&str; 45] = [
    "thank you in advance for your help",
    "thanks in advance for your help",
    "thank you very much in advance",
    "i really appreciate your help",
    "thank you so much in advance",
    "i would really appreciate it",
    "thanks a lot in advance",
    "thank you for your help",
    "thank you for your time",
    "many thanks in advance",
    "i appreciate your help",
    "i really appreciate it",
    "i would appreciate it",
    "give your best answer",
    "thank you in advance",
    "thanks for your help",
    "thanks for your time",
    "please and thank you",
    "thank you very much",
    "thanks for helping",
    "thanks in advance",
    "thank you so much",
    "i'd appreciate it",
    "much appreciated",
    "thank you kindly",
    "have a great day",
    "i appreciate it",
    "thank you again",
    "have a nice day",
    "thanks so much",
    "take your time",
    "the answer is",
    "thanks a lot",
    "thanks again",
    "best regards",
    "kind regards",
    "many thanks",
    "let me know",
    "please help",
    "thank you",
    "answer:",
    "thanks",
    "please",
    "cheers",
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
            "Sorry to bother you, I have a quick request: what is the capital of Chile?",
            "HELLO! PLEASE ANSWER THIS QUESTION: What is the capital of Chile?",
        ] {
            // "Could you please" and "answer …" are two phrases; both go.
            assert!(request(wrapped).eq_ignore_ascii_case(question), "{wrapped}");
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
