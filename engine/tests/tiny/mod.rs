//! Tiny random models of real mixture-of-experts architectures: llama.cpp's names, hyperparameters and tensor sets (of
//! `src/models/*.cpp` and `llama-arch.cpp`), with widths of a few dozen and the small test model's vocabulary.
//!
//! The same name gives the same bytes.

#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod lora;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use tollgate_engine::models::gguf::{Gguf, NewTensor, TensorType, Value, Writer};

const WIDTH: u64 = 64;
const HEADS: u64 = 4;
const KV_HEADS: u64 = 2;
const HEAD: u64 = 16;
const LAYERS: u64 = 2;
pub(crate) const EXPERTS: u64 = 8;
pub(crate) const USED: u64 = 2;
const EXPERT_WIDTH: u64 = 32;
const F32: TensorType = TensorType::F32;
const Q8: TensorType = TensorType::Q8_0;
const MXFP4: TensorType = TensorType(39);

/// An architecture's name for llama.cpp, its own keys, and its tensors beside embeddings and norms.
pub(crate) struct Architecture {
    pub(crate) name: &'static str,
    /// What people call the model.
    pub(crate) model: &'static str,
    keys: fn(&mut Keys),
    layer: fn(&mut Tensors, u64),
    /// Whether the output has a matrix of its own.
    output: bool,
}

pub(crate) const ALL: [Architecture; 6] = [
    Architecture { name: "llama", model: "Mixtral", keys: mixtral_keys, layer: mixtral, output: true },
    Architecture { name: "qwen3moe", model: "Qwen3-MoE", keys: qwen3_keys, layer: qwen3, output: true },
    Architecture { name: "olmoe", model: "OLMoE", keys: olmoe_keys, layer: olmoe, output: true },
    Architecture { name: "gpt-oss", model: "gpt-oss", keys: gpt_oss_keys, layer: gpt_oss, output: true },
    Architecture {
        name: "deepseek2",
        model: "DeepSeek-V2",
        keys: deepseek_keys,
        layer: deepseek,
        output: true,
    },
    Architecture {
        name: "granitemoe",
        model: "Granite-MoE",
        keys: granite_keys,
        layer: mixtral,
        output: false,
    },
];

/// Metadata under the architecture's name.
pub(crate) struct Keys {
    name: &'static str,
    all: Vec<(String, Value)>,
}

impl Keys {
    fn add(&mut self, key: &str, value: Value) {
        self.all.push((format!("{}.{key}", self.name), value));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.add(key, Value::U32(u32::try_from(value).unwrap()));
    }

    fn float(&mut self, key: &str, value: f32) {
        self.add(key, Value::F32(value));
    }
}

fn mixtral_keys(keys: &mut Keys) {
    keys.number("feed_forward_length", EXPERT_WIDTH);
    keys.number("rope.dimension_count", HEAD);
    keys.float("rope.freq_base", 1e6);
}

fn qwen3_keys(keys: &mut Keys) {
    keys.number("feed_forward_length", 2 * EXPERT_WIDTH);
    keys.number("expert_feed_forward_length", EXPERT_WIDTH);
    keys.number("attention.key_length", HEAD);
    keys.number("attention.value_length", HEAD);
    keys.float("rope.freq_base", 1e6);
}

fn olmoe_keys(keys: &mut Keys) {
    keys.number("feed_forward_length", EXPERT_WIDTH);
    keys.float("rope.freq_base", 1e4);
}

fn gpt_oss_keys(keys: &mut Keys) {
    keys.number("feed_forward_length", EXPERT_WIDTH);
    keys.number("expert_feed_forward_length", EXPERT_WIDTH);
    keys.number("attention.key_length", HEAD);
    keys.number("attention.value_length", HEAD);
    // Shorter than the prompts: the window has to move.
    keys.number("attention.sliding_window", 16);
    keys.float("rope.freq_base", 150_000.0);
    keys.add("rope.scaling.type", Value::text("yarn"));
    keys.float("rope.scaling.factor", 32.0);
    keys.number("rope.scaling.original_context_length", 4096);
}

/// Of latent attention: what queries and keys are made from, and the parts of a head without and with positions.
const LATENT: u64 = 32;
const PLAIN: u64 = 32;
const ROTATED: u64 = 16;

fn deepseek_keys(keys: &mut Keys) {
    keys.number("feed_forward_length", 2 * EXPERT_WIDTH);
    keys.number("expert_feed_forward_length", EXPERT_WIDTH);
    keys.number("leading_dense_block_count", 1);
    keys.number("attention.q_lora_rank", LATENT);
    keys.number("attention.kv_lora_rank", LATENT);
    keys.number("attention.key_length", LATENT + ROTATED);
    keys.number("attention.value_length", LATENT);
    keys.number("attention.key_length_mla", PLAIN + ROTATED);
    keys.number("attention.value_length_mla", PLAIN);
    keys.number("expert_shared_count", 2);
    keys.float("expert_weights_scale", 16.0);
    keys.number("rope.dimension_count", ROTATED);
    keys.add("rope.scaling.type", Value::text("yarn"));
    keys.float("rope.scaling.factor", 40.0);
    keys.number("rope.scaling.original_context_length", 4096);
    keys.float("rope.scaling.yarn_log_multiplier", 0.0707);
}

