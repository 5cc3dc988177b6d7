//! Makes a caller's JSON schema ready for the grammar's compiler.
//!
//! Objects that list their properties are closed unless they say otherwise: what comes out is valid either way, and a
//! small model does not wander off into properties of its own. White space, and formats that know no end, are bounded for
//! the same reason.

use llguidance::JsonCompileOptions;
use serde_json::{Map, Value, json};

/// Between two parts of a document at most: a space, or a line break and its indentation.
const WHITE_SPACE: &str = r"\x20|\x0A[\x20\x09]{0,24}";
/// Longest texts of formats that allow any number of digits, which a small model may go on writing: nine of a second's are enough.
const LONGEST: [(&str, u64); 2] = [("time", 24), ("date-time", 35)];
/// Schemas within schemas beyond this are left as they are.
const DEEPEST: usize = 64;
/// Keywords that combine schemas: closing one side of them would shut out what the other side allows.
const COMBINING: [&str; 6] = ["allOf", "anyOf", "oneOf", "not", "if", "$ref"];

/// The schema with its options. `strict` refuses what cannot be held to; else it is passed over.
pub(super) fn prepared(schema: &Value, strict: bool) -> Value {
    let mut schema = match schema {
        Value::Bool(true) => json!({}),
        schema => schema.clone(),
    };
    narrow(&mut schema, 0);
    let options = JsonCompileOptions {
        whitespace_pattern: Some(WHITE_SPACE.to_owned()),
        lenient: !strict,
        ..JsonCompileOptions::default()
    };
    // What is no object is refused by the compiler in its own words.
    if schema.is_object() {
        options.apply_to(&mut schema);
    }
    schema
}

/// Whether a schema says of what type its values are, itself or by those it is made of.
pub(crate) fn tells_type(schema: &Map<String, Value>) -> bool {
    ["type", "enum", "const"].iter().chain(&COMBINING).any(|keyword| schema.contains_key(*keyword))
}

/// Closes the objects in a schema that list their properties and don't say whether there may be more, and bounds texts.
fn narrow(schema: &mut Value, depth: usize) {
    let Some(object) = schema.as_object_mut().filter(|_| depth < DEEPEST) else { return };
    let combined = COMBINING.iter().any(|keyword| object.contains_key(*keyword));
    let open = ["additionalProperties", "patternProperties", "unevaluatedProperties"];
    if object.contains_key("properties") && !combined && !open.iter().any(|key| object.contains_key(*key)) {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    let format = object.get("format").and_then(Value::as_str);
    if let Some((_, longest)) = LONGEST.into_iter().find(|(name, _)| Some(*name) == format) {
        object.entry("maxLength").or_insert_with(|| longest.into());
    }
    for name in ["properties", "$defs", "definitions"] {
        let schemas = object.get_mut(name).and_then(Value::as_object_mut);
        schemas.into_iter().flat_map(Map::values_mut).for_each(|schema| narrow(schema, depth + 1));
    }
    if let Some(items) = object.get_mut("items") {
        narrow(items, depth + 1);
    }
    for name in ["prefixItems", "anyOf", "oneOf"] {
        let schemas = object.get_mut(name).and_then(Value::as_array_mut);
        schemas.into_iter().flatten().for_each(|schema| narrow(schema, depth + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_unless_they_say_otherwise() {
        let mut schema = json!({
            "properties": {
                "inner": {"properties": {"a": {}}},
                "open": {"properties": {"a": {}}, "additionalProperties": true},
                "both": {"allOf": [{"properties": {"a": {}}}], "properties": {"b": {}}},
                "list": {"items": {"properties": {}}},
            },
            "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}},
        });
        narrow(&mut schema, 0);
        let closed =
            |path: &str| schema.pointer(path).unwrap().get("additionalProperties") == Some(&json!(false));
        assert!(closed("") && closed("/properties/inner") && closed("/properties/list/items"));
        assert!(closed("/$defs/node"));
        assert!(!closed("/properties/open") && !closed("/properties/both"));
        assert!(!closed("/properties/both/allOf/0"));
    }

    #[test]
    fn a_schema_nested_without_end_is_no_trouble() {
        let mut schema = json!({});
        for _ in 0..100 {
            schema = json!({"properties": {"a": schema}});
        }
        assert!(prepared(&schema, true).is_object());
        assert_eq!(prepared(&json!(7), true), json!(7));
    }
}
