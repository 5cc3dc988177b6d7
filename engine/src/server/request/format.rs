//! Reads `response_format`: the form that an answer is held to.

use super::super::error::ApiError;
use super::fields::Fields;
use serde_json::{Value, json};

/// What an answer's text must be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Format {
    /// Anything.
    #[default]
    Text,
    /// JSON of a schema. If `strict`, a schema that cannot be held to in full is refused.
    Json { schema: Value, strict: bool },
}

/// The request's `response_format`.
pub(super) fn parse(fields: &Fields<'_>) -> Result<Format, ApiError> {
    let Some(format) = fields.object("response_format")? else {
        // llama.cpp's own field for the same.
        let schema = fields.value("json_schema").cloned();
        return Ok(schema.map_or(Format::Text, |schema| Format::Json { schema, strict: false }));
    };
    match format.text("type")? {
        None | Some("text") => Ok(Format::Text),
        // Where a schema stands beside the type, as llama.cpp's server takes it, it is meant.
        Some("json_object") => {
            let schema = format.value("schema").cloned().unwrap_or_else(|| json!({"type": "object"}));
            Ok(Format::Json { schema, strict: false })
        }
        Some("json_schema") => {
            let wrong = || missing(&format.name("json_schema"), "an object with name and schema");
            let described = format.object("json_schema")?.ok_or_else(wrong)?;
            described.text("name")?;
            let schema = described.value("schema").cloned();
            let schema = schema.ok_or_else(|| missing(&described.name("schema"), "a JSON schema"))?;
            Ok(Format::Json { schema, strict: described.flag("strict")?.unwrap_or(false) })
        }
        Some(_) => Err(missing(&format.name("type"), "one of text, json_object and json_schema")),
    }
}

fn missing(name: &str, expected: &str) -> ApiError {
    ApiError::invalid(name, format!("{name} must be {expected}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Value) -> Result<Format, ApiError> {
        let body = json!({ "response_format": format });
        parse(&Fields::new(body.as_object().unwrap()))
    }

    #[test]
    fn the_forms() {
        assert_eq!(read(json!(null)), Ok(Format::Text));
        assert_eq!(read(json!({"type": "text"})), Ok(Format::Text));
        let object = Format::Json { schema: json!({"type": "object"}), strict: false };
        assert_eq!(read(json!({"type": "json_object"})), Ok(object));
        let schema = json!({"type": "array"});
        let alone = json!({ "json_schema": schema });
        let alone = parse(&Fields::new(alone.as_object().unwrap()));
        assert_eq!(alone, Ok(Format::Json { schema: schema.clone(), strict: false }));
        let described = json!({"name": "list", "strict": true, "schema": schema});
        let asked = read(json!({"type": "json_schema", "json_schema": described}));
        assert_eq!(asked, Ok(Format::Json { schema, strict: true }));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (json!("json"), "response_format"),
            (json!({"type": "xml"}), "response_format.type"),
            (json!({"type": "json_schema"}), "response_format.json_schema"),
            (
                json!({"type": "json_schema", "json_schema": {"name": "a"}}),
                "response_format.json_schema.schema",
            ),
        ];
        for (format, param) in cases {
            let error = read(format).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{}", error.message);
            assert!(error.message.starts_with(param));
        }
    }
}
