//! Decides whether a piece of an answer is a call, as early as its text allows.
//!
//! What stands in a call's own tags may name any function. What stands in a fence or in the open is a call only if it
//! names a known one: JSON that was asked for shall stay text.

use super::json::{ARGUMENTS, BESIDE, NAME, call, literal, object_end};
use super::python;
use serde_json::{Map, Value};

/// What the beginning of a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// More text will tell.
    Wait,
    /// No call.
    No,
    /// Something around a call that says nothing itself; it ends here.
    Around(usize),
    /// A call of `name`, whose arguments are the object that begins at `at`. If `enclosed`, the object around both
    /// closes after them.
    Open { name: String, at: usize, enclosed: bool },
    /// A whole call that ends at `end`.
    Whole { name: String, arguments: String, end: usize },
}

impl Head {
    /// The same, of a text that has so many bytes more in front.
    fn after(self, skipped: usize) -> Head {
        match self {
            Head::Wait | Head::No => self,
            Head::Around(end) => Head::Around(end + skipped),
            Head::Open { name, at, enclosed } => Head::Open { name, at: at + skipped, enclosed },
            Head::Whole { name, arguments, end } => Head::Whole { name, arguments, end: end + skipped },
        }
    }
}

/// What a marker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opens {
    /// A call, or an array of calls, of any function.
    Call,
    /// The same of known functions only.
    KnownCall,
    /// Calls that have markers of their own.
    Calls,
    DeepSeek,
    Function,
}

const OPENERS: [(&str, Opens); 8] = [
    ("<tool_call>", Opens::Call),
    ("<|tool_call|>", Opens::Call),
    ("<|python_tag|>", Opens::Call),
    ("[TOOL_CALLS]", Opens::Call),
    ("<tools>", Opens::KnownCall),
    ("<｜tool▁calls▁begin｜>", Opens::Calls),
    ("<｜tool▁call▁begin｜>", Opens::DeepSeek),
    ("<function=", Opens::Function),
];
const SEPARATOR: &str = "<｜tool▁sep｜>";
const MISTRAL_ARGUMENTS: &str = "[ARGS]";
const MISTRAL_ID: &str = "[CALL_ID]";
const FENCE: &str = "```";
/// A fence's language is shorter than this.
const LONGEST_LANGUAGE: usize = 16;

/// What `text` begins with. At the start of a line fences and bare objects count too.
pub(super) fn head(text: &str, known: &[String], line_start: bool) -> Head {
    for (marker, opens) in OPENERS {
        if let Some(body) = text.strip_prefix(marker) {
            return opened(body, opens, known).after(marker.len());
        }
        if marker.starts_with(text) {
            return Head::Wait;
        }
    }
    if !line_start {
        return Head::No;
    }
    if let Some(body) = text.strip_prefix(FENCE) {
        return fence(body, known).after(FENCE.len());
    }
    if FENCE.starts_with(text) {
        return Head::Wait;
    }
    match text.chars().next() {
        Some('{' | '[') => listed(text, Some(known)),
        Some(_) => python::call(text, known),
        None => Head::No,
    }
}

fn opened(body: &str, opens: Opens, known: &[String]) -> Head {
    match opens {
        Opens::Call => listed(body, None),
        Opens::KnownCall => listed(body, Some(known)),
        Opens::Calls => Head::Around(0),
        Opens::DeepSeek => deepseek(body),
        Opens::Function => function(body),
    }
}

/// A call, perhaps the first of an array.
fn listed(text: &str, known: Option<&[String]>) -> Head {
    let body = text.trim_start_matches(|c: char| c.is_whitespace() || c == '[');
    let skipped = text.len() - body.len();
    let found = match body.chars().next() {
        None => Head::Wait,
        Some('{') => object(body, known),
        Some('<') if known.is_none() => match body.strip_prefix("<function=") {
            Some(body) => function(body).after("<function=".len()),
            None if "<function=".starts_with(body) => Head::Wait,
            None => Head::No,
        },
        Some(_) => match known {
            Some(known) => python::call(body, known),
            None => mistral(body),
        },
    };
    found.after(skipped)
}

/// A fence with a call in it: `body` is what follows its backticks.
fn fence(body: &str, known: &[String]) -> Head {
    let Some((language, rest)) = body.split_once('\n') else {
        return if body.len() < LONGEST_LANGUAGE { Head::Wait } else { Head::No };
    };
    // As long a language without its end was taken for text.
    if language.len() >= LONGEST_LANGUAGE || !language.trim().chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return Head::No;
    }
    let inner = rest.trim_start();
    let skipped = body.len() - inner.len();
    match inner.chars().next() {
        None => Head::Wait,
        Some('<') => match head(inner, known, false) {
            Head::Wait => Head::Wait,
            Head::No => Head::No,
            // The tags inside are read next.
            _ => Head::Around(skipped),
        },
        Some(_) => listed(inner, Some(known)).after(skipped),
    }
}

/// An object that is a call, if its names say so.
fn object(text: &str, known: Option<&[String]>) -> Head {
    let Some((key, value)) = key(text, 1) else { return refused_or_wait(text, 1) };
    if NAME.contains(&key.as_str()) {
        let Some(quote) = text[value..].chars().next() else { return Head::Wait };
        if quote != '"' {
            return if key == "function" { whole(text, known) } else { Head::No };
        }
        let Some((name, length)) = literal(&text[value..]) else { return Head::Wait };
        if !knows(known, &name) {
            return Head::No;
        }
        return named(text, name, value + length, known);
    }
    if ARGUMENTS.contains(&key.as_str()) || BESIDE.contains(&key.as_str()) {
        return whole(text, known);
    }
    Head::No
}

