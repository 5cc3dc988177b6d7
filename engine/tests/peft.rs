//! Adapters as PEFT saves them: what they do to a real model is what was trained, and nothing else is taken for one.
//!
//! The proof needs no trainer: an adapter that makes some of a model's numbers larger in one matrix, and smaller by as much in the
//! one that they meet next, leaves its answers as they were, but only if every row, column and scale is in its place.
#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

mod support;
mod tiny;

use hyper::StatusCode;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use support::{ask_with, chat, start, text};
use tollgate_engine::EngineError;
use tollgate_engine::adapters::Adapter;
use tollgate_engine::models::gguf::Gguf;
use tollgate_engine::worker::{self, WorkerOptions};

const PROMPT: &str = "Name three colours of the sea and three of the land.";
/// Of the tiny model, whose every two heads of queries meet one of keys and values.
const HEADS: usize = 4;
const HEAD: usize = 16;
const WIDTH: usize = 64;
const ALPHA: f32 = 8.0;

/// The matrices of one change: `b` times `a`, each row by row.
struct Change {
    module: &'static str,
    kind: Dtype,
    a: Vec<Vec<f32>>,
    b: Vec<Vec<f32>>,
}

/// Writes a folder as PEFT does.
fn save(folder: &Path, more: Value, layers: usize, changes: &dyn Fn(usize) -> Vec<Change>) {
    std::fs::create_dir_all(folder).unwrap();
    let mut config =
        json!({"peft_type": "LORA", "r": 8, "lora_alpha": ALPHA, "bias": "none", "modules_to_save": null});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let mut all = BTreeMap::new();
    for layer in 0..layers {
        for Change { module, kind, a, b } in changes(layer) {
            for (end, matrix) in [("A", a), ("B", b)] {
                let name = format!("base_model.model.model.layers.{layer}.{module}.lora_{end}.weight");
                let shape = vec![matrix.len(), matrix[0].len()];
                let bytes: Vec<u8> =
                    matrix.concat().into_iter().flat_map(|number| stored(number, kind)).collect();
                all.insert(name, (kind, shape, bytes));
            }
        }
    }
    let views = all
        .iter()
        .map(|(name, (kind, shape, bytes))| (name, TensorView::new(*kind, shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, &folder.join("adapter_model.safetensors")).unwrap();
}

fn stored(number: f32, kind: Dtype) -> Vec<u8> {
    match kind {
        Dtype::BF16 => number.to_bits().to_le_bytes()[2..].to_vec(),
        _ => number.to_le_bytes().to_vec(),
    }
}

/// The tiny model's numbers.
struct Weights {
    file: PathBuf,
    header: Gguf,
}

impl Weights {
    /// A matrix, row by row: blocks of 32 numbers of eight bits after a scale, which is 2^-9 everywhere.
    fn matrix(&self, name: &str) -> Vec<Vec<f32>> {
        let tensor = self.header.tensor(name).unwrap();
        let data = self.header.data(File::open(&self.file).unwrap(), tensor).unwrap();
        let number = |byte: &u8| f32::from(byte.cast_signed()) / 512.0;
        let numbers: Vec<f32> = data.chunks(34).flat_map(|block| block[2..].iter().map(number)).collect();
        numbers.chunks(usize::try_from(tensor.shape[0]).unwrap()).map(<[f32]>::to_vec).collect()
    }

    /// Makes pairs of numbers that positions turn larger in the keys' first head and smaller in the queries that meet it, and
    /// numbers of the values larger and smaller where they are put together; `pair` says which rows of a head a pair is for the trainer.
    fn cancelling(&self, layer: usize, pair: &dyn Fn(usize) -> [usize; 2]) -> Vec<Change> {
        let matrix = |part: &str| self.matrix(&format!("blk.{layer}.{part}.weight"));
        let (queries, keys, values, output) =
            (matrix("attn_q"), matrix("attn_k"), matrix("attn_v"), matrix("attn_output"));
        let larger = |at: usize| 1.5 + at as f32 / 8.0;
        let unit = |length: usize, at: usize, size: f32| {
            let mut row = vec![0.0; length];
            row[at] = size;
            row
        };
        let (mut on_queries, mut on_keys) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let (mut on_values, mut on_output) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for at in 0..HEAD / 2 {
            for (half, theirs) in pair(at).into_iter().enumerate() {
                let ours = 2 * at + half;
                on_keys.0.push(keys[ours].clone());
                on_keys.1.push(unit(keys.len(), theirs, larger(at) - 1.0));
                for head in [0, 1] {
                    on_queries.0.push(queries[head * HEAD + ours].clone());
                    on_queries.1.push(unit(queries.len(), head * HEAD + theirs, 1.0 / larger(at) - 1.0));
                }
            }
            on_values.0.push(values[at].clone());
            on_values.1.push(unit(values.len(), at, larger(at) - 1.0));
            for column in [at, HEAD + at] {
                on_output.0.push(unit(HEADS * HEAD, column, 1.0));
                let change = output.iter().map(|row| row[column] * (1.0 / larger(at) - 1.0));
                on_output.1.push(change.collect());
            }
        }
        let change = |module, kind, (a, columns): (Vec<Vec<f32>>, Vec<Vec<f32>>)| {
            // What is applied is alpha by the rank, which is another for each.
            let scale = ALPHA / a.len() as f32;
            let b =
                (0..columns[0].len()).map(|row| columns.iter().map(|column| column[row] / scale).collect());
            Change { module, kind, b: b.collect(), a }
        };
        vec![
            change("self_attn.q_proj", Dtype::F32, on_queries),
            change("self_attn.k_proj", Dtype::BF16, on_keys),
            change("self_attn.v_proj", Dtype::F32, on_values),
            change("self_attn.o_proj", Dtype::F32, on_output),
        ]
    }
}

fn adapter(name: &str, path: PathBuf) -> Adapter {
    Adapter { name: name.to_owned(), path, scale: 1.0 }
}

fn tiny_model(folder: &Path) -> (WorkerOptions, Weights) {
    let file = folder.join("base.gguf");
    tiny::write(&tiny::ALL[0], &support::model(), &file);
    let mut options = WorkerOptions::new(file.clone(), "127.0.0.1:0");
    (options.threads, options.context, options.parallel) = (Some(1), 512, 1);
    options.drain = std::time::Duration::ZERO;
    let header = Gguf::open(&file).unwrap();
    (options, Weights { file, header })
}

async fn answer(worker: &str, model: &str, tokens: u32) -> Value {
    let more = json!({"model": model, "ignore_eos": true, "logprobs": true, "top_logprobs": 20});
    let (status, answer) = chat(worker, &ask_with(PROMPT, tokens, more)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// How much the chances of the first token's likeliest differ, on average; those that the other does not name by five.
fn apart(one: &Value, other: &Value) -> f64 {
    let likeliest = |answer: &Value| {
        answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"].as_array().unwrap().clone()
    };
    let (one, other) = (likeliest(one), likeliest(other));
    let differ = |token: &Value| {
        let same = other.iter().find(|each| each["bytes"] == token["bytes"]);
        same.map_or(5.0, |same| {
            (token["logprob"].as_f64().unwrap() - same["logprob"].as_f64().unwrap()).abs()
        })
    };
    one.iter().map(differ).sum::<f64>() / one.len() as f64
}

#[tokio::test]
async fn what_cancels_itself_out_leaves_the_answer_as_it_was_and_its_parts_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (mut options, weights) = tiny_model(folder.path());
    let trained = |at: usize| [at, at + HEAD / 2];
    let parts = |which: &'static [usize]| {
        let weights = &weights;
        move |layer| {
            let all = weights.cancelling(layer, &trained).into_iter().enumerate();
            all.filter(|(part, _)| which.contains(part)).map(|(_, change)| change).collect::<Vec<_>>()
        }
    };
    let path = |name: &str| folder.path().join(name);
    save(&path("all"), json!({}), 2, &parts(&[0, 1, 2, 3]));
    save(&path("queries"), json!({}), 2, &parts(&[0]));
    save(&path("values"), json!({}), 2, &parts(&[2]));
    // As the file has its rows, which is not how the trainer has them.
    save(&path("unordered"), json!({}), 2, &|layer| weights.cancelling(layer, &|at| [2 * at, 2 * at + 1]));
    save(&path("stronger"), json!({"use_rslora": true}), 2, &parts(&[0, 1, 2, 3]));
    let names = ["all", "queries", "values", "unordered", "stronger"];
    options.adapters = names.map(|name| adapter(name, path(name))).into();
    let worker = start(options).await;
    let bare = answer(&worker, "base", 1).await;
    let mut found = Vec::new();
    for name in names {
        found.push((name, apart(&bare, &answer(&worker, name, 1).await)));
    }
    let far = |(name, apart): &(&str, f64)| if *name == "all" { *apart < 0.5 } else { *apart > 1.0 };
    assert!(found.iter().all(far), "{found:?}");
    tokio::task::spawn_blocking(|| drop(worker)).await.unwrap();
}

#[tokio::test]
async fn folders_that_are_no_adapter_of_the_model_are_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (good, _) = tiny_model(folder.path());
    let change = |module, rank, from, to| Change {
        module,
        kind: Dtype::F32,
        a: vec![vec![0.5; from]; rank],
        b: vec![vec![0.5; rank]; to],
    };
    let mut cases: Vec<(&str, Value, Vec<Change>)> = vec![
        ("use_dora = true", json!({"use_dora": true}), vec![change("self_attn.q_proj", 2, WIDTH, WIDTH)]),
        ("shape [2, 96]", json!({}), vec![change("self_attn.q_proj", 2, 96, WIDTH)]),
        ("shape [32, 2]", json!({}), vec![change("self_attn.q_proj", 2, WIDTH, 32)]),
        ("block_sparse_moe.gate", json!({}), vec![change("block_sparse_moe.gate", 2, WIDTH, 8)]),
        ("no such part", json!({}), vec![change("mlp.up_proj", 2, WIDTH, WIDTH)]),
        ("holds no LoRA weights", json!({}), Vec::new()),
    ];
    for (number, (part, config, changes)) in cases.drain(..).enumerate() {
        let path = folder.path().join(format!("case-{number}"));
        let changes = std::cell::Cell::new(Some(changes));
        save(&path, config, 1, &|_| changes.take().unwrap_or_default());
        refused(&good, path, part).await;
    }
    let path = folder.path().join("case-1");
    let weights = std::fs::read(path.join("adapter_model.safetensors")).unwrap();
    std::fs::write(path.join("adapter_model.safetensors"), &weights[..weights.len() - 9]).unwrap();
    refused(&good, path.clone(), "cut or damaged").await;
    std::fs::remove_file(path.join("adapter_model.safetensors")).unwrap();
    refused(&good, path, "adapter_model.safetensors cannot be read").await;
}

async fn refused(good: &WorkerOptions, path: PathBuf, part: &str) {
    let options = WorkerOptions { adapters: vec![adapter("wrong", path)], ..good.clone() };
    let error = worker::run(options, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, EngineError::AdapterRefused { .. }), "{error}");
    assert!(error.to_string().contains(part), "{part}: {error}");
}