fn granite_keys(keys: &mut Keys) {
    mixtral_keys(keys);
    keys.float("logit_scale", 6.0);
    // Larger models damp their layers (0.22) and lift embeddings (12), which with random weights repeats the last token.
    keys.float("residual_scale", 0.9);
    keys.float("embedding_scale", 0.5);
    keys.float("attention.scale", 0.0625);
}

/// Tensors to be written, in order.
pub(crate) struct Tensors(Vec<NewTensor>);

impl Tensors {
    fn add(&mut self, name: String, shape: &[u64], kind: TensorType) {
        self.0.push(NewTensor { name, shape: shape.to_vec(), kind });
    }

    /// Of a layer, by the shape's and the type's default: vectors in single precision, matrices in eight bits.
    fn of(&mut self, layer: u64, name: &str, shape: &[u64]) {
        let kind = if shape.len() == 1 || name.starts_with("ffn_gate_inp") { F32 } else { Q8 };
        self.add(format!("blk.{layer}.{name}"), shape, kind);
    }

    fn norms(&mut self, layer: u64, second: &str) {
        self.of(layer, "attn_norm.weight", &[WIDTH]);
        self.of(layer, second, &[WIDTH]);
    }

    fn attention(&mut self, layer: u64, kv_heads: u64) {
        for (name, heads) in [("attn_q", HEADS), ("attn_k", kv_heads), ("attn_v", kv_heads)] {
            self.of(layer, &format!("{name}.weight"), &[WIDTH, heads * HEAD]);
        }
        self.of(layer, "attn_output.weight", &[HEADS * HEAD, WIDTH]);
    }

    fn experts(&mut self, layer: u64, kind: TensorType) {
        self.of(layer, "ffn_gate_inp.weight", &[WIDTH, EXPERTS]);
        for (name, row, rows) in
            [("gate", WIDTH, EXPERT_WIDTH), ("down", EXPERT_WIDTH, WIDTH), ("up", WIDTH, EXPERT_WIDTH)]
        {
            self.add(format!("blk.{layer}.ffn_{name}_exps.weight"), &[row, rows, EXPERTS], kind);
        }
    }

    fn feed_forward(&mut self, layer: u64, suffix: &str, width: u64) {
        self.of(layer, &format!("ffn_gate{suffix}.weight"), &[WIDTH, width]);
        self.of(layer, &format!("ffn_down{suffix}.weight"), &[width, WIDTH]);
        self.of(layer, &format!("ffn_up{suffix}.weight"), &[WIDTH, width]);
    }
}

fn mixtral(tensors: &mut Tensors, layer: u64) {
    tensors.norms(layer, "ffn_norm.weight");
    tensors.attention(layer, KV_HEADS);
    tensors.experts(layer, Q8);
}

fn qwen3(tensors: &mut Tensors, layer: u64) {
    mixtral(tensors, layer);
    tensors.of(layer, "attn_q_norm.weight", &[HEAD]);
    tensors.of(layer, "attn_k_norm.weight", &[HEAD]);
}

fn olmoe(tensors: &mut Tensors, layer: u64) {
    tensors.norms(layer, "ffn_norm.weight");
    tensors.attention(layer, HEADS);
    tensors.of(layer, "attn_q_norm.weight", &[WIDTH]);
    tensors.of(layer, "attn_k_norm.weight", &[WIDTH]);
    tensors.experts(layer, Q8);
}

fn gpt_oss(tensors: &mut Tensors, layer: u64) {
    tensors.norms(layer, "post_attention_norm.weight");
    tensors.attention(layer, KV_HEADS);
    tensors.of(layer, "attn_q.bias", &[HEADS * HEAD]);
    tensors.of(layer, "attn_k.bias", &[KV_HEADS * HEAD]);
    tensors.of(layer, "attn_v.bias", &[KV_HEADS * HEAD]);
    tensors.of(layer, "attn_output.bias", &[WIDTH]);
    tensors.of(layer, "attn_sinks.weight", &[HEADS]);
    tensors.experts(layer, MXFP4);
    tensors.of(layer, "ffn_gate_inp.bias", &[EXPERTS]);
    for (name, width) in [("gate", EXPERT_WIDTH), ("down", WIDTH), ("up", EXPERT_WIDTH)] {
        tensors.add(format!("blk.{layer}.ffn_{name}_exps.bias"), &[width, EXPERTS], F32);
    }
}

