//! `adapter_config.json`: how strongly each matrix applies, and what it says that cannot be followed.

use super::Unconvertible;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What begins a key of `alpha_pattern` that names a module from its beginning.
const WHOLE: char = '^';
/// What a key has that is a pattern and no name.
const PATTERN: &[char] = &['*', '+', '?', '[', ']', '(', ')', '{', '}', '|', '\\', '$', '^'];
/// Ways to begin that change the model's own weights.
const OTHER_WEIGHTS: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

/// What it says, of what matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    peft_type: Option<String>,
    lora_alpha: Option<f64>,
    alpha_pattern: Option<BTreeMap<String, f64>>,
    use_rslora: Option<bool>,
    use_dora: Option<bool>,
    fan_in_fan_out: Option<bool>,
    lora_bias: Option<bool>,
    bias: Option<String>,
    modules_to_save: Option<Vec<String>>,
    init_lora_weights: Option<Value>,
    layer_replication: Option<Value>,
    alora_invocation_tokens: Option<Value>,
    trainable_token_indices: Option<Value>,
}

impl Config {
    pub(super) fn parse(json: &[u8]) -> Result<Config, Unconvertible> {
        let config: Config = serde_json::from_slice(json)?;
        match config.objection() {
            Some((field, value, why)) => Err(Unconvertible::Setting { field, value, why }),
            None => Ok(config),
        }
    }

    /// What cannot be followed: the field, its value, and why.
    fn objection(&self) -> Option<(&'static str, String, &'static str)> {
        let told = |value: &Option<String>| value.clone().unwrap_or_default();
        if self.peft_type.as_deref() != Some("LORA") {
            return Some(("peft_type", told(&self.peft_type), "only LORA can be used"));
        }
        for (field, set, why) in [
            ("use_dora", self.use_dora, "DoRA is not supported; train without it"),
            ("fan_in_fan_out", self.fan_in_fan_out, "its matrices lie the other way round"),
            ("lora_bias", self.lora_bias, "trained biases cannot be taken along"),
        ] {
            if set == Some(true) {
                return Some((field, "true".to_owned(), why));
            }
        }
        if self.bias.as_deref().is_some_and(|bias| bias != "none") {
            return Some((
                "bias",
                told(&self.bias),
                "trained biases cannot be taken along; train with \"none\"",
            ));
        }
        if self.modules_to_save.as_ref().is_some_and(|modules| !modules.is_empty()) {
            let value = format!("{:?}", self.modules_to_save.as_deref().unwrap_or_default());
            return Some((
                "modules_to_save",
                value,
                "whole modules cannot be taken along; merge them into the model",
            ));
        }
        let begun = self.init_lora_weights.as_ref().and_then(Value::as_str).unwrap_or_default();
        if OTHER_WEIGHTS.iter().any(|other| begun.to_lowercase().starts_with(other)) {
            let why = "it belongs to changed weights of the model; save it with path_initial_model_for_weight_conversion";
            return Some(("init_lora_weights", begun.to_owned(), why));
        }
        for (field, value) in [
            ("layer_replication", &self.layer_replication),
            ("alora_invocation_tokens", &self.alora_invocation_tokens),
            ("trainable_token_indices", &self.trainable_token_indices),
        ] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_null()) {
                return Some((field, value.to_string(), "a GGUF adapter has nothing of the kind"));
            }
        }
        None
    }

    /// What the product of the two matrices of a module is multiplied by.
    pub(super) fn scale(&self, module: &str, rank: u64) -> Result<f64, Unconvertible> {
        let mut alpha = self.lora_alpha.unwrap_or_default();
        for (key, own) in self.alpha_pattern.iter().flatten() {
            let (name, whole) = key.strip_prefix(WHOLE).map_or((key.as_str(), false), |name| (name, true));
            if name.contains(PATTERN) {
                let why = "patterns cannot be followed; name the modules";
                return Err(Unconvertible::Setting { field: "alpha_pattern", value: key.clone(), why });
            }
            let before = module.strip_suffix(name);
            if before.is_some_and(|before| before.is_empty() || (!whole && before.ends_with('.'))) {
                alpha = *own;
                break;
            }
        }
        if !(alpha.is_finite() && alpha > 0.0) {
            let why = "it must be a number above 0";
            return Err(Unconvertible::Setting { field: "lora_alpha", value: alpha.to_string(), why });
        }
        let rank = rank as f64;
        Ok(if self.use_rslora == Some(true) { alpha / rank.sqrt() } else { alpha / rank })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(more: Value) -> Result<Config, Unconvertible> {
        let mut all =
            json!({"peft_type": "LORA", "r": 16, "lora_alpha": 32, "bias": "none", "task_type": "CAUSAL_LM"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Config::parse(all.to_string().as_bytes())
    }

    #[test]
    fn each_module_has_its_own_scale() {
        let scale = |more: Value, module: &str, rank| parse(more).unwrap().scale(module, rank).unwrap();
        let plain = json!({"modules_to_save": null, "init_lora_weights": true, "use_dora": false});
        assert!((scale(plain, "model.layers.0.self_attn.q_proj", 16) - 2.0).abs() < 1e-12);
        assert!((scale(json!({"use_rslora": true}), "m", 16) - 8.0).abs() < 1e-12);
        let own = || json!({"alpha_pattern": {"up_proj": 4, "^a.q_proj": 1}, "rank_pattern": {"up_proj": 4}});
        for (module, expected) in
            [("a.up_proj", 1.0), ("b.backup_proj", 8.0), ("a.q_proj", 0.25), ("b.a.q_proj", 8.0)]
        {
            assert!((scale(own(), module, 4) - expected).abs() < 1e-12, "{module}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_told_by_its_name() {
        for (more, part) in [
            (json!({"peft_type": "LOHA"}), "peft_type = LOHA"),
            (json!({"use_dora": true}), "use_dora = true"),
            (json!({"bias": "all"}), "bias = all"),
            (json!({"modules_to_save": ["lm_head"]}), "modules_to_save = [\"lm_head\"]"),
            (json!({"init_lora_weights": "pissa_niter_4"}), "init_lora_weights = pissa_niter_4"),
            (json!({"layer_replication": [[0, 2]]}), "layer_replication = [[0,2]]"),
            (json!({"lora_alpha": "x"}), "cannot be understood"),
        ] {
            let told = parse(more.clone()).unwrap_err().to_string();
            assert!(told.contains(part), "{more}: {told}");
        }
        for (more, part) in [
            (json!({"lora_alpha": 0}), "lora_alpha = 0"),
            (json!({"alpha_pattern": {"layers.[0-9].q_proj": 1}}), "alpha_pattern = layers.[0-9].q_proj"),
        ] {
            let told = parse(more).unwrap().scale("q_proj", 8).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
    }
}
