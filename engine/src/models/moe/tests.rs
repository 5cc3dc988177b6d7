//! A tiny dense model is cut and put together again: nothing may be lost, and nothing may come twice.

use std::io::BufWriter;

use super::plan::Plan;
use super::recipe::{Architecture, Recipe};
use super::*;
use crate::models::gguf::{Gguf, NewTensor, TensorType, Value, Writer};

const WIDTH: u64 = 32;
const NEURONS: u64 = 256;

fn plan_bytes(order: &[u16], shared: u32) -> Vec<u8> {
    corrected_plan_bytes(order, shared, &[])
}

/// With `down_left` or `down_right` factors beside: name, row length, numbers.
fn corrected_plan_bytes(order: &[u16], shared: u32, factors: &[(&str, u64, Vec<f32>)]) -> Vec<u8> {
    let mut tensors = vec![
        NewTensor {
            name: "blk.0.permutation".into(),
            shape: vec![order.len() as u64],
            kind: TensorType::I16,
        },
        NewTensor { name: "blk.0.router".into(), shape: vec![WIDTH, 4], kind: TensorType::F32 },
    ];
    for (name, row, numbers) in factors {
        let shape = vec![*row, numbers.len() as u64 / row];
        tensors.push(NewTensor { name: (*name).into(), shape, kind: TensorType::F32 });
    }
    let metadata = [("tollgate.shared_neurons".to_owned(), Value::U32(shared))];
    let mut writer = Writer::begin(Vec::new(), &metadata, tensors).unwrap();
    let places: Vec<u8> = order.iter().flat_map(|place| place.to_le_bytes()).collect();
    writer.tensor("blk.0.permutation", &places).unwrap();
    writer.tensor("blk.0.router", &[0; 32 * 4 * 4]).unwrap();
    for (name, _, numbers) in factors {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        writer.tensor(name, &bytes).unwrap();
    }
    writer.finish().unwrap()
}

/// Down weights whose value names their row and neuron; gate and up rows filled with the neuron's low byte.
fn dense(folder: &Path, name: &str) -> PathBuf {
    let new = |name: &str, shape: &[u64], kind| NewTensor { name: name.into(), shape: shape.to_vec(), kind };
    let tensors = vec![
        new("token_embd.weight", &[WIDTH, 3], TensorType::F32),
        new("blk.0.ffn_gate.weight", &[WIDTH, NEURONS], TensorType::Q8_0),
        new("blk.0.ffn_down.weight", &[NEURONS, WIDTH], TensorType::F32),
    ];
    let metadata = [
        ("general.architecture".to_owned(), Value::text(name)),
        ("general.name".to_owned(), Value::text("Dense")),
        (format!("{name}.block_count"), Value::U32(1)),
        (format!("{name}.embedding_length"), Value::U32(32)),
        (format!("{name}.feed_forward_length"), Value::U32(256)),
    ];
    let mut writer = Writer::begin(Vec::new(), &metadata, tensors).unwrap();
    writer.tensor("token_embd.weight", &[7; 32 * 3 * 4]).unwrap();
    let rows: Vec<u8> = (0..=255_u8).flat_map(|neuron| [neuron; 34]).collect();
    writer.tensor("blk.0.ffn_gate.weight", &rows).unwrap();
    let down: Vec<u8> = (0..WIDTH * NEURONS).flat_map(|at| down_value(at).to_le_bytes()).collect();
    writer.tensor("blk.0.ffn_down.weight", &down).unwrap();
    let path = folder.join("dense.gguf");
    fs::write(&path, writer.finish().unwrap()).unwrap();
    path
}

fn down_value(at: u64) -> f32 {
    f32::from(u16::try_from(at * 7919 % 1009).unwrap()) / 1009.0
}

fn recipe(plan: &'static [u8], architecture: Architecture) -> Recipe {
    let (name, source, title) = ("tiny-moe", "tiny", "Tiny");
    Recipe {
        name,
        source,
        title,
        architecture,
        experts: 4,
        active: 2,
        down: TensorType::F32,
        others: None,
        plan,
    }
}

