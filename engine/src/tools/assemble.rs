//! Takes an answer apart while it is written: thoughts, text, calls.
//!
//! Text leaves at once unless it could be the beginning of a call; a call's arguments leave as they are written.
//! However the text is cut into pieces, the same parts come out (put together).

use super::head::{Head, head};
use super::json::Nesting;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// More text.
    Text(String),
    /// More of what the model thinks before it answers.
    Thought(String),
    /// A call begins.
    Call {
        /// The function's name.
        name: String,
    },
    /// More of the call's arguments, which are JSON.
    Arguments(String),
}

const THINK: &str = "<think>";
const THOUGHT: &str = "</think>";
/// What may follow a call and says nothing.
const CLOSERS: [&str; 11] = [
    "</tool_call>",
    "</tools>",
    "</function>",
    "<|/tool_call|>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
    "]",
    "}",
    ",",
    ";",
    "<|eom_id|>",
];

/// Where in an answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space was written; thoughts may begin.
    Begin,
    Thinking {
        /// Whether anything was thought yet.
        begun: bool,
    },
    /// After thoughts: white space is dropped.
    Thought,
    Text,
    Arguments {
        nesting: Nesting,
        enclosed: bool,
    },
    /// What is left of the object around a name and arguments.
    Enclosure(Option<Nesting>),
    /// After a call.
    Called,
    /// No further call is wanted.
    Over,
}

/// Takes one answer apart.
#[derive(Clone, Debug)]
pub(crate) struct Assembler {
    state: State,
    /// What is not certain yet.
    held: String,
    /// Names of the tools; `None` where none may be called.
    known: Option<Vec<String>>,
    several: bool,
    calls: usize,
    /// Whether the last thing that left ended a line.
    line_start: bool,
}

impl Assembler {
    /// For an answer that is text alone.
    pub(crate) fn plain() -> Self {
        Self::new(State::Text)
    }

    /// For an answer that may begin with thoughts; `begun` if the prompt has begun them.
    pub(crate) fn thoughtful(begun: bool) -> Self {
        Self::new(if begun { State::Thinking { begun: false } } else { State::Begin })
    }

    fn new(state: State) -> Self {
        Self { state, held: String::new(), known: None, several: false, calls: 0, line_start: true }
    }

