//! One message of a conversation, and what templates see of it.

use serde_json::{Map, Value, json};

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub(crate) role: &'static str,
    /// What was said.
    pub(crate) content: String,
    /// What the assistant thought before.
    pub(crate) thoughts: Option<String>,
    /// What the assistant called.
    pub(crate) calls: Vec<Call>,
    /// Of a tool's message: the call that it answers.
    pub(crate) answers: Option<String>,
    /// Who speaks, or which tool.
    pub(crate) name: Option<String>,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON, as OpenAI has it.
    pub(crate) arguments: String,
}

/// How templates want what they differ on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taste {
    /// A call's arguments as text instead of as an object.
    pub(super) arguments_as_text: bool,
    /// Calls' ids as nine letters and digits, which Mistral's templates insist on.
    pub(super) short_ids: bool,
}

impl Message {
    /// A message that only says something.
    pub(crate) fn said(role: &'static str, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), ..Self::default() }
    }

    /// As templates know it.
    pub(super) fn seen(&self, taste: Taste) -> Value {
        let mut seen = Map::new();
        seen.insert("role".to_owned(), self.role.into());
        seen.insert("content".to_owned(), self.content.as_str().into());
        if let Some(thoughts) = &self.thoughts {
            seen.insert("reasoning_content".to_owned(), thoughts.as_str().into());
        }
        if !self.calls.is_empty() {
            let calls: Vec<Value> = self.calls.iter().map(|call| call.seen(taste)).collect();
            seen.insert("tool_calls".to_owned(), calls.into());
        }
        if let Some(id) = &self.answers {
            seen.insert("tool_call_id".to_owned(), identifier(id, taste).into());
        }
        if let Some(name) = &self.name {
            seen.insert("name".to_owned(), name.as_str().into());
        }
        seen.into()
    }

    /// The same for a template that knows no tools: calls and results are written out, as Hermes does.
    pub(super) fn without_tools(&self) -> Message {
        if self.role == "tool" {
            return Message::said("user", format!("<tool_response>\n{}\n</tool_response>", self.content));
        }
        let mut content = self.content.clone();
        for call in &self.calls {
            let separator = if content.is_empty() { "" } else { "\n" };
            let call = json!({"name": call.name, "arguments": call.value()});
            content.push_str(&format!("{separator}<tool_call>\n{call}\n</tool_call>"));
        }
        Message { content, calls: Vec::new(), ..self.clone() }
    }
}

impl Call {
    fn seen(&self, taste: Taste) -> Value {
        let arguments = if taste.arguments_as_text { self.arguments.as_str().into() } else { self.value() };
        json!({
            "id": identifier(&self.id, taste),
            "type": "function",
            "function": {"name": self.name, "arguments": arguments},
        })
    }

    /// The arguments; what is no JSON stays text.
    fn value(&self) -> Value {
        match self.arguments.trim() {
            "" => json!({}),
            text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        }
    }
}

/// The same id is always shortened in the same way, so that results still find their calls.
fn identifier(id: &str, taste: Taste) -> String {
    let short = |id: &str| id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric());
    if !taste.short_ids || short(id) {
        return id.to_owned();
    }
    // FNV-1a: well spread, and the same on every machine.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:09x}", hash & 0xf_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Taste = Taste { arguments_as_text: false, short_ids: false };

    fn calling() -> Message {
        let call = Call { id: "call_1".into(), name: "f".into(), arguments: r#"{"b": 1, "a": 2}"#.into() };
        Message { calls: vec![call], ..Message::said("assistant", "Well.") }
    }

    #[test]
    fn templates_see_what_there_is() {
        assert_eq!(Message::said("user", "hi").seen(PLAIN).to_string(), r#"{"role":"user","content":"hi"}"#);
        let seen = calling().seen(PLAIN);
        assert_eq!(
            seen["tool_calls"][0]["function"]["arguments"].to_string(),
            r#"{"b":1,"a":2}"#,
            "in order"
        );
        let text = calling().seen(Taste { arguments_as_text: true, ..PLAIN });
        assert_eq!(text["tool_calls"][0]["function"]["arguments"], r#"{"b": 1, "a": 2}"#);
    }

    #[test]
    fn ids_are_shortened_alike() {
        let short = Taste { short_ids: true, ..PLAIN };
        let result = Message { answers: Some("call_1".into()), ..Message::said("tool", "3") };
        let id = result.seen(short)["tool_call_id"].clone();
        assert_eq!(id.as_str().unwrap().len(), 9);
        assert_eq!(calling().seen(short)["tool_calls"][0]["id"], id);
        assert_eq!(identifier("abcDEF123", short), "abcDEF123");
    }

    #[test]
    fn without_tools_calls_and_results_are_written_out() {
        let written = "Well.\n<tool_call>\n{\"name\":\"f\",\"arguments\":{\"b\":1,\"a\":2}}\n</tool_call>";
        assert_eq!(calling().without_tools(), Message::said("assistant", written));
        let result = Message { answers: Some("call_1".into()), ..Message::said("tool", "3") };
        assert_eq!(result.without_tools(), Message::said("user", "<tool_response>\n3\n</tool_response>"));
    }
}
