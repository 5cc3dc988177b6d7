//! Finds where a JSON value ends while it is still being written, and reads the value of a call in its many shapes.

use serde_json::Value;

/// Follows an object or array through its text; everything outside its brackets is somebody else's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// One bracket deep already.
    pub(super) fn within() -> Self {
        Self { depth: 1, ..Self::default() }
    }

    /// Goes on through `text`; the length up to and with the bracket that closes the whole, once it is there.
    pub(super) fn end(&mut self, text: &str) -> Option<usize> {
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// The length of the object at the beginning of `text`, if it is whole.
pub(super) fn object_end(text: &str) -> Option<usize> {
    Nesting::default().end(text)
}

/// A string literal at the beginning of `text`, with its length; `None` while it is not whole.
pub(super) fn literal(text: &str) -> Option<(String, usize)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return serde_json::from_str(&text[..=at]).ok().map(|text| (text, at + 1)),
            _ => {}
        }
    }
    None
}

/// Names under which models write a function's name.
pub(super) const NAME: [&str; 4] = ["name", "function", "tool_name", "tool"];
/// Names under which they write its arguments.
pub(super) const ARGUMENTS: [&str; 5] = ["arguments", "parameters", "args", "input", "params"];
/// Names that stand beside them.
pub(super) const BESIDE: [&str; 3] = ["type", "id", "index"];

/// A call's name and arguments as text, in whatever shape.
pub(super) fn call(value: &Value) -> Option<(String, String)> {
    if let Some(function @ Value::Object(_)) = value.get("function") {
        return call(function);
    }
    if describes(value) {
        return None;
    }
    let name = NAME.iter().find_map(|key| value.get(key)?.as_str())?;
    let arguments = match ARGUMENTS.iter().find_map(|key| value.get(key)) {
        None | Some(Value::Null) => "{}".to_owned(),
        // Some models write the arguments as OpenAI sends them: JSON within a string.
        Some(Value::String(text)) => text.clone(),
        Some(arguments) => arguments.to_string(),
    };
    Some((name.to_owned(), arguments))
}

/// Whether it is what a tool is like, which small models repeat from their prompt, and not a call of it.
fn describes(value: &Value) -> bool {
    let schema = |parameters: &Value| parameters["type"] == "object" && parameters["properties"].is_object();
    value.get("parameters").is_some_and(|parameters| value.get("description").is_some() || schema(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_end_of_an_object_is_found_through_strings_and_however_it_is_cut() {
        let text = r#"{"a": "}\"]", "b": [{"c": "\\"}]} and more"#;
        assert_eq!(object_end(text), Some(text.len() - " and more".len()));
        let mut nesting = Nesting::default();
        let ends: Vec<_> = text.split_inclusive(' ').filter_map(|part| nesting.end(part)).collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(object_end(r#"{"a": "}"#), None);
    }

    #[test]
    fn literals() {
        assert_eq!(literal(r#""a\"é" : 1"#), Some(("a\"é".to_owned(), 7)));
        assert_eq!(literal(r#""a\""#), None);
    }

    #[test]
    fn calls_in_their_shapes() {
        let expected = Some(("f".to_owned(), r#"{"a":1}"#.to_owned()));
        for value in [
            json!({"name": "f", "arguments": {"a": 1}}),
            json!({"parameters": {"a": 1}, "name": "f"}),
            json!({"name": "f", "arguments": r#"{"a":1}"#}),
            json!({"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}),
            json!({"type": "function", "function": "f", "parameters": {"a": 1}}),
        ] {
            assert_eq!(call(&value), expected, "{value}");
        }
        assert_eq!(call(&json!({"name": "f"})).unwrap().1, "{}");
        assert_eq!(call(&json!({"title": "f"})), None);
        let schema = json!({"type": "object", "properties": {"a": {"type": "number"}}});
        for described in [
            json!({"type": "function", "function": {"name": "f", "description": "", "parameters": {"a": 1}}}),
            json!({"name": "f", "parameters": schema}),
        ] {
            assert_eq!(call(&described), None, "{described}");
        }
        let told = json!({"name": "f", "description": "adds", "arguments": {"a": 1}});
        assert_eq!(call(&told), expected);
    }
}