fn order() -> Vec<u16> {
    (0..256).map(|place| place * 37 % 256).collect()
}

fn assembled(folder: &Path, architecture: Architecture) -> (Gguf, PathBuf) {
    assembled_by(folder, architecture, plan_bytes(&order(), 128))
}

fn assembled_by(folder: &Path, architecture: Architecture, plan: Vec<u8>) -> (Gguf, PathBuf) {
    let dense = dense(folder, architecture.dense());
    let plan = Box::leak(plan.into_boxed_slice());
    let path = folder.join("moe.gguf");
    let out = BufWriter::new(File::create(&path).unwrap());
    assemble::assemble(&dense, out, &recipe(plan, architecture), &Silent).unwrap();
    (Gguf::open(&path).unwrap(), path)
}

fn data(gguf: &Gguf, path: &Path, name: &str) -> Vec<u8> {
    gguf.data(File::open(path).unwrap(), gguf.tensor(name).unwrap()).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[test]
fn rows_go_where_the_plan_says_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, path) = assembled(folder.path(), Architecture::Qwen2Moe);
    let mut rows = data(&gguf, &path, "blk.0.ffn_gate_shexp.weight");
    rows.extend(data(&gguf, &path, "blk.0.ffn_gate_exps.weight"));
    let wanted: Vec<u8> = order().iter().flat_map(|neuron| [u8::try_from(*neuron).unwrap(); 34]).collect();
    assert_eq!(rows, wanted);
    assert_eq!(gguf.tensor("blk.0.ffn_gate_exps.weight").unwrap().shape, [WIDTH, 32, 4]);
    assert_eq!(data(&gguf, &path, "token_embd.weight"), vec![7; 32 * 3 * 4]);
}

#[test]
fn every_down_weight_is_in_exactly_one_piece_with_its_scale() {
    for (architecture, shared_scale, routed_scale) in
        [(Architecture::Qwen2Moe, 2.0, 4.0), (Architecture::Deepseek, 1.0, 1.0)]
    {
        let folder = tempfile::tempdir().unwrap();
        let (gguf, path) = assembled(folder.path(), architecture);
        let shared = floats(&data(&gguf, &path, "blk.0.ffn_down_shexp.weight"));
        let routed = floats(&data(&gguf, &path, "blk.0.ffn_down_exps.weight"));
        for (place, neuron) in order().iter().enumerate() {
            for row in 0..32_usize {
                let dense = down_value(row as u64 * NEURONS + u64::from(*neuron));
                let (found, scale) = if place < 128 {
                    (shared[row * 128 + place], shared_scale)
                } else {
                    let (expert, within) = ((place - 128) / 32, (place - 128) % 32);
                    (routed[expert * 32 * 32 + row * 32 + within], routed_scale)
                };
                assert!((found - dense * scale).abs() < 1e-6, "neuron {neuron} row {row}");
            }
        }
    }
}

/// Numbers of two ranks, no two alike, for a side of `row` numbers.
fn factor(row: u64) -> Vec<f32> {
    (0..2 * row).map(|at| down_value(at + 11) - 0.5).collect()
}

#[test]
fn a_correction_is_added_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (left, right) = (factor(WIDTH), factor(NEURONS));
    let factors = [("blk.0.down_left", WIDTH, left.clone()), ("blk.0.down_right", NEURONS, right.clone())];
    let plan = corrected_plan_bytes(&order(), 128, &factors);
    let (gguf, path) = assembled_by(folder.path(), Architecture::Deepseek, plan);
    let shared = floats(&data(&gguf, &path, "blk.0.ffn_down_shexp.weight"));
    for (place, neuron) in order()[..128].iter().map(|neuron| usize::from(*neuron)).enumerate() {
        for row in 0..32 {
            let change: f32 = (0..2).map(|rank| left[rank * 32 + row] * right[rank * 256 + neuron]).sum();
            let wanted = down_value((row * 256 + neuron) as u64) + change;
            assert!((shared[row * 128 + place] - wanted).abs() < 1e-5, "neuron {neuron} row {row}");
        }
    }
}

