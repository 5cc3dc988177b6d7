//! `lora`: the adapter a request asks for, by name or, as llama-server has it, by a list of places and scales.

use super::super::error::ApiError;
use super::fields::Fields;
use serde_json::Value;

/// As far as an adapter applies.
const MOST_SCALE: f64 = crate::adapters::MOST_SCALE as f64;

/// What `lora` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lora {
    /// An adapter's name.
    Name(String),
    /// Adapters by their place, each with its scale; those that are not named do not apply.
    Scales(Vec<(usize, f32)>),
}

/// Reads the field.
pub(super) fn parse(fields: &Fields<'_>) -> Result<Option<Lora>, ApiError> {
    match fields.value("lora") {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(Lora::Name(name.clone()))),
        Some(Value::Array(list)) => {
            let scales = list.iter().enumerate().map(|(index, each)| scale(&format!("lora[{index}]"), each));
            scales.collect::<Result<_, _>>().map(|scales| Some(Lora::Scales(scales)))
        }
        Some(_) => Err(wrong("lora")),
    }
}

fn scale(path: &str, each: &Value) -> Result<(usize, f32), ApiError> {
    let object = each.as_object().ok_or_else(|| wrong(path))?;
    let fields = Fields::at(object, path.to_owned());
    let id = fields.integer("id", 0..=i64::from(u32::MAX))?;
    let scale = fields.number("scale", -MOST_SCALE..=MOST_SCALE)?;
    match (id.and_then(|id| usize::try_from(id).ok()), scale) {
        (Some(id), Some(scale)) => Ok((id, scale)),
        _ => Err(wrong(path)),
    }
}

fn wrong(path: &str) -> ApiError {
    let expected = match path {
        "lora" => "an adapter's name, or a list such as [{\"id\": 0, \"scale\": 1.0}]",
        _ => "an object such as {\"id\": 0, \"scale\": 1.0}",
    };
    ApiError::invalid(path, format!("{path} must be {expected}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(lora: &Value) -> Result<Option<Lora>, ApiError> {
        let body = json!({"lora": lora});
        parse(&Fields::new(body.as_object().unwrap()))
    }

    #[test]
    fn an_adapter_is_named_or_numbered() {
        assert_eq!(read(&Value::Null).unwrap(), None);
        assert_eq!(read(&json!("sql")).unwrap(), Some(Lora::Name("sql".to_owned())));
        let list = json!([{"id": 1, "scale": 0.5}, {"id": 0, "scale": 0}]);
        assert_eq!(read(&list).unwrap(), Some(Lora::Scales(vec![(1, 0.5), (0, 0.0)])));
        assert_eq!(read(&json!([])).unwrap(), Some(Lora::Scales(Vec::new())));
    }

    #[test]
    fn mistakes_are_named() {
        for (lora, param) in [
            (json!(5), "lora"),
            (json!([5]), "lora[0]"),
            (json!([{"id": 0}]), "lora[0]"),
            (json!([{"id": 0, "scale": 1}, {"id": -1, "scale": 1}]), "lora[1].id"),
            (json!([{"id": 0, "scale": 1000}]), "lora[0].scale"),
        ] {
            let error = read(&lora).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param));
            assert!(error.message.contains("must be"), "{}", error.message);
        }
    }
}
