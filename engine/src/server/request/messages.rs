//! Reads the conversation: roles, content as a string or as text parts, calls and their results.

use super::super::error::ApiError;
use super::fields::Fields;
use crate::template::{Call, Message};
use serde_json::Value;

/// The request's messages; at least one.
pub(super) fn parse(fields: &Fields<'_>) -> Result<Vec<Message>, ApiError> {
    let wrong = || ApiError::invalid("messages", "messages must be an array with at least one message.");
    let list = fields
        .value("messages")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .ok_or_else(wrong)?;
    list.iter().enumerate().map(|(index, value)| message(value, format!("messages[{index}]"))).collect()
}

fn message(value: &Value, path: String) -> Result<Message, ApiError> {
    let Some(object) = value.as_object() else {
        let text = format!("{path} must be an object with role and content.");
        return Err(ApiError::invalid(path, text));
    };
    let fields = Fields::at(object, path);
    let role = role(&fields)?;
    let calls = if role == "assistant" { calls(&fields)? } else { Vec::new() };
    let content = match fields.value("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => text_of_parts(parts, &fields)?,
        // An assistant's earlier message may hold a refusal, calls, or nothing at all.
        None if role == "assistant" => String::new(),
        _ => {
            let name = fields.name("content");
            let text = format!("{name} must be a string or an array of text parts.");
            return Err(ApiError::invalid(name, text));
        }
    };
    let owned = |field| fields.text(field).map(|text| text.map(str::to_owned));
    Ok(Message {
        role,
        content,
        calls,
        thoughts: owned("reasoning_content")?.filter(|_| role == "assistant"),
        answers: owned("tool_call_id")?.filter(|_| role == "tool"),
        name: owned("name")?,
    })
}

/// What an assistant's earlier message called.
fn calls(message: &Fields<'_>) -> Result<Vec<Call>, ApiError> {
    if message.value("function_call").is_some() {
        let name = message.name("function_call");
        let text = format!("{name} is not supported by this engine; use tool_calls.");
        return Err(ApiError::unsupported(name, text));
    }
    let path = message.name("tool_calls");
    let list = match message.value("tool_calls") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ApiError::invalid(path.clone(), format!("{path} must be an array of calls."))),
    };
    list.iter().enumerate().map(|(index, value)| call(value, format!("{path}[{index}]"))).collect()
}

fn call(value: &Value, path: String) -> Result<Call, ApiError> {
    let wrong = |name: String, expected: &str| {
        let text = format!("{name} must be {expected}.");
        ApiError::invalid(name, text)
    };
    let expected = "an object with id and function";
    let object = value.as_object().ok_or_else(|| wrong(path.clone(), expected))?;
    let fields = Fields::at(object, path);
    let function = fields.object("function")?.ok_or_else(|| wrong(fields.name("function"), "an object"))?;
    let name = function.text("name")?.ok_or_else(|| wrong(function.name("name"), "a string"))?;
    Ok(Call {
        id: fields.text("id")?.unwrap_or_default().to_owned(),
        name: name.to_owned(),
        arguments: function.text("arguments")?.unwrap_or("{}").to_owned(),
    })
}

fn role(fields: &Fields<'_>) -> Result<&'static str, ApiError> {
    let name = fields.name("role");
    match fields.text("role")? {
        Some("user") => Ok("user"),
        Some("assistant") => Ok("assistant"),
        // The newer name of the same thing, which no template knows.
        Some("system" | "developer") => Ok("system"),
        Some("tool") => Ok("tool"),
        Some("function") => Err(ApiError::unsupported(
            name.clone(),
            format!(
                "{name}: function messages are not supported by this engine; use role tool with a tool_call_id."
            ),
        )),
        _ => {
            let text = format!("{name} must be one of system, developer, user, assistant and tool.");
            Err(ApiError::invalid(name, text))
        }
    }
}

fn text_of_parts(parts: &[Value], message: &Fields<'_>) -> Result<String, ApiError> {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{}[{index}]", message.name("content"));
        let kind = part.get("type").and_then(Value::as_str);
        match (kind, part.get("text").and_then(Value::as_str)) {
            (Some("text"), Some(part)) => text.push_str(part),
            (Some("text"), None) | (None, _) => {
                let message = format!("{path} must be an object with type \"text\" and a text.");
                return Err(ApiError::invalid(path, message));
            }
            (Some(kind), _) => {
                let message = format!("{path}: {kind} parts are not supported by this engine, only text.");
                return Err(ApiError::unsupported(path, message));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(messages: Value) -> Result<Vec<Message>, ApiError> {
        let body = json!({ "messages": messages });
        parse(&Fields::new(body.as_object().unwrap()))
    }

    #[test]
    fn strings_parts_and_roles() {
        let messages = read(json!([
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": null, "tool_calls": []},
        ]))
        .unwrap();
        let plain: Vec<(&str, &str)> = messages.iter().map(|m| (m.role, m.content.as_str())).collect();
        assert_eq!(plain, [("system", "Be brief."), ("user", "ab"), ("assistant", "")]);
    }

    #[test]
    fn calls_and_results() {
        let call = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let messages = read(json!([
            {"role": "assistant", "content": null, "tool_calls": [call], "reasoning_content": "Hm."},
            {"role": "tool", "content": "3", "tool_call_id": "c1"},
        ]))
        .unwrap();
        let call = Call { id: "c1".to_owned(), name: "f".to_owned(), arguments: "{}".to_owned() };
        assert_eq!((&messages[0].calls, messages[0].thoughts.as_deref()), (&vec![call], Some("Hm.")));
        assert_eq!((messages[1].role, messages[1].answers.as_deref()), ("tool", Some("c1")));
    }

    #[test]
    fn mistakes_name_the_message() {
        let cases = [
            (json!([]), "messages", "invalid_value"),
            (json!("hi"), "messages", "invalid_value"),
            (json!(["hi"]), "messages[0]", "invalid_value"),
            (json!([{"role": "user"}]), "messages[0].content", "invalid_value"),
            (json!([{"role": "user", "content": 5}]), "messages[0].content", "invalid_value"),
            (json!([{"content": "x"}]), "messages[0].role", "invalid_value"),
            (json!([{"role": "king", "content": "x"}]), "messages[0].role", "invalid_value"),
            (json!([{"role": "tool"}]), "messages[0].content", "invalid_value"),
            (json!([{"role": "function", "content": "x"}]), "messages[0].role", "unsupported_parameter"),
            (
                json!([{"role": "assistant", "tool_calls": [{}]}]),
                "messages[0].tool_calls[0].function",
                "invalid_value",
            ),
            (json!([{"role": "user", "content": ["x"]}]), "messages[0].content[0]", "invalid_value"),
            (
                json!([{"role": "user", "content": [{"type": "image_url"}]}]),
                "messages[0].content[0]",
                "unsupported_parameter",
            ),
        ];
        for (messages, param, code) in cases {
            let error = read(messages).unwrap_err();
            assert_eq!((error.param.as_deref(), error.code), (Some(param), Some(code)), "{}", error.message);
            assert!(error.message.contains(param));
        }
    }
}