/// An adapter of all that one can change in every layer of a real model, whose second matrices are zero at first, as trainers begin.
#[tokio::test]
async fn a_real_models_adapter_begins_as_nothing_and_then_says_something_else() {
    let Some(mut options) = support::options_if_there("qwen-coder-0.5b") else { return };
    let folder = tempfile::tempdir().unwrap();
    let header = Gguf::open(&options.model).unwrap();
    let layers = usize::try_from(header.number("qwen2.block_count").unwrap()).unwrap();
    let modules = [
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let mut seed = 7_u32;
    let mut small = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from(u16::try_from(seed >> 16).unwrap()) / 65536.0 - 0.5) / 16.0
    };
    let mut trained: BTreeMap<(usize, usize), [Vec<Vec<f32>>; 2]> = BTreeMap::new();
    for layer in 0..layers {
        for (module, (_, part)) in modules.iter().enumerate() {
            let shape = &header.tensor(&format!("blk.{layer}.{part}.weight")).unwrap().shape;
            let [from, to] = [0, 1].map(|side| usize::try_from(shape[side]).unwrap());
            let mut matrix = |rows: usize, columns: usize| -> Vec<Vec<f32>> {
                (0..rows).map(|_| (0..columns).map(|_| small()).collect()).collect()
            };
            trained.insert((layer, module), [matrix(8, from), matrix(to, 8)]);
        }
    }
    for (name, size) in [("begun", 0.0), ("trained", 1.0)] {
        let changes = |layer: usize| {
            let change = |(number, (module, _)): (usize, &(&'static str, &str))| {
                let [a, b] = trained[&(layer, number)].clone();
                let b =
                    b.into_iter().map(|row| row.into_iter().map(|number| number * size).collect()).collect();
                Change { module, kind: Dtype::BF16, a, b }
            };
            modules.iter().enumerate().map(change).collect()
        };
        save(&folder.path().join(name), json!({"r": 8}), layers, &changes);
        options.adapters.push(adapter(name, folder.path().join(name)));
    }
    options.alias = Some("base".to_owned());
    let worker = start(options).await;
    let [bare, begun, trained] = [
        answer(&worker, "base", 8).await,
        answer(&worker, "begun", 8).await,
        answer(&worker, "trained", 8).await,
    ];
    assert_eq!(
        (text(&bare), &bare["choices"][0]["logprobs"]),
        (text(&begun), &begun["choices"][0]["logprobs"])
    );
    assert!(text(&trained) != text(&bare) && apart(&bare, &trained) > 0.5, "{trained}");
    tokio::task::spawn_blocking(|| drop(worker)).await.unwrap();
}
