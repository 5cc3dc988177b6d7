//! LoRA adapters as PEFT saves them, Unsloth and other trainers too: a folder with `adapter_config.json` and
//! `adapter_model.safetensors`, written anew as the GGUF that llama.cpp reads.
//!
//! Invariant: what comes out computes what was trained, or nothing comes out. Whatever a GGUF adapter cannot say (a part of the
//! model that it does not reach, another method than LoRA) is refused by name, and every shape is held against the model's own.

mod config;
mod target;

use crate::adapters::{CONFIG, WEIGHTS};
use crate::models::gguf::{Gguf, GgufError, NewTensor, TensorType, Value, Writer};
use config::Config;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use target::Layout;

/// What stands before every name, of the two classes that the trainer wraps around the model.
const WRAPPED: &str = "base_model.model.";
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconvertible {
    /// A file is missing, or cannot be read.
    #[error("{file} cannot be read: {source}")]
    Unread {
        /// The file's name.
        file: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Its configuration is none.
    #[error("{CONFIG} cannot be understood: {0}")]
    Config(#[from] serde_json::Error),
    /// It was trained in a way that this does not know.
    #[error("{CONFIG} has {field} = {value}: {why}")]
    Setting {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
        /// Why that is of no use here.
        why: &'static str,
    },
    /// Its weights are damaged.
    #[error("{WEIGHTS} is cut or damaged: {0}")]
    Damaged(#[from] safetensors::SafeTensorError),
    /// It holds none.
    #[error("{WEIGHTS} holds no LoRA weights")]
    Empty,
    /// The model's names and layouts are not known here.
    #[error("models of the architecture {0:?} take adapters as GGUF files only; as folders, those of {known} do", known = target::KNOWN)]
    Architecture(String),
    /// It changes what cannot be changed.
    #[error("its tensor {tensor} cannot be used: {why}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It is of another model.
    #[error(
        "its tensor {tensor} has the shape {found:?}, where this model wants {wanted:?}; was it trained on another one?"
    )]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// What would fit.
        wanted: [u64; 2],
    },
    /// The model's own file, or the one that is written.
    #[error(transparent)]
    Gguf(#[from] GgufError),
}

impl Unconvertible {
    fn tensor(tensor: &str, why: &'static str) -> Self {
        Self::Tensor { tensor: tensor.to_owned(), why }
    }
}

/// The two thin matrices that change one of the model's.
#[derive(Default)]
struct Pair<'a> {
    a: Option<TensorView<'a>>,
    b: Option<TensorView<'a>>,
}

/// One change, ready to be written.
struct Change<'a> {
    /// The model's tensor.
    name: String,
    a: TensorView<'a>,
    b: TensorView<'a>,
    rank: u64,
    /// What the product of both is multiplied by, times the rank, by which llama.cpp divides it.
    strength: f64,
    /// Heads whose rows the model has in another order.
    heads: Option<usize>,
}

/// Writes the adapter in `folder` as GGUF, for the model in `base`.
pub(crate) fn convert(folder: &Path, base: &Gguf, out: impl Write) -> Result<(), Unconvertible> {
    let read =
        |file| std::fs::read(folder.join(file)).map_err(|source| Unconvertible::Unread { file, source });
    let config = Config::parse(&read(CONFIG)?)?;
    let layout = Layout::of(base)?;
    let weights = read(WEIGHTS)?;
    let weights = SafeTensors::deserialize(&weights)?;
    let mut changes = Vec::new();
    for (module, pair) in pairs(&weights)? {
        changes.push(change(&module, pair, &config, &layout, base)?);
    }
    let alpha = changes.first().ok_or(Unconvertible::Empty)?.strength;
    let text = [
        ("general.architecture", layout.architecture()),
        ("general.type", "adapter"),
        ("adapter.type", "lora"),
    ];
    let mut metadata: Vec<_> =
        text.iter().map(|(key, value)| ((*key).to_owned(), Value::text(value))).collect();
    metadata.push(("adapter.lora.alpha".to_owned(), Value::F32(alpha as f32)));
    let mut writer = Writer::begin(out, &metadata, changes.iter().flat_map(Change::tensors).collect())?;
    for change in &changes {
        let [a, b] = change.tensors();
        writer.tensor(&a.name, &bytes(numbers(&change.a)))?;
        // There is one alpha for all; where they differ, the matrix makes up for it.
        let factor = (change.strength / alpha) as f32;
        let numbers = numbers(&change.b).map(|number| number * factor);
        let row = usize::try_from(change.rank).unwrap_or(usize::MAX);
        writer.tensor(&b.name, &bytes(target::rows(numbers.collect(), row, change.heads)))?;
    }
    writer.finish()?;
    Ok(())
}

