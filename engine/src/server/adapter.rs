//! Which of the engine's adapters a request is answered with: the one that its `model` names, or its `lora`.
//!
//! Where `model` names an adapter or the model itself, `lora` cannot lead elsewhere: a gateway in front decides by `model`
//! what a caller may use and what it costs. An engine without adapters takes any `model`, as llama-server does.

use super::Service;
use super::error::ApiError;
use super::request::{ChatRequest, Lora};
use crate::llama::Applied;

impl Service {
    /// The adapter, and what the model is then called.
    pub(super) fn adapter(&self, request: &ChatRequest) -> Result<(Option<Applied>, &str), ApiError> {
        let by_model = self.named_by_model(request.model.as_deref())?;
        let by_lora = request.lora.as_ref().map(|lora| self.named_by_lora(lora)).transpose()?;
        let number = |applied: Option<Applied>| applied.map(|applied| applied.adapter);
        let applied = match (by_model, by_lora) {
            (Some(model), Some(lora)) if number(model) != number(lora) => {
                let message = "lora asks for another adapter than model does; leave one of them out.";
                return Err(ApiError::invalid("lora", message));
            }
            (_, Some(applied)) | (Some(applied), None) => applied,
            (None, None) => None,
        };
        let loaded = applied.and_then(|applied| self.model.adapters().get(applied.adapter));
        let name = loaded.map_or(self.name.as_str(), |loaded| loaded.name.as_str());
        // At no scale it is the bare model, and shares that one's batches and cells.
        Ok((applied.filter(|applied| applied.scale != 0.0), name))
    }

    /// `None` where `model` says nothing about it.
    fn named_by_model(&self, model: Option<&str>) -> Result<Option<Option<Applied>>, ApiError> {
        let Some(name) = model.filter(|_| !self.model.adapters().is_empty()) else { return Ok(None) };
        if name == self.name {
            return Ok(Some(None));
        }
        let found = self.named(name).map(|applied| Some(Some(applied)));
        found.ok_or_else(|| {
            let there = format!("{} (without an adapter), {}", self.name, self.adapter_names());
            ApiError::invalid("model", format!("model: there is no {name:?} here; there are {there}."))
        })
    }

    fn named_by_lora(&self, lora: &Lora) -> Result<Option<Applied>, ApiError> {
        let unknown = |field: String, what: String| {
            let there = match self.model.adapters() {
                [] => "this engine has none: start it with --lora NAME=FILE".to_owned(),
                _ => format!("there are {}", self.adapter_names()),
            };
            ApiError::invalid(&*field, format!("{field}: there is no adapter {what}; {there}."))
        };
        let scales = match lora {
            Lora::Name(name) => {
                let found = self.named(name).map(Some);
                return found.ok_or_else(|| unknown("lora".to_owned(), format!("{name:?}")));
            }
            Lora::Scales(scales) => scales,
        };
        if let Some((index, (id, _))) =
            scales.iter().enumerate().find(|(_, (id, _))| *id >= self.model.adapters().len())
        {
            return Err(unknown(format!("lora[{index}].id"), id.to_string()));
        }
        let mut applied = scales.iter().filter(|(_, scale)| *scale != 0.0);
        match (applied.next(), applied.next()) {
            (None, _) => Ok(None),
            (Some(&(adapter, scale)), None) => Ok(Some(Applied { adapter, scale })),
            _ => {
                let message = "lora: several adapters at once are not supported; ask for one, or merge them.";
                Err(ApiError::unsupported("lora", message))
            }
        }
    }

    fn named(&self, name: &str) -> Option<Applied> {
        let mut adapters = self.model.adapters().iter().enumerate();
        let (adapter, loaded) = adapters.find(|(_, loaded)| loaded.name == name)?;
        Some(Applied { adapter, scale: loaded.scale })
    }

    fn adapter_names(&self) -> String {
        let names: Vec<&str> = self.model.adapters().iter().map(|loaded| loaded.name.as_str()).collect();
        names.join(", ")
    }
}
