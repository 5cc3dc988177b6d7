//! Grammars over single bytes: what they take, and where they end.

use super::*;
use serde_json::json;

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
        "required": ["name", "age"],
    })
}

#[test]
fn what_fits_is_taken_to_the_end_and_what_does_not_is_refused_where_it_breaks() {
    let taken = |text: &str| Grammar::of_bytes(&person(), true).unwrap().taken(text);
    for whole in [r#"{"name":"Ann","age":7}"#, "{\"name\": \"Ann\",\n  \"age\": 7\n}"] {
        assert_eq!(taken(whole), (whole.len(), true), "{whole}");
    }
    assert!(!taken(r#"{"name":"Ann","age":7"#).1, "not whole yet");
    assert_eq!(taken(r#"{"age":7}"#).0, 2, "required and in order");
    assert_eq!(taken(r#"{"name":"Ann","age":151}"#).0, 22, "within its limits");
    assert_eq!(taken(r#"{"name":"Ann","age":7,"more":1}"#).0, 21, "closed");
    assert_eq!(taken("{  ").0, 2, "no white space without end");
}

#[test]
fn tokens_that_break_the_form_are_barred() {
    let mut grammar = Grammar::of_bytes(&json!({"type": "object"}), false).unwrap();
    let mut logits = vec![1.0; 262];
    grammar.bar(&mut logits).unwrap();
    let allowed: Vec<usize> = (0..262).filter(|&token| logits[token].is_finite()).collect();
    assert_eq!(allowed, [usize::from(b'{')]);
    assert_eq!(grammar.take(usize::from(b'[')), Ok(false));
    assert_eq!(grammar.take(usize::from(b'{')), Ok(true));
    assert_eq!(grammar.take(usize::from(b'}')), Ok(true));
    assert!(grammar.ended());
    let mut logits = vec![1.0; 262];
    grammar.bar(&mut logits).unwrap();
    let allowed: Vec<usize> = (0..262).filter(|&token| logits[token].is_finite()).collect();
    assert_eq!(allowed, [261], "only the end");
}

#[test]
fn a_number_may_end_where_it_could_go_on() {
    let mut grammar = Grammar::of_bytes(&json!({"type": "integer"}), true).unwrap();
    assert_eq!(grammar.take(usize::from(b'4')), Ok(true));
    assert!(!grammar.ended());
    assert_eq!(grammar.take(261), Ok(true), "the end is allowed");
}

#[test]
fn a_schema_that_cannot_be_held_to_is_refused_when_strict() {
    let schema = json!({"type": "object", "properties": {"a": {"not": {"type": "string"}}}});
    let error = Grammar::of_bytes(&schema, true).unwrap_err().to_string();
    assert!(error.contains("not"), "{error}");
    assert!(Grammar::of_bytes(&schema, false).is_ok());
    for wrong in [json!(7), json!({"type": "strin"}), json!({"$ref": "#/nowhere"})] {
        assert!(Grammar::of_bytes(&wrong, false).is_err(), "{wrong}");
    }
}

#[test]
fn a_time_has_an_end() {
    for (format, begin) in [("time", ""), ("date-time", "2026-11-27T")] {
        let grammar = || Grammar::of_bytes(&json!({"type": "string", "format": format}), true).unwrap();
        for whole in ["20:00:00Z", "20:00:00.123456789+01:00"] {
            let text = format!("\"{begin}{whole}\"");
            assert_eq!(grammar().taken(&text), (text.len(), true), "{text}");
        }
        let endless = format!("\"{begin}20:00:00.{}", "0".repeat(100));
        assert!(grammar().taken(&endless).0 < begin.len() + 30, "{format}");
        assert!(!grammar().taken(&format!("\"{begin}20:00\"")).1, "{format} is still held to its form");
    }
}

#[test]
fn a_number_has_an_end() {
    let number = |schema| Grammar::of_bytes(&json!({"type": "array", "items": schema}), true).unwrap();
    for (schema, start) in [
        (json!({"type": "integer"}), "[1"),
        (json!({"type": "integer", "minimum": -3}), "[-1, 7"),
        (json!({"type": "number"}), "[0.25"),
        (json!({"type": "number"}), "[1e1"),
        (json!({"type": "string", "pattern": "^[0-9]+$"}), "[\"1"),
    ] {
        let text = format!("{start}{}", "0".repeat(100));
        let taken = number(schema.clone()).taken(&text).0;
        assert!(taken < start.len() + 33, "{schema}: {taken} bytes");
    }
    let largest = format!("[{}, -{}.5]", u64::MAX, i64::MAX);
    assert_eq!(number(json!({"type": "number"})).taken(&largest), (largest.len(), true));
}

#[test]
fn digits_in_a_text_go_on() {
    let digits = "0".repeat(100);
    for (schema, text) in [
        (json!({"type": "string"}), format!("\"{digits}\"")),
        (json!({"type": "string", "pattern": "^[0-9]{100}$"}), format!("\"{digits}\"")),
    ] {
        assert_eq!(Grammar::of_bytes(&schema, true).unwrap().taken(&text).0, text.len(), "{schema}");
    }
}

#[test]
fn schemas_may_refer_to_themselves() {
    let list = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "required": ["next"], "properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        }}},
    });
    let text = r#"{"next":{"next":null}}"#;
    assert_eq!(Grammar::of_bytes(&list, true).unwrap().taken(text), (text.len(), true));
}

#[test]
fn lark_embeds_schemas() {
    let lark = format!("start: \"call \" args \"!\"\nargs: {}", embedded(&person(), true));
    let text = r#"call {"name":"é\n","age":0}!"#;
    assert_eq!(Grammar::of_bytes_in_lark(&lark).unwrap().taken(text), (text.len(), true));
}
