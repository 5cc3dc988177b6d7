//! Picks from made-up logits.

use super::*;

const PLAIN: Sampling = Sampling {
    temperature: 1.0,
    top_p: 1.0,
    top_k: 0,
    min_p: 0.0,
    frequency_penalty: 0.0,
    presence_penalty: 0.0,
    repeat_penalty: 1.0,
    logit_bias: Vec::new(),
    seed: Some(7),
};

fn draws(sampling: Sampling, logits: &[f32], count: usize) -> Vec<usize> {
    let mut sampler = Sampler::new(sampling, None);
    (0..count).map(|_| sampler.pick(logits, &[]).unwrap()).collect()
}

#[test]
fn temperature_zero_takes_the_first_of_the_likeliest() {
    let greedy = Sampling { temperature: 0.0, ..PLAIN };
    assert_eq!(draws(greedy, &[0.0, 3.0, 3.0, f32::NAN], 3), [1, 1, 1]);
}

#[test]
fn logits_that_are_no_numbers_are_refused() {
    for temperature in [0.0, 1.0] {
        let mut sampler = Sampler::new(Sampling { temperature, ..PLAIN }, None);
        assert_eq!(sampler.pick(&[f32::NAN, f32::NEG_INFINITY], &[]), Err(Unpickable::NoLogits));
        assert_eq!(sampler.pick(&[], &[]), Err(Unpickable::NoLogits));
    }
}

#[test]
fn the_draw_follows_the_probabilities() {
    let logits = [0.7_f32.ln(), 0.2_f32.ln(), 0.1_f32.ln()];
    let drawn = draws(PLAIN, &logits, 20_000);
    let share = |token| drawn.iter().filter(|&&t| t == token).count() as f64 / drawn.len() as f64;
    assert!((share(0) - 0.7).abs() < 0.02, "{}", share(0));
    assert!((share(2) - 0.1).abs() < 0.02, "{}", share(2));
}

#[test]
fn the_seed_decides() {
    let logits: Vec<f32> = (0..50).map(|n| n as f32 * 0.01).collect();
    let with = |seed| draws(Sampling { seed: Some(seed), ..PLAIN }, &logits, 20);
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    let free = || draws(Sampling { seed: None, ..PLAIN }, &logits, 20);
    assert_ne!(free(), free());
}

#[test]
fn the_cuts_keep_only_likely_tokens() {
    let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.15_f32.ln(), 0.05_f32.ln()];
    let largest = |sampling| draws(sampling, &logits, 2000).into_iter().max();
    assert_eq!(largest(Sampling { top_p: 0.79, ..PLAIN }), Some(1));
    assert_eq!(largest(Sampling { top_p: 0.0, ..PLAIN }), Some(0));
    assert_eq!(largest(Sampling { top_k: 3, ..PLAIN }), Some(2));
    assert_eq!(largest(Sampling { min_p: 0.25, ..PLAIN }), Some(2));
    assert_eq!(largest(Sampling { temperature: 0.01, ..PLAIN }), Some(0));
}

#[test]
fn barred_tokens_are_never_picked() {
    for temperature in [0.0, 1.0] {
        let mut sampler = Sampler::new(Sampling { temperature, presence_penalty: 0.1, ..PLAIN }, None);
        for _ in 0..200 {
            assert_ne!(sampler.pick(&[9.0, 0.0, 0.5], &[0, 7]), Ok(0));
        }
        assert_eq!(sampler.pick(&[9.0], &[0]), Err(Unpickable::NoLogits));
    }
}

#[test]
fn penalties_move_on_from_what_was_written() {
    let greedy = Sampling { temperature: 0.0, presence_penalty: 1.5, ..PLAIN };
    assert_eq!(draws(greedy, &[1.0, 0.0, 0.9], 4), [0, 2, 1, 0]);
    let greedy = Sampling { temperature: 0.0, frequency_penalty: 0.4, ..PLAIN };
    assert_eq!(draws(greedy, &[1.0, 0.0, 0.9], 4), [0, 2, 0, 2]);
}

#[test]
fn a_grammar_lets_the_likeliest_of_what_fits_through() {
    let schema = serde_json::json!({"enum": ["ab", "ac"]});
    for temperature in [0.0, 1.0] {
        let sampling = Sampling { temperature, top_k: 1, ..PLAIN };
        let mut sampler = Sampler::new(sampling, Some(Grammar::of_bytes(&schema, true).unwrap()));
        let mut logits = vec![0.0; 262];
        for (byte, logit) in [(b'x', 9.0), (b'c', 5.0), (b'b', 4.0)] {
            logits[usize::from(byte)] = logit;
        }
        let mut text = String::new();
        while !sampler.ended() {
            text.push(char::from(u8::try_from(sampler.pick(&logits, &[]).unwrap()).unwrap()));
        }
        assert_eq!(text, "\"ac\"");
    }
}

#[test]
fn repeats_are_made_less_likely_on_either_side_of_zero() {
    let greedy = Sampling { temperature: 0.0, repeat_penalty: 1.5, ..PLAIN };
    assert_eq!(draws(greedy.clone(), &[3.0, 2.5, 0.0], 3), [0, 1, 0]);
    assert_eq!(draws(greedy, &[-3.0, -4.0, -9.0], 3), [0, 1, 0]);
}

#[test]
fn biases_make_tokens_certain_or_impossible() {
    for temperature in [0.0, 1.0] {
        let with = |bias| Sampling { temperature, logit_bias: vec![(2, bias), (99, 5.0)], ..PLAIN };
        assert_eq!(draws(with(100.0), &[9.0, 0.0, 0.5], 20), [2; 20]);
        assert!(!draws(with(-100.0), &[0.0, 0.0, 9.0], 20).contains(&2));
    }
}
