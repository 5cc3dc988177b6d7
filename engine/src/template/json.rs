//! `tojson` as chat templates know it: Hugging Face's, which writes as Python's `json.dumps` does and escapes no HTML.
//!
//! The model has seen tools described in exactly this form.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{Result as Written, Write};

/// The filter.
pub(super) fn tojson(value: &Value, indent: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let indent = indent.or(options.get::<Option<usize>>("indent")?);
    let wrong = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut written = Vec::new();
    match indent {
        Some(width) => {
            let space = vec![b' '; width.min(16)];
            let pretty = PrettyFormatter::with_indent(&space);
            value.serialize(&mut Serializer::with_formatter(&mut written, pretty)).map_err(wrong)?;
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut written, Python)).map_err(wrong)?,
    }
    String::from_utf8(written).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// `{"a": 1, "b": [2, 3]}`
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> Written<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> Written<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> Written<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(indent: Option<usize>) -> String {
        let value: serde_json::Value =
            serde_json::from_str(r#"{"z":"<a> & 'é'","a":[1,2.5,null,true],"e":{}}"#).unwrap();
        tojson(
            &Value::from(minijinja::value::Serde(value)),
            indent,
            Kwargs::from_iter([] as [(&str, Value); 0]),
        )
        .unwrap()
    }

    #[test]
    fn as_python_writes_it() {
        assert_eq!(written(None), r#"{"z": "<a> & 'é'", "a": [1, 2.5, null, true], "e": {}}"#);
        assert!(written(Some(4)).starts_with("{\n    \"z\": \"<a>"), "{}", written(Some(4)));
    }
}