fn deepseek(tensors: &mut Tensors, layer: u64) {
    tensors.norms(layer, "ffn_norm.weight");
    tensors.of(layer, "attn_q_a_norm.weight", &[LATENT]);
    tensors.of(layer, "attn_kv_a_norm.weight", &[LATENT]);
    tensors.of(layer, "attn_q_a.weight", &[WIDTH, LATENT]);
    tensors.of(layer, "attn_q_b.weight", &[LATENT, HEADS * (PLAIN + ROTATED)]);
    tensors.of(layer, "attn_kv_a_mqa.weight", &[WIDTH, LATENT + ROTATED]);
    tensors.of(layer, "attn_k_b.weight", &[PLAIN, LATENT, HEADS]);
    tensors.of(layer, "attn_v_b.weight", &[LATENT, PLAIN, HEADS]);
    tensors.of(layer, "attn_output.weight", &[HEADS * PLAIN, WIDTH]);
    if layer == 0 {
        tensors.feed_forward(layer, "", 2 * EXPERT_WIDTH);
    } else {
        tensors.experts(layer, Q8);
        tensors.feed_forward(layer, "_shexp", 2 * EXPERT_WIDTH);
    }
}

/// Writes the model; its vocabulary and chat template are those of the file at `vocabulary`.
pub(crate) fn write(architecture: &Architecture, vocabulary: &Path, path: &Path) {
    let source = Gguf::open(vocabulary).unwrap();
    let tokenizer = source.metadata.iter().filter(|(key, _)| key.starts_with("tokenizer."));
    let name = architecture.name;
    let mut keys = Keys { name, all: Vec::new() };
    keys.number("context_length", 4096);
    keys.number("embedding_length", WIDTH);
    keys.number("block_count", LAYERS);
    keys.number("attention.head_count", HEADS);
    // Latent attention keeps one row for all heads.
    let kv_heads = match name {
        "deepseek2" => 1,
        "olmoe" => HEADS,
        _ => KV_HEADS,
    };
    keys.number("attention.head_count_kv", kv_heads);
    keys.float("attention.layer_norm_rms_epsilon", 1e-5);
    keys.number("expert_count", EXPERTS);
    keys.number("expert_used_count", USED);
    (architecture.keys)(&mut keys);
    let general = [("general.architecture", name), ("general.name", architecture.model)];
    let mut metadata: Vec<_> =
        general.iter().map(|(key, text)| ((*key).to_owned(), Value::text(text))).collect();
    metadata.append(&mut keys.all);
    metadata.extend(tokenizer.cloned());

    let Some(Value::Array(_, tokens)) = source.value("tokenizer.ggml.tokens") else { unreachable!() };
    let words = tokens.len() as u64;
    let mut tensors = Tensors(Vec::new());
    tensors.add("token_embd.weight".to_owned(), &[WIDTH, words], Q8);
    tensors.add("output_norm.weight".to_owned(), &[WIDTH], F32);
    if architecture.output {
        tensors.add("output.weight".to_owned(), &[WIDTH, words], Q8);
    }
    (0..LAYERS).for_each(|layer| (architecture.layer)(&mut tensors, layer));
    let mut writer =
        Writer::begin(BufWriter::new(File::create(path).unwrap()), &metadata, tensors.0.clone()).unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for tensor in &tensors.0 {
        writer.tensor(&tensor.name, &numbers(tensor, &mut dice)).unwrap();
    }
    writer.finish().unwrap();
}

/// Steele, Lea and Flood's SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A tensor's bytes: norms about 1, other vectors and the routers within ±0.5, matrices within ±0.25.
fn numbers(tensor: &NewTensor, dice: &mut Dice) -> Vec<u8> {
    let elements: u64 = tensor.shape.iter().product();
    let rolled = |blocks: u64, scale: &[u8], bytes: usize, dice: &mut Dice| {
        let block = |dice: &mut Dice| {
            let body = std::iter::repeat_with(|| dice.roll().to_le_bytes()).flatten().take(bytes);
            scale.iter().copied().chain(body).collect::<Vec<u8>>()
        };
        (0..blocks).flat_map(|_| block(dice)).collect::<Vec<u8>>()
    };
    match tensor.kind {
        // Eight bits times 2^-9, as a half.
        Q8 => rolled(elements / 32, &[0x00, 0x18], 32, dice),
        // Up to 6 times 2^-5 (an exponent without sign, biased by 127; the table is in halves).
        MXFP4 => rolled(elements / 32, &[122], 16, dice),
        _ => {
            let around = if tensor.name.contains("norm") { 1.0 } else { 0.0 };
            let number = |dice: &mut Dice| {
                let unit = f32::from(u16::try_from(dice.roll() >> 48).unwrap()) / 65536.0 - 0.5;
                (around + unit * if around > 0.5 { 0.2 } else { 1.0 }).to_le_bytes()
            };
            (0..elements).flat_map(|_| number(dice)).collect()
        }
    }
}