/// The matrices by the module that they change, of which the name is the trainer's.
fn pairs<'a>(weights: &SafeTensors<'a>) -> Result<BTreeMap<String, Pair<'a>>, Unconvertible> {
    let mut pairs: BTreeMap<String, Pair<'a>> = BTreeMap::new();
    for (name, view) in weights.tensors() {
        let module = name.strip_prefix(WRAPPED).unwrap_or(&name);
        if let Some(module) = module.strip_suffix(A) {
            pairs.entry(module.to_owned()).or_default().a = Some(view);
        } else if let Some(module) = module.strip_suffix(B) {
            pairs.entry(module.to_owned()).or_default().b = Some(view);
        } else {
            let why = match () {
                () if name.contains("lora_magnitude_vector") => {
                    "DoRA is not supported; train with use_dora = False"
                }
                () if name.contains("lora_embedding_") => target::UNREACHABLE,
                () => "it is no part of a LoRA (modules_to_save and trained biases cannot be taken along)",
            };
            return Err(Unconvertible::tensor(&name, why));
        }
    }
    Ok(pairs)
}

fn change<'a>(
    module: &str,
    pair: Pair<'a>,
    config: &Config,
    layout: &Layout,
    base: &Gguf,
) -> Result<Change<'a>, Unconvertible> {
    let named = |end: &str| format!("{WRAPPED}{module}{end}");
    let (Some(a), Some(b)) = (pair.a, pair.b) else {
        return Err(Unconvertible::tensor(&named(""), "one of lora_A and lora_B is missing"));
    };
    let target =
        layout.target(module).ok_or_else(|| Unconvertible::tensor(&named(A), target::UNREACHABLE))?;
    let Ok(tensor) = base.tensor(&target.name) else {
        return Err(Unconvertible::tensor(&named(A), "this model has no such part"));
    };
    let &[from, to] = &tensor.shape[..] else {
        return Err(Unconvertible::tensor(&named(A), target::UNREACHABLE));
    };
    let rank = a.shape().first().map_or(0, |rank| *rank as u64);
    for (view, wanted, end) in [(&a, [rank.max(1), from], A), (&b, [to, rank], B)] {
        if !view.shape().iter().map(|n| *n as u64).eq(wanted) {
            return Err(Unconvertible::Shape { tensor: named(end), found: view.shape().to_vec(), wanted });
        }
        if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(Unconvertible::tensor(&named(end), "its numbers must be F32, F16 or BF16"));
        }
    }
    let strength = config.scale(module, rank)? * rank as f64;
    Ok(Change { name: target.name, a, b, rank, strength, heads: target.heads })
}

impl Change<'_> {
    fn tensors(&self) -> [NewTensor; 2] {
        let columns = |view: &TensorView<'_>| view.shape().get(1).map_or(0, |n| *n as u64);
        let rows = |view: &TensorView<'_>| view.shape().first().map_or(0, |n| *n as u64);
        let tensor = |end: &str, view| {
            let shape = vec![columns(view), rows(view)];
            NewTensor { name: format!("{}.{end}", self.name), shape, kind: TensorType::F32 }
        };
        [tensor("lora_a", &self.a), tensor("lora_b", &self.b)]
    }
}

/// A tensor's numbers, of one of the three types that pass.
fn numbers<'a>(view: &'a TensorView<'_>) -> Box<dyn Iterator<Item = f32> + 'a> {
    let (quads, _) = view.data().as_chunks::<4>();
    let (twos, _) = view.data().as_chunks::<2>();
    match view.dtype() {
        Dtype::F32 => Box::new(quads.iter().map(|bytes| f32::from_le_bytes(*bytes))),
        Dtype::BF16 => {
            Box::new(twos.iter().map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16)))
        }
        _ => Box::new(twos.iter().map(|bytes| half(u16::from_le_bytes(*bytes)))),
    }
}

/// A number of half precision.
fn half(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let sign = (bits & 0x8000) << 16;
    // The same bits as a float's are smaller by what the exponents' biases differ.
    let size = match bits & 0x7fff {
        infinite @ 0x7c00.. => f32::from_bits(0x7f80_0000 | (infinite & 0x3ff) << 13),
        finite => f32::from_bits(finite << 13) * f32::from_bits((127 + 112) << 23),
    };
    f32::from_bits(size.to_bits() | sign)
}

fn bytes(numbers: impl IntoIterator<Item = f32>) -> Vec<u8> {
    let numbers = numbers.into_iter();
    let mut bytes = Vec::with_capacity(numbers.size_hint().0 * size_of::<f32>());
    numbers.for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_to_the_last_bit() {
        for (bits, number) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0x83ff, -6.097_555e-5),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), f32::to_bits(number), "{bits:x}");
        }
        assert!(half(0x7e00).is_nan());
    }
}