#[test]
fn a_gates_correction_goes_with_its_neurons() {
    let folder = tempfile::tempdir().unwrap();
    let (left, right) = (factor(WIDTH), factor(NEURONS));
    let factors = [("blk.0.gate_left", WIDTH, left.clone()), ("blk.0.gate_right", NEURONS, right.clone())];
    let plan = corrected_plan_bytes(&order(), 128, &factors);
    let (plain, plain_path) = assembled(folder.path(), Architecture::Deepseek);
    let numbers = |gguf: &Gguf, path: &Path| {
        let stored = data(gguf, path, "blk.0.ffn_gate_exps.weight");
        crate::llama::quantize::to_f32(TensorType::Q8_0, &stored).unwrap()
    };
    let before = numbers(&plain, &plain_path);
    let (gguf, path) = assembled_by(folder.path(), Architecture::Deepseek, plan);
    let after = numbers(&gguf, &path);
    let routed = order()[128..].iter().map(|neuron| usize::from(*neuron)).enumerate().collect::<Vec<_>>();
    // Their bytes are read as small scales; those of the others are huge or no numbers.
    for (place, neuron) in routed.into_iter().filter(|(_, neuron)| neuron % 128 < 48) {
        let row = place * 32..(place + 1) * 32;
        let step = after[row.clone()].iter().fold(0.0_f32, |most, weight| most.max(weight.abs())) / 127.0;
        for column in 0..32 {
            let change: f32 = (0..2).map(|rank| left[rank * 32 + column] * right[rank * 256 + neuron]).sum();
            let wanted = before[row.start + column] + change;
            assert!((after[row.start + column] - wanted).abs() <= step, "neuron {neuron} column {column}");
        }
    }
}

#[test]
fn a_correction_that_does_not_fit_is_refused() {
    let refused = |factors: &[(&str, u64, Vec<f32>)]| {
        Plan::read(&corrected_plan_bytes(&order(), 128, factors)).unwrap_err().to_string()
    };
    let left = || ("blk.0.down_left", WIDTH, factor(WIDTH));
    assert!(refused(&[left()]).contains("down_right"), "half of it");
    assert!(
        refused(&[left(), ("blk.0.down_right", NEURONS / 2, factor(NEURONS / 2))]).contains("does not fit")
    );
    assert!(
        refused(&[("blk.0.down_left", 16, factor(16)), ("blk.0.down_right", NEURONS, factor(NEURONS))])
            .contains("does not fit")
    );
}

#[test]
fn the_control_differs_from_the_dense_model_in_how_matrices_are_stored() {
    for others in [None, Some(TensorType::Q4_0)] {
        let folder = tempfile::tempdir().unwrap();
        let dense = dense(folder.path(), "qwen2");
        let path = folder.path().join("control.gguf");
        let plan = Box::leak(plan_bytes(&order(), 128).into_boxed_slice());
        let recipe = Recipe { down: TensorType::Q8_0, others, ..recipe(plan, Architecture::Qwen2Moe) };
        control::control(&dense, BufWriter::new(File::create(&path).unwrap()), &recipe, &Silent).unwrap();
        let (source, made) = (Gguf::open(&dense).unwrap(), Gguf::open(&path).unwrap());
        assert_eq!(made.metadata, source.metadata);
        for tensor in &source.tensors {
            let found = made.tensor(&tensor.name).unwrap();
            assert_eq!(found.shape, tensor.shape);
            match (tensor.name.as_str(), others) {
                ("blk.0.ffn_down.weight", _) => assert_eq!(found.kind, TensorType::Q8_0),
                ("blk.0.ffn_gate.weight", Some(kind)) => assert_eq!(found.kind, kind),
                (name, _) => assert_eq!(data(&made, &path, name), data(&source, &dense, name), "{name}"),
            }
        }
    }
}

