//! A tiny random BERT, as llama.cpp names its parts: two layers, means of tokens for vectors, and a WordPiece vocabulary of
//! single letters, so that every text of letters is known and no two are the same.
//!
//! The same bytes every time.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use tollgate_engine::models::gguf::{NewTensor, TensorType, Value, Writer};

/// Numbers in a vector.
pub(crate) const WIDTH: u64 = 64;
/// Tokens in a text at most, with the two that stand around it.
pub(crate) const CONTEXT: u64 = 128;
const LAYERS: u64 = 2;
const FORWARD: u64 = 128;
/// Where texts begin and end, what is not known, what fills up.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// llama.cpp's types of tokens.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
/// The numbers of arrays' types in a GGUF file.
const TEXTS: u32 = 8;
const NUMBERS: u32 = 5;

/// Writes the model.
pub(crate) fn write(path: &Path) {
    let words = vocabulary();
    let tensors = tensors(words.len() as u64);
    let file = BufWriter::new(File::create(path).expect("the file can be written"));
    let mut writer =
        Writer::begin(file, &metadata(&words), tensors.clone()).expect("the model can be written");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for tensor in &tensors {
        let elements: u64 = tensor.shape.iter().product();
        let around = if tensor.name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        let number = || {
            // Knuth's linear congruential generator; its upper bits are good enough for weights.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = f32::from(u16::try_from(state >> 48).expect("16 bits")) / 65536.0 - 0.5;
            (around + unit * 0.5).to_le_bytes()
        };
        let bytes: Vec<u8> = std::iter::repeat_with(number).take(elements as usize).flatten().collect();
        writer.tensor(&tensor.name, &bytes).expect("the model can be written");
    }
    writer.finish().expect("the model is whole");
}

/// Letters and digits, at the beginning of a word and within.
fn vocabulary() -> Vec<String> {
    let letters = || ('a'..='z').chain('0'..='9');
    let begin = letters().chain(".,!?".chars()).map(|letter| format!("\u{2581}{letter}"));
    let special = SPECIAL.iter().map(|name| (*name).to_owned());
    special.chain(begin).chain(letters().map(String::from)).collect()
}

fn metadata(words: &[String]) -> Vec<(String, Value)> {
    let number =
        |key: &str, value: u64| (key.to_owned(), Value::U32(u32::try_from(value).expect("a small number")));
    let texts = words.iter().map(|word| Value::text(word)).collect();
    let types =
        (0..words.len()).map(|at| Value::I32(if at < SPECIAL.len() { CONTROL } else { NORMAL })).collect();
    vec![
        ("general.architecture".to_owned(), Value::text("bert")),
        ("general.name".to_owned(), Value::text("tiny-bert")),
        number("bert.context_length", CONTEXT),
        number("bert.embedding_length", WIDTH),
        number("bert.feed_forward_length", FORWARD),
        number("bert.block_count", LAYERS),
        number("bert.attention.head_count", 4),
        ("bert.attention.layer_norm_epsilon".to_owned(), Value::F32(1e-12)),
        ("bert.attention.causal".to_owned(), Value::Bool(false)),
        number("bert.pooling_type", 1),
        ("tokenizer.ggml.model".to_owned(), Value::text("bert")),
        ("tokenizer.ggml.tokens".to_owned(), Value::Array(TEXTS, texts)),
        ("tokenizer.ggml.token_type".to_owned(), Value::Array(NUMBERS, types)),
        number("tokenizer.ggml.token_type_count", 2),
        number("tokenizer.ggml.padding_token_id", 0),
        number("tokenizer.ggml.unknown_token_id", 1),
        number("tokenizer.ggml.bos_token_id", 2),
        number("tokenizer.ggml.seperator_token_id", 3),
        number("tokenizer.ggml.mask_token_id", 4),
    ]
}

fn tensors(words: u64) -> Vec<NewTensor> {
    let mut all = Vec::new();
    let mut add = |name: String, shape: &[u64]| {
        all.push(NewTensor { name, shape: shape.to_vec(), kind: TensorType::F32 });
    };
    add("token_embd.weight".to_owned(), &[WIDTH, words]);
    add("token_types.weight".to_owned(), &[WIDTH, 2]);
    add("position_embd.weight".to_owned(), &[WIDTH, CONTEXT]);
    add("token_embd_norm.weight".to_owned(), &[WIDTH]);
    add("token_embd_norm.bias".to_owned(), &[WIDTH]);
    for layer in 0..LAYERS {
        for (name, row, rows) in [
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, WIDTH),
            ("attn_v", WIDTH, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_up", WIDTH, FORWARD),
            ("ffn_down", FORWARD, WIDTH),
        ] {
            add(format!("blk.{layer}.{name}.weight"), &[row, rows]);
            add(format!("blk.{layer}.{name}.bias"), &[rows]);
        }
        for name in ["attn_output_norm", "layer_output_norm"] {
            add(format!("blk.{layer}.{name}.weight"), &[WIDTH]);
            add(format!("blk.{layer}.{name}.bias"), &[WIDTH]);
        }
    }
    all
}
