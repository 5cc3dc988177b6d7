//! Reads `tools`, `tool_choice` and `parallel_tool_calls`.

use super::super::error::ApiError;
use super::fields::Fields;
use crate::tools::{Choice, Tool, Tools};
use serde_json::{Value, json};

/// Tools at most; OpenAI allows 128.
const MOST_TOOLS: usize = 128;
/// Characters of a name at most.
const LONGEST_NAME: usize = 64;

/// The request's tools.
pub(super) fn parse(fields: &Fields<'_>) -> Result<Tools, ApiError> {
    for (old, new) in [("functions", "tools"), ("function_call", "tool_choice")] {
        if fields.value(old).is_some() {
            let message = format!("{old} is not supported by this engine; use {new}.");
            return Err(ApiError::unsupported(old, message));
        }
    }
    let list = list(fields)?;
    let choice = choice(fields, &list)?;
    Ok(Tools { list, choice, parallel: fields.flag("parallel_tool_calls")?.unwrap_or(true) })
}

fn list(fields: &Fields<'_>) -> Result<Vec<Tool>, ApiError> {
    let Some(list) = fields.value("tools") else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(|| wrong("tools", "an array of tools"))?;
    if list.len() > MOST_TOOLS {
        return Err(wrong("tools", &format!("an array of {MOST_TOOLS} tools at most")));
    }
    let tools = list.iter().enumerate().map(|(index, value)| tool(value, format!("tools[{index}]")));
    let tools = tools.collect::<Result<Vec<Tool>, ApiError>>()?;
    for (index, tool) in tools.iter().enumerate() {
        if tools[..index].iter().any(|earlier| earlier.name == tool.name) {
            let name = format!("tools[{index}].function.name");
            let message =
                format!("{name}: there is another tool named {:?}; give each its own name.", tool.name);
            return Err(ApiError::invalid(name, message));
        }
    }
    Ok(tools)
}

fn tool(value: &Value, path: String) -> Result<Tool, ApiError> {
    let object = value.as_object().ok_or_else(|| wrong(&path, "an object with type and function"))?;
    let fields = Fields::at(object, path);
    match fields.text("type")? {
        None | Some("function") => {}
        Some(kind) => {
            let name = fields.name("type");
            let message = format!("{name}: {kind:?} tools are not supported by this engine, only functions.");
            return Err(ApiError::unsupported(name, message));
        }
    }
    let function = fields.object("function")?;
    let function = function.ok_or_else(|| wrong(&fields.name("function"), "an object with a name"))?;
    let name = function.text("name")?.filter(|name| nameable(name)).ok_or_else(|| {
        wrong(&function.name("name"), "1 to 64 letters, digits, underscores, dots and dashes")
    })?;
    function.text("description")?;
    let parameters = match function.value("parameters") {
        None => json!({"type": "object", "properties": {}}),
        Some(parameters) if parameters.is_object() => parameters.clone(),
        Some(_) => return Err(wrong(&function.name("parameters"), "a JSON schema")),
    };
    let strict = function.flag("strict")?.unwrap_or(false);
    Ok(Tool { name: name.to_owned(), parameters, strict, described: value.clone() })
}

fn nameable(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

fn choice(fields: &Fields<'_>, tools: &[Tool]) -> Result<Choice, ApiError> {
    let expected = "none, auto, required, or an object that names a function";
    let choice = match fields.value("tool_choice") {
        None => return Ok(Choice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "none" => Choice::None,
            "auto" => Choice::Auto,
            "required" => Choice::Required,
            _ => return Err(wrong("tool_choice", expected)),
        },
        Some(named) => {
            let name = named.pointer("/function/name").and_then(Value::as_str);
            let name = name.ok_or_else(|| wrong("tool_choice", expected))?;
            if !tools.iter().any(|tool| tool.name == name) {
                let message = format!("tool_choice names {name:?}, which is not among the tools.");
                return Err(ApiError::invalid("tool_choice", message));
            }
            Choice::Function(name.to_owned())
        }
    };
    if tools.is_empty() && choice == Choice::Required {
        return Err(ApiError::invalid("tool_choice", "tool_choice needs tools to choose from."));
    }
    Ok(choice)
}

fn wrong(name: &str, expected: &str) -> ApiError {
    ApiError::invalid(name, format!("{name} must be {expected}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Tools, ApiError> {
        parse(&Fields::new(body.as_object().unwrap()))
    }

    fn function(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name}})
    }

    #[test]
    fn tools_and_choices() {
        assert_eq!(read(json!({})).unwrap(), Tools { parallel: true, ..Tools::default() });
        let described = json!({"type": "function", "function": {
            "name": "weather", "strict": true, "parameters": {"type": "object"}, "description": "Tells it.",
        }});
        let tools = read(json!({"tools": [described], "parallel_tool_calls": false})).unwrap();
        let tool = Tool {
            name: "weather".to_owned(),
            parameters: json!({"type": "object"}),
            strict: true,
            described,
        };
        assert_eq!(tools, Tools { list: vec![tool], choice: Choice::Auto, parallel: false });
        for (word, choice) in [("none", Choice::None), ("required", Choice::Required)] {
            let tools = read(json!({"tools": [function("a")], "tool_choice": word})).unwrap();
            assert_eq!((tools.callable(), tools.choice), (word != "none", choice));
        }
        let tools =
            read(json!({"tools": [function("a"), function("b")], "tool_choice": function("b")})).unwrap();
        let forced: Vec<&str> = tools.forced().iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!((forced, tools.several()), (vec!["b"], false));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (json!({"tools": {}}), "tools", "invalid_value"),
            (json!({"tools": [5]}), "tools[0]", "invalid_value"),
            (json!({"tools": [{"type": "web_search"}]}), "tools[0].type", "unsupported_parameter"),
            (json!({"tools": [{}]}), "tools[0].function", "invalid_value"),
            (json!({"tools": [function("a b")]}), "tools[0].function.name", "invalid_value"),
            (json!({"tools": [function("a"), function("a")]}), "tools[1].function.name", "invalid_value"),
            (
                json!({"tools": [{"function": {"name": "a", "parameters": []}}]}),
                "tools[0].function.parameters",
                "invalid_value",
            ),
            (json!({"tools": [function("a")], "tool_choice": "must"}), "tool_choice", "invalid_value"),
            (json!({"tools": [function("a")], "tool_choice": function("b")}), "tool_choice", "invalid_value"),
            (json!({"tool_choice": "required"}), "tool_choice", "invalid_value"),
            (json!({"functions": []}), "functions", "unsupported_parameter"),
        ];
        for (body, param, code) in cases {
            let error = read(body).unwrap_err();
            assert_eq!((error.param.as_deref(), error.code), (Some(param), Some(code)), "{}", error.message);
            assert!(error.message.contains(param), "{}", error.message);
        }
    }
}
