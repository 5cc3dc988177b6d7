//! Typed reading of a JSON object's fields. `null` counts as absent; a wrong type is an error that names the field.

use super::super::error::ApiError;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// An object's fields, and where the object stands in the request.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    /// The request itself.
    pub(super) fn new(object: &'a Map<String, Value>) -> Self {
        Self { object, path: String::new() }
    }

    /// An object at `path` in the request.
    pub(super) fn at(object: &'a Map<String, Value>, path: String) -> Self {
        Self { object, path }
    }

    /// The full name of a field.
    pub(super) fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// A field of any type.
    pub(super) fn value(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'a str>, ApiError> {
        self.read(field, Value::as_str, "a string")
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, ApiError> {
        self.read(field, Value::as_bool, "true or false")
    }

    pub(super) fn object(&self, field: &str) -> Result<Option<Fields<'a>>, ApiError> {
        let object = self.read(field, Value::as_object, "an object")?;
        Ok(object.map(|object| Fields::at(object, self.name(field))))
    }

    pub(super) fn integer(&self, field: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        self.read(field, |value| value.as_i64().filter(|number| range.contains(number)), &expected)
    }

    pub(super) fn number(&self, field: &str, range: RangeInclusive<f64>) -> Result<Option<f32>, ApiError> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let read = |value: &Value| {
            value.as_f64().filter(|number| range.contains(number)).map(|number| number as f32)
        };
        self.read(field, read, &expected)
    }

    fn read<T>(
        &self,
        field: &str,
        read: impl Fn(&'a Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let wrong = || {
            let name = self.name(field);
            let message = format!("{name} must be {expected}.");
            ApiError::invalid(name, message)
        };
        read(value).map(Some).ok_or_else(wrong)
    }
}
