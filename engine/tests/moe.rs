//! The made mixture of experts against the dense model it was cut from, in llama.cpp itself.
//!
//! With all experts active the cut loses nothing but rounding; with fewer it must stay close, and closer the more
//! are active. Needs the small model (`tollgate models pull smollm2-135m`), and fetches it if it is not there.

#![cfg(feature = "llama")]
#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

use std::num::NonZeroU32;
use std::path::Path;

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use tollgate_engine::models::{self, MoeOptions, progress};

const TEXT: &str = "<|im_start|>user\nWhat is the capital of France, and which river runs through it?<|im_end|>\n\
                    <|im_start|>assistant\nThe capital of France is Paris, and the river Seine runs through it.";

/// The next-token logits at every place of the text.
fn logits(backend: &LlamaBackend, path: &Path) -> Vec<Vec<f32>> {
    let model = LlamaModel::load_from_file(backend, path, &LlamaModelParams::default()).unwrap();
    let params = LlamaContextParams::default().with_n_ctx(NonZeroU32::new(256)).with_n_threads(2);
    let mut context = model.new_context(backend, params.with_n_threads_batch(2)).unwrap();
    let tokens = model.vocab().tokenize(TEXT.as_bytes(), true, true);
    let mut batch = LlamaBatch::new(256, 1);
    for (place, token) in (0..).zip(&tokens) {
        batch.add(*token, place, &[0], true).unwrap();
    }
    context.decode(&mut batch).unwrap();
    (0..).take(tokens.len()).map(|place| context.get_logits_ith(place).to_vec()).collect()
}

fn probabilities(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// How far the second model's predictions are from the first's: mean Kullback-Leibler divergence in nats.
fn divergence(dense: &[Vec<f32>], cut: &[Vec<f32>]) -> f64 {
    let each = dense.iter().zip(cut).map(|(dense, cut)| {
        let (p, q) = (probabilities(dense), probabilities(cut));
        p.iter().zip(&q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q.max(1e-30)).ln()).sum::<f64>()
    });
    each.sum::<f64>() / f64::from(u32::try_from(dense.len()).unwrap())
}

#[test]
fn all_experts_give_the_dense_models_predictions_and_fewer_stay_close() {
    let mut backend = LlamaBackend::init().unwrap();
    backend.void_logs();
    let quiet = progress::Silent;
    let dense = logits(&backend, &models::pull("smollm2-135m", &quiet).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let with = |active: u32| {
        let output = Some(folder.path().join(format!("moe-{active}.gguf")));
        let options = MoeOptions { active_experts: Some(active), output, ..MoeOptions::default() };
        let path = models::make_moe("smollm2-135m-moe", &options, &quiet).unwrap();
        divergence(&dense, &logits(&backend, &path))
    };
    let (all, most, few) = (with(8), with(6), with(2));
    assert!(all < 0.02, "all experts: {all} nats from dense");
    assert!(most < 1.0, "6 of 8 experts: {most} nats from dense");
    assert!(all < most && most < few, "more experts are closer: {all} {most} {few}");
}

#[test]
fn the_same_source_and_recipe_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let output = Some(folder.path().join(name));
        let path = models::make_moe(
            "smollm2-135m-moe",
            &MoeOptions { output, ..MoeOptions::default() },
            &progress::Silent,
        );
        std::fs::read(path.unwrap()).unwrap()
    };
    assert!(make("one.gguf") == make("two.gguf"), "two runs made different files");
}

#[test]
fn a_made_model_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let options = MoeOptions { output: Some(folder.path().join("moe.gguf")), ..MoeOptions::default() };
    let path = models::make_moe("smollm2-135m-moe", &options, &progress::Silent).unwrap();
    let facts = models::inspect(&path).unwrap();
    assert_eq!(facts.architecture, "deepseek");
    let experts = facts.experts.unwrap();
    assert_eq!((experts.count, experts.used, experts.shared), (8, 6, true));
    assert!(facts.active_parameters < facts.parameters);
    assert_eq!(facts.licence.as_deref(), Some("apache-2.0"));
}