#[test]
fn a_mixture_is_stored_as_its_control_is() {
    let folder = tempfile::tempdir().unwrap();
    let dense = dense(folder.path(), "qwen2");
    let plan = Box::leak(plan_bytes(&order(), 128).into_boxed_slice());
    let recipe = Recipe { others: Some(TensorType::Q4_0), ..recipe(plan, Architecture::Qwen2Moe) };
    let made = |name: &str| folder.path().join(name);
    let file = |name: &str| BufWriter::new(File::create(made(name)).unwrap());
    assemble::assemble(&dense, file("moe.gguf"), &recipe, &Silent).unwrap();
    control::control(&dense, file("control.gguf"), &recipe, &Silent).unwrap();
    let (moe, control) = (Gguf::open(&made("moe.gguf")).unwrap(), Gguf::open(&made("control.gguf")).unwrap());
    let rows = data(&control, &made("control.gguf"), "blk.0.ffn_gate.weight");
    let shared = data(&moe, &made("moe.gguf"), "blk.0.ffn_gate_shexp.weight");
    for (place, neuron) in order()[..128].iter().map(|neuron| usize::from(*neuron)).enumerate() {
        assert_eq!(
            shared[place * 18..(place + 1) * 18],
            rows[neuron * 18..(neuron + 1) * 18],
            "neuron {neuron}"
        );
    }
}

#[test]
fn a_control_needs_a_place_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let options = MoeOptions { dense_control: true, ..MoeOptions::default() };
    let error = make_in(&Cache::at(folder.path()), "qwen-0.5b-moe", &options, &Silent).unwrap_err();
    assert!(error.to_string().contains("--out"), "{error}");
}

#[test]
fn metadata_speaks_of_the_new_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, path) = assembled(folder.path(), Architecture::Qwen2Moe);
    assert_eq!(gguf.number("qwen2moe.expert_count").unwrap(), 4);
    assert_eq!(gguf.number("qwen2moe.expert_used_count").unwrap(), 2);
    assert_eq!(gguf.number("qwen2moe.expert_shared_feed_forward_length").unwrap(), 128);
    assert_eq!(gguf.number("qwen2moe.embedding_length").unwrap(), 32);
    assert!(gguf.value("qwen2.embedding_length").is_none());
    let gate = floats(&data(&gguf, &path, "blk.0.ffn_gate_inp_shexp.weight"));
    assert!(gate.iter().all(|weight| *weight != 0.0 && weight.abs() < 1e-4));
}

#[test]
fn a_plan_for_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dense = dense(folder.path(), "qwen2");
    let uneven = plan_bytes(&order()[..255], 128);
    assert!(
        Plan::read(&uneven).unwrap_err().to_string().contains("does not fit"),
        "127 neurons for 4 experts"
    );
    let mut twice = order();
    twice[3] = twice[4];
    assert!(Plan::read(&plan_bytes(&twice, 128)).unwrap_err().to_string().contains("twice"));
    let other = Recipe::find("qwen-0.5b-moe").unwrap();
    let error = assemble::assemble(&dense, BufWriter::new(Vec::new()), &other, &Silent).unwrap_err();
    assert!(error.to_string().contains("qwen2.block_count = 24"), "{error}");
}

#[test]
fn the_shipped_plans_fit_their_recipes() {
    for known in registry::known().iter().filter(|known| known.made_from().is_some()) {
        let recipe = Recipe::find(known.name).unwrap();
        assert_eq!(Some(recipe.source), known.made_from());
        let plan = Plan::read(recipe.plan).unwrap();
        assert_eq!(u32::from(plan.shape.experts), recipe.experts, "{}", known.name);
        assert!(recipe.active < recipe.experts, "{} must be sparse", known.name);
    }
}

#[test]
fn impossible_numbers_of_experts_are_refused() {
    let recipe = Recipe::find("qwen-0.5b-moe").unwrap();
    for active in [0, 13] {
        let error = recipe.clone().with_active(Some(active)).unwrap_err();
        assert!(error.to_string().contains("the recipe has 12"), "{error}");
    }
    let digest = |active| recipe.clone().with_active(Some(active)).unwrap().digest("aa");
    assert_ne!(digest(8), digest(9), "another recipe, another model");
}
