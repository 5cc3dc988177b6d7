//! Where a trainer's module is in a GGUF model, and in which order the model has its rows.
//!
//! Of Llama's family the queries' and keys' rows lie in another order: positions turn pairs of a head's numbers, which
//! Transformers has half a head apart and GGUF files beside each other. The other architectures here keep the trainer's order.

use super::Unconvertible;
use crate::models::gguf::{Gguf, Value};

/// The architectures whose adapters are taken.
pub(super) const KNOWN: &str = "llama, qwen2, qwen2moe, qwen3 and qwen3moe";
const PAIRED: &str = "llama";
const PLAIN: [&str; 4] = ["qwen2", "qwen2moe", "qwen3", "qwen3moe"];

/// What is said of any other module.
pub(super) const UNREACHABLE: &str =
    "an adapter can change q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj and lm_head";

/// The trainer's names within a layer, and the files'.
const MODULES: [(&str, &str); 7] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// What a model's architecture says about its matrices.
#[derive(Debug)]
pub(super) struct Layout {
    architecture: String,
    /// Heads of queries and of keys, where their rows lie in another order.
    heads: Option<(usize, usize)>,
}

/// A model's tensor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: String,
    /// The heads whose rows are to be put in order.
    pub(super) heads: Option<usize>,
}

impl Layout {
    /// The layout of this model.
    pub(super) fn of(base: &Gguf) -> Result<Layout, Unconvertible> {
        let architecture =
            base.value("general.architecture").and_then(Value::as_text).unwrap_or_default().into_owned();
        let heads = match architecture.as_str() {
            PAIRED => {
                let count = |key: &str| base.number(&format!("{architecture}.attention.{key}"));
                let queries = count("head_count")?;
                let keys = count("head_count_kv").unwrap_or(queries);
                let usable = |heads: u64| usize::try_from(heads).unwrap_or_default().max(1);
                Some((usable(queries), usable(keys)))
            }
            other if PLAIN.contains(&other) => None,
            _ => return Err(Unconvertible::Architecture(architecture)),
        };
        Ok(Layout { architecture, heads })
    }

    pub(super) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Where a module is; `None` for what no adapter reaches.
    pub(super) fn target(&self, module: &str) -> Option<Target> {
        if module == "lm_head" {
            return Some(Target { name: "output.weight".to_owned(), heads: None });
        }
        let (layer, part) = module.strip_prefix("model.layers.")?.split_once('.')?;
        let layer: u32 = layer.parse().ok()?;
        let (_, name) = MODULES.iter().find(|(theirs, _)| *theirs == part)?;
        let heads = self.heads.and_then(|(queries, keys)| match *name {
            "attn_q" => Some(queries),
            "attn_k" => Some(keys),
            _ => None,
        });
        Some(Target { name: format!("blk.{layer}.{name}.weight"), heads })
    }
}

/// A matrix with rows of so many numbers, in the model's order where the trainer's is another.
pub(super) fn rows(numbers: Vec<f32>, row: usize, heads: Option<usize>) -> Vec<f32> {
    let Some(heads) = heads else { return numbers };
    let size = numbers.len() / row.max(1) / heads;
    let order =
        (0..heads).flat_map(|head| (0..size).map(move |at| head * size + at % 2 * (size / 2) + at / 2));
    let mut ordered = Vec::with_capacity(numbers.len());
    for from in order {
        ordered.extend_from_slice(numbers.get(from * row..(from + 1) * row).unwrap_or_default());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_their_tensors() {
        let layout = Layout { architecture: "llama".to_owned(), heads: Some((8, 2)) };
        let target = |module: &str| layout.target(module).map(|target| (target.name, target.heads));
        let found = |name: &str, heads| Some((name.to_owned(), heads));
        assert_eq!(target("model.layers.11.self_attn.q_proj"), found("blk.11.attn_q.weight", Some(8)));
        assert_eq!(target("model.layers.0.self_attn.k_proj"), found("blk.0.attn_k.weight", Some(2)));
        assert_eq!(target("model.layers.0.mlp.down_proj"), found("blk.0.ffn_down.weight", None));
        assert_eq!(target("lm_head"), found("output.weight", None));
        for module in
            ["model.embed_tokens", "model.layers.x.mlp.up_proj", "model.layers.1.mlp.experts.0.up_proj"]
        {
            assert_eq!(target(module), None, "{module}");
        }
    }

    #[test]
    fn pairs_half_a_head_apart_come_beside_each_other() {
        let numbers: Vec<f32> = (0_u8..16).map(f32::from).collect();
        let expected = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15_u8].map(f32::from);
        assert_eq!(rows(numbers.clone(), 2, Some(2)), expected);
        assert_eq!(rows(numbers.clone(), 2, None), numbers);
    }
}