/// The rest of an object of which the name was read up to `at`.
fn named(text: &str, name: String, at: usize, known: Option<&[String]>) -> Head {
    let rest = text[at..].trim_start();
    if rest.is_empty() {
        return Head::Wait;
    }
    if !rest.starts_with(',') {
        return whole(text, known);
    }
    let from = text.len() - rest.len() + 1;
    match key(text, from) {
        None => refused_or_wait(text, from),
        Some((key, value)) if ARGUMENTS.contains(&key.as_str()) => match text[value..].chars().next() {
            None => Head::Wait,
            Some('{') => Head::Open { name, at: value, enclosed: true },
            Some(_) => whole(text, known),
        },
        Some(_) => whole(text, known),
    }
}

/// The key at `from`, and where its value begins.
fn key(text: &str, from: usize) -> Option<(String, usize)> {
    let rest = text[from..].trim_start();
    let (key, length) = rest.starts_with('"').then(|| literal(rest)).flatten()?;
    let value = rest[length..].trim_start().strip_prefix(':')?.trim_start();
    Some((key, text.len() - value.len()))
}

/// Without a key there is none yet, or this is no object.
fn refused_or_wait(text: &str, from: usize) -> Head {
    let rest = text[from..].trim_start();
    let unfinished = match literal(rest) {
        _ if rest.is_empty() => true,
        _ if !rest.starts_with('"') => false,
        None => true,
        Some((_, length)) => rest[length..].trim_start().is_empty(),
    };
    if unfinished { Head::Wait } else { Head::No }
}

fn whole(text: &str, known: Option<&[String]>) -> Head {
    let Some(end) = object_end(text) else { return Head::Wait };
    let read = serde_json::from_str::<Value>(&text[..end]).ok().as_ref().and_then(call);
    match read {
        Some((name, arguments)) if knows(known, &name) => Head::Whole { name, arguments, end },
        _ => Head::No,
    }
}

fn knows(known: Option<&[String]>, name: &str) -> bool {
    known.is_none_or(|known| known.iter().any(|tool| tool == name))
}

/// `name[ARGS]{…}`, with an id between them perhaps.
fn mistral(text: &str) -> Head {
    let (name, mut rest) = text.split_at(word(text));
    if let Some(id) = rest.strip_prefix(MISTRAL_ID) {
        rest = &id[word(id)..];
    }
    match rest.strip_prefix(MISTRAL_ARGUMENTS) {
        Some(rest) if !name.is_empty() => arguments(text, name, text.len() - rest.len()),
        None if MISTRAL_ARGUMENTS.starts_with(rest) || MISTRAL_ID.starts_with(rest) => Head::Wait,
        _ => Head::No,
    }
}

/// The length of the name at the beginning of `text`.
fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).unwrap_or(text.len())
}

/// `function<｜tool▁sep｜>name`, then a fence; or `name<｜tool▁sep｜>{…}`.
fn deepseek(text: &str) -> Head {
    let Some((first, rest)) = text.split_once(SEPARATOR) else { return Head::Wait };
    let at = text.len() - rest.len();
    if first != "function" {
        return arguments(text, first.trim(), at);
    }
    let Some((name, rest)) = rest.split_once('\n') else { return Head::Wait };
    let fence = "```json\n";
    match rest.trim_start().strip_prefix(fence) {
        Some(rest) => arguments(text, name.trim(), text.len() - rest.len()),
        None if fence.starts_with(rest.trim_start()) => Head::Wait,
        None => arguments(text, name.trim(), text.len() - rest.len()),
    }
}

/// The arguments from `at` on, which nothing encloses.
fn arguments(text: &str, name: &str, at: usize) -> Head {
    let rest = text[at..].trim_start();
    match rest.chars().next() {
        None => Head::Wait,
        Some('{') => Head::Open { name: name.to_owned(), at: text.len() - rest.len(), enclosed: false },
        Some(_) => Head::No,
    }
}

/// `name>{…}`, or `name>` with each parameter in tags of its own; `text` follows `<function=`.
fn function(text: &str) -> Head {
    let Some((name, rest)) = text.split_once('>') else { return Head::Wait };
    let body = rest.trim_start();
    if body.is_empty() || "<parameter=".starts_with(body) || "</function>".starts_with(body) {
        return Head::Wait;
    }
    if !body.starts_with('<') {
        return arguments(text, name, text.len() - rest.len());
    }
    let Some((parameters, _)) = body.split_once("</function>") else { return Head::Wait };
    let end = text.len() - body.len() + parameters.len();
    let mut read = Map::new();
    for parameter in parameters.split("<parameter=").skip(1) {
        let Some((key, value)) = parameter.split_once('>') else { return Head::No };
        let value = value.trim_end().strip_suffix("</parameter>").unwrap_or(value).trim_matches('\n');
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        read.insert(key.to_owned(), value);
    }
    Head::Whole { name: name.to_owned(), arguments: Value::Object(read).to_string(), end }
}
