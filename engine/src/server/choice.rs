//! One of a request's answers while it is written: what is to be told of it next.

use super::answer::{CallDelta, Delta, Function, Told};
use crate::tools::{Assembler, Part};
use serde_json::{Value, json};

/// Letters and digits of a call's id.
const ID_LENGTH: usize = 24;

/// One answer.
#[derive(Debug)]
pub(super) struct Choice {
    assembler: Assembler,
    parts: Vec<Part>,
    /// Likelihoods of tokens that nothing has told yet; `None` where nobody asked.
    tokens: Option<Vec<Value>>,
    calls: usize,
}

impl Choice {
    /// An answer that begins with `opening`.
    pub(super) fn new(mut assembler: Assembler, opening: &str, logprobs: bool) -> Self {
        let mut parts = Vec::new();
        if !opening.is_empty() {
            assembler.push(opening, &mut parts);
        }
        Self { assembler, parts, tokens: logprobs.then(Vec::new), calls: 0 }
    }

    /// Takes more of its text.
    pub(super) fn push(&mut self, text: &str) {
        self.assembler.push(text, &mut self.parts);
    }

    /// Takes how likely a token was.
    pub(super) fn likelihood(&mut self, token: Value) {
        self.tokens.iter_mut().for_each(|tokens| tokens.push(token.clone()));
    }

    /// It has ended.
    pub(super) fn finish(&mut self) {
        self.assembler.finish(&mut self.parts);
    }

    /// Whether it holds calls.
    pub(super) fn called(&self) -> bool {
        self.assembler.calls() > 0
    }

    /// What is to be told, in order.
    pub(super) fn deltas(&mut self) -> Vec<Delta> {
        let parts = std::mem::take(&mut self.parts);
        parts.into_iter().map(|part| self.delta(part)).collect()
    }

    fn delta(&mut self, part: Part) -> Delta {
        match part {
            Part::Text(text) => Delta { content: Some(text), ..Delta::default() },
            Part::Thought(text) => Delta { reasoning_content: Some(text), ..Delta::default() },
            Part::Call { name } => {
                self.calls += 1;
                let function = Function { name: Some(name), arguments: String::new() };
                let id = Some(format!("call_{}", identifier()));
                let index = self.calls - 1;
                Delta::call(CallDelta { index, id, kind: Some("function"), function })
            }
            Part::Arguments(arguments) => {
                let function = Function { name: None, arguments };
                let index = self.calls.saturating_sub(1);
                Delta::call(CallDelta { index, id: None, kind: None, function })
            }
        }
    }

    /// Likelihoods that nothing has told yet.
    pub(super) fn told(&mut self) -> Option<Told> {
        let tokens = self.tokens.as_mut().filter(|tokens| !tokens.is_empty())?;
        Some(Told(std::mem::take(tokens)))
    }

    /// The whole answer as a message, with the likelihoods of its tokens.
    pub(super) fn message(&mut self) -> (Value, Option<Told>) {
        let (mut content, mut thoughts) = (String::new(), String::new());
        let mut calls: Vec<Value> = Vec::new();
        for delta in self.deltas() {
            content.push_str(&delta.content.unwrap_or_default());
            thoughts.push_str(&delta.reasoning_content.unwrap_or_default());
            for call in delta.tool_calls.into_iter().flatten() {
                match (call.function.name, calls.last_mut()) {
                    (Some(name), _) => calls.push(json!({
                        "id": call.id, "type": call.kind, "function": {"name": name, "arguments": call.function.arguments},
                    })),
                    (None, Some(last)) => {
                        let begun = last["function"]["arguments"].as_str().unwrap_or_default();
                        last["function"]["arguments"] = format!("{begun}{}", call.function.arguments).into();
                    }
                    (None, None) => {}
                }
            }
        }
        let content = if content.is_empty() && !calls.is_empty() { Value::Null } else { content.into() };
        let mut message = json!({"role": "assistant", "content": content, "refusal": null});
        if !thoughts.is_empty() {
            message["reasoning_content"] = thoughts.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        (message, self.tokens.take().map(Told))
    }
}

fn identifier() -> String {
    use rand::RngExt;
    let mut rng = rand::rng();
    (0..ID_LENGTH).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect()
}
