//! Tiny random LoRA adapters: what llama.cpp's convert_lora_to_gguf.py makes, with a rank of four.

use super::{Dice, F32, HEAD, HEADS, KV_HEADS, LAYERS, WIDTH, numbers};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use tollgate_engine::models::gguf::{NewTensor, Value, Writer};

const RANK: u64 = 4;

/// Writes an adapter of the attention of a tiny model; another `seed` makes it another one.
pub(crate) fn write(architecture: &str, seed: u64, path: &Path) {
    let text =
        [("general.architecture", architecture), ("general.type", "adapter"), ("adapter.type", "lora")];
    let mut metadata: Vec<_> =
        text.iter().map(|(key, value)| ((*key).to_owned(), Value::text(value))).collect();
    metadata.push(("adapter.lora.alpha".to_owned(), Value::F32(4.0)));
    let tensor = |name: String, shape: [u64; 2]| NewTensor { name, shape: shape.to_vec(), kind: F32 };
    let pair = |layer: u64, part: &str, from: u64, to: u64| {
        let name = format!("blk.{layer}.{part}.weight");
        [tensor(format!("{name}.lora_a"), [from, RANK]), tensor(format!("{name}.lora_b"), [RANK, to])]
    };
    let of_layer = |layer: u64| {
        let attention = HEADS * HEAD;
        [
            pair(layer, "attn_q", WIDTH, attention),
            pair(layer, "attn_v", WIDTH, KV_HEADS * HEAD),
            pair(layer, "attn_output", attention, WIDTH),
        ]
        .into_iter()
        .flatten()
    };
    let tensors: Vec<NewTensor> = (0..LAYERS).flat_map(of_layer).collect();
    let file = BufWriter::new(File::create(path).unwrap());
    let mut writer = Writer::begin(file, &metadata, tensors.clone()).unwrap();
    let mut dice = Dice(seed);
    for tensor in &tensors {
        writer.tensor(&tensor.name, &numbers(tensor, &mut dice)).unwrap();
    }
    writer.finish().unwrap();
}