    /// Looks for calls of these tools; unless `several`, for one only.
    pub(crate) fn with_tools(self, known: Vec<String>, several: bool) -> Self {
        Self { known: Some(known), several, ..self }
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// Takes more text.
    pub(crate) fn push(&mut self, text: &str, parts: &mut Vec<Part>) {
        self.held.push_str(text);
        while self.step(false, parts) {}
    }

    /// The answer has ended: what was held is certain now.
    pub(crate) fn finish(&mut self, parts: &mut Vec<Part>) {
        while self.step(true, parts) {}
        let rest = std::mem::take(&mut self.held);
        if self.state == State::Text && !(self.calls > 0 && rest.trim().is_empty()) {
            emit(parts, Part::Text(rest));
        }
    }

    /// Does what can be done with what is held; false when that is nothing.
    fn step(&mut self, last: bool, parts: &mut Vec<Part>) -> bool {
        if self.held.is_empty() {
            return false;
        }
        match self.state {
            State::Begin => self.begin(last),
            State::Thinking { begun } => self.think(begun, last, parts),
            State::Thought => {
                self.drop_space();
                self.enter_if(!self.held.is_empty(), State::Text)
            }
            State::Text => self.text(last, parts),
            State::Arguments { nesting, enclosed } => self.arguments(nesting, enclosed, parts),
            State::Enclosure(nesting) => self.enclosure(nesting),
            State::Called => self.called(last),
            State::Over => {
                self.held.clear();
                false
            }
        }
    }

    fn enter_if(&mut self, whether: bool, state: State) -> bool {
        if whether {
            self.state = state;
        }
        whether
    }

    fn drop_space(&mut self) {
        let space = self.held.len() - self.held.trim_start().len();
        self.held.drain(..space);
    }

    fn begin(&mut self, last: bool) -> bool {
        let text = self.held.trim_start();
        if let Some(thoughts) = text.strip_prefix(THINK) {
            self.held = thoughts.to_owned();
            self.state = State::Thinking { begun: false };
            return true;
        }
        self.enter_if(last || !THINK.starts_with(text), State::Text)
    }

    fn think(&mut self, begun: bool, last: bool, parts: &mut Vec<Part>) -> bool {
        if !begun {
            self.drop_space();
        }
        if let Some((thoughts, rest)) = self.held.split_once(THOUGHT) {
            emit(parts, Part::Thought(thoughts.trim_end().to_owned()));
            self.held = rest.to_owned();
            self.state = State::Thought;
            return true;
        }
        let kept = if last { 0 } else { unsure(&self.held, &[THOUGHT]) };
        let sure = self.held[..self.held.len() - kept].trim_end().len();
        emit(parts, Part::Thought(self.held.drain(..sure).collect()));
        self.state = State::Thinking { begun: begun || sure > 0 };
        if last {
            self.held.clear();
        }
        false
    }

    fn text(&mut self, last: bool, parts: &mut Vec<Part>) -> bool {
        let Some(known) = &self.known else {
            emit(parts, Part::Text(std::mem::take(&mut self.held)));
            return false;
        };
        let mut line_start = self.line_start;
        for (at, c) in self.held.char_indices() {
            if !c.is_whitespace() && (line_start || "<[".contains(c)) {
                match head(&self.held[at..], known, line_start) {
                    Head::No => {}
                    Head::Wait if last => {}
                    found => return self.found(at, found, parts),
                }
            }
            line_start = c == '\n' || (line_start && c.is_whitespace());
        }
        let sure = self.held.trim_end().len();
        self.leave(sure, parts);
        false
    }

    /// The held text up to `at` leaves.
    fn leave(&mut self, at: usize, parts: &mut Vec<Part>) {
        let text: String = self.held.drain(..at).collect();
        self.line_start = self.line_start && text.is_empty();
        emit(parts, Part::Text(text));
    }

    /// At `at` something begins that is a call, or may be.
    fn found(&mut self, at: usize, found: Head, parts: &mut Vec<Part>) -> bool {
        let before = self.held[..at].trim_end().len();
        self.leave(before, parts);
        let at = at - before;
        match found {
            Head::Open { name, at: begin, enclosed } => {
                self.call(name, parts);
                self.held.drain(..at + begin);
                self.state = State::Arguments { nesting: Nesting::default(), enclosed };
            }
            Head::Whole { name, arguments, end } => {
                self.call(name, parts);
                emit(parts, Part::Arguments(arguments));
                self.held.drain(..at + end);
                self.end_call();
            }
            Head::Around(end) => {
                self.held.drain(..at + end);
                self.line_start = true;
            }
            Head::Wait | Head::No => return false,
        }
        true
    }

    fn call(&mut self, name: String, parts: &mut Vec<Part>) {
        self.calls += 1;
        parts.push(Part::Call { name });
    }

    fn end_call(&mut self) {
        self.line_start = true;
        self.state = if self.several { State::Called } else { State::Over };
    }

    fn arguments(&mut self, mut nesting: Nesting, enclosed: bool, parts: &mut Vec<Part>) -> bool {
        let end = nesting.end(&self.held);
        let arguments = self.held.drain(..end.unwrap_or(self.held.len())).collect();
        emit(parts, Part::Arguments(arguments));
        match end {
            None => self.state = State::Arguments { nesting, enclosed },
            Some(_) if enclosed => self.state = State::Enclosure(None),
            Some(_) => self.end_call(),
        }
        end.is_some()
    }

    fn enclosure(&mut self, nesting: Option<Nesting>) -> bool {
        self.drop_space();
        if self.held.is_empty() {
            return false;
        }
        // Whatever else stands beside the arguments is dropped; where nothing closes, nothing is.
        let other = self.held.starts_with([',', '}']) || nesting.is_some();
        let mut nesting = nesting.unwrap_or_else(Nesting::within);
        let end = if other { nesting.end(&self.held) } else { Some(0) };
        self.held.drain(..end.unwrap_or(self.held.len()));
        match end {
            None => self.state = State::Enclosure(Some(nesting)),
            Some(_) => self.end_call(),
        }
        end.is_some()
    }

    fn called(&mut self, last: bool) -> bool {
        self.drop_space();
        if let Some(closer) = CLOSERS.iter().find(|closer| self.held.starts_with(**closer)) {
            self.held.drain(..closer.len());
            return true;
        }
        // A fence that closes has no language.
        if let Some(rest) = self.held.strip_prefix("```")
            && (last || !rest.is_empty())
            && !rest.starts_with(char::is_alphanumeric)
        {
            self.held.drain(..3);
            return true;
        }
        let unsure = CLOSERS.iter().chain(&["```a"]).any(|closer| closer.starts_with(self.held.as_str()));
        self.enter_if(!self.held.is_empty() && (last || !unsure), State::Text)
    }
}

/// How much of the end of `text` could be the beginning of a marker.
fn unsure(text: &str, markers: &[&str]) -> usize {
    let begins = |at: &usize| markers.iter().any(|marker| marker.starts_with(&text[*at..]));
    text.char_indices().map(|(at, _)| at).find(begins).map_or(0, |at| text.len() - at)
}

/// Adds a part; text joins text of its kind.
fn emit(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (_, Part::Text(more) | Part::Thought(more) | Part::Arguments(more)) if more.is_empty() => {}
        (Some(Part::Text(text)), Part::Text(more))
        | (Some(Part::Thought(text)), Part::Thought(more))
        | (Some(Part::Arguments(text)), Part::Arguments(more)) => text.push_str(&more),
        (_, part) => parts.push(part),
    }
}

#[cfg(test)]
mod tests;
