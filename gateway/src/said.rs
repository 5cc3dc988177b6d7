//! What an answer says, taken from the bytes that went to the client.

use serde_json::Value;

/// The text of a whole answer; `None` if it was cut short, called a tool or said nothing.
pub(crate) fn whole(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let choice = answer.pointer("/choices/0")?;
    if calls_tools(choice.pointer("/message/tool_calls")) || is_cut(choice) {
        return None;
    }
    let text = choice.pointer("/message/content")?.as_str()?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// The same of a streamed one.
pub(crate) fn streamed(frames: &[u8]) -> Option<String> {
    let mut said = String::new();
    for line in std::str::from_utf8(frames).ok()?.lines() {
        let Some(data) = line.strip_prefix("data:").map(str::trim).filter(|data| *data != "[DONE]") else {
            continue;
        };
        let Ok(chunk) = serde_json::from_str::<Value>(data) else { return None };
        let Some(choice) = chunk.pointer("/choices/0") else { continue };
        if calls_tools(choice.pointer("/delta/tool_calls")) || is_cut(choice) {
            return None;
        }
        if let Some(piece) = choice.pointer("/delta/content").and_then(Value::as_str) {
            said.push_str(piece);
        }
    }
    (!said.trim().is_empty()).then_some(said)
}

/// Some engines (vLLM) write an empty list where no tool is called.
fn calls_tools(calls: Option<&Value>) -> bool {
    calls.is_some_and(|calls| !calls.is_null() && calls.as_array().is_none_or(|calls| !calls.is_empty()))
}

fn is_cut(choice: &Value) -> bool {
    choice.get("finish_reason").and_then(Value::as_str).is_some_and(|reason| reason != "stop")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_whole_and_streamed() {
        let body =
            br#"{"choices":[{"finish_reason":"stop","message":{"content":"Paris.","tool_calls":null}}]}"#;
        assert_eq!(whole(body).as_deref(), Some("Paris."));
        assert_eq!(whole(br#"{"choices":[{"finish_reason":"length","message":{"content":"Par"}}]}"#), None);
        let empty =
            br#"{"choices":[{"finish_reason":"stop","message":{"content":"Paris.","tool_calls":[]}}]}"#;
        assert_eq!(whole(empty).as_deref(), Some("Paris."), "no tool is called");
        assert_eq!(whole(br#"{"choices":[{"message":{"content":"I call","tool_calls":[{}]}}]}"#), None);
        assert_eq!(whole(br#"{"choices":[{"message":{"content":null,"tool_calls":[{}]}}]}"#), None);
        let frames = b"data: {\"choices\":[{\"delta\":{\"content\":\"Pa\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"ris\"},\
            \"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
        assert_eq!(streamed(frames).as_deref(), Some("Paris"));
        assert_eq!(streamed(b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"), None);
    }
}
