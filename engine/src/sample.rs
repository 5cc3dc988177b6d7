//! Picks the next token from logits: greedy at temperature 0, else min-p, top-k, temperature and top-p in that order.
//!
//! Pure and seeded: the same logits, settings and seed give the same tokens. Min-p comes first because one pass over
//! the vocabulary then leaves a few candidates, so nothing is ever sorted at full length.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;

/// How an answer's tokens are picked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// 0 = always the likeliest token.
    pub(crate) temperature: f32,
    /// Smallest set of tokens whose probabilities reach this sum; 1 = all.
    pub(crate) top_p: f32,
    /// So many likeliest tokens at most; 0 = all.
    pub(crate) top_k: usize,
    /// Only tokens at least this fraction as likely as the likeliest; 0 = all.
    pub(crate) min_p: f32,
    /// Taken off a token's logit for each time it was written.
    pub(crate) frequency_penalty: f32,
    /// Taken off a token's logit once it was written at all.
    pub(crate) presence_penalty: f32,
    /// Makes the draw repeatable; without it every answer differs.
    pub(crate) seed: Option<u64>,
}

impl Default for Sampling {
    /// What llama.cpp's own server does when a request says nothing.
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_p: 0.95,
            top_k: 40,
            min_p: 0.05,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: None,
        }
    }
}

/// The sampler of one answer.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    rng: StdRng,
    written: HashMap<usize, u32>,
    scratch: Vec<f32>,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: usize,
    logit: f32,
}

impl Sampler {
    /// A fresh sampler.
    pub(crate) fn new(sampling: Sampling) -> Self {
        let rng = match sampling.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::seed_from_u64(rand::random()),
        };
        Self { sampling, rng, written: HashMap::new(), scratch: Vec::new(), candidates: Vec::new() }
    }

    /// The next token's number, none of `barred`; `None` when no other logit is a number, so the model is broken.
    pub(crate) fn pick(&mut self, logits: &[f32], barred: &[usize]) -> Option<usize> {
        let bent = !barred.is_empty() || (self.penalises() && !self.written.is_empty());
        let mut scratch = std::mem::take(&mut self.scratch);
        if bent {
            self.bend(logits, barred, &mut scratch);
        }
        let logits = if bent { scratch.as_slice() } else { logits };
        let token = if self.sampling.temperature <= 0.0 { likeliest(logits) } else { self.draw(logits) };
        self.scratch = scratch;
        if let (Some(token), true) = (token, self.penalises()) {
            *self.written.entry(token).or_default() += 1;
        }
        token
    }

    fn penalises(&self) -> bool {
        self.sampling.frequency_penalty != 0.0 || self.sampling.presence_penalty != 0.0
    }

    /// The logits with the penalties taken off and the barred tokens out of the question.
    fn bend(&self, logits: &[f32], barred: &[usize], bent: &mut Vec<f32>) {
        bent.clear();
        bent.extend_from_slice(logits);
        for (&token, &times) in &self.written {
            if let Some(logit) = bent.get_mut(token) {
                *logit -= self.sampling.presence_penalty + self.sampling.frequency_penalty * times as f32;
            }
        }
        for &token in barred {
            if let Some(logit) = bent.get_mut(token) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> Option<usize> {
        let best = logits[likeliest(logits)?];
        let floor =
            if self.sampling.min_p > 0.0 { best + self.sampling.min_p.ln() } else { f32::NEG_INFINITY };
        let candidates = &mut self.candidates;
        candidates.clear();
        for (token, &logit) in logits.iter().enumerate() {
            if logit >= floor && logit.is_finite() {
                candidates.push(Candidate { token, logit });
            }
        }
        // Equal logits keep the vocabulary's order, so that the draw is the same on every machine.
        let likelier = |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token));
        let top_k = self.sampling.top_k;
        if top_k > 0 && candidates.len() > top_k {
            candidates.select_nth_unstable_by(top_k - 1, likelier);
            candidates.truncate(top_k);
        }
        candidates.sort_unstable_by(likelier);
        let weight = |c: &Candidate| f64::from((c.logit - best) / self.sampling.temperature).exp();
        let total: f64 = candidates.iter().map(weight).sum();
        let kept = total * f64::from(self.sampling.top_p.clamp(0.0, 1.0));
        let (mut sum, mut count) = (0.0, 0);
        for candidate in candidates.iter() {
            sum += weight(candidate);
            count += 1;
            if sum >= kept {
                break;
            }
        }
        let mut left = self.rng.random::<f64>() * sum;
        let chosen = candidates.iter().take(count).find(|candidate| {
            left -= weight(candidate);
            left < 0.0
        });
        // Rounding can leave a sliver beyond the last candidate.
        chosen.or(candidates.get(count.saturating_sub(1))).map(|candidate| candidate.token)
    }
}

/// The first of the largest logits.
fn likeliest(logits: &[f32]) -> Option<usize> {
    let mut best = f32::NEG_INFINITY;
    let mut at = None;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best {
            best = logit;
            at = Some(token);
        }
    }
    at.filter(|_| best.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sampling = Sampling {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        seed: Some(7),
    };

    fn draws(sampling: Sampling, logits: &[f32], count: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling);
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
            let mut sampler = Sampler::new(Sampling { temperature, ..PLAIN });
            assert_eq!(sampler.pick(&[f32::NAN, f32::NEG_INFINITY], &[]), None);
            assert_eq!(sampler.pick(&[], &[]), None);
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
            let mut sampler = Sampler::new(Sampling { temperature, presence_penalty: 0.1, ..PLAIN });
            for _ in 0..200 {
                assert_ne!(sampler.pick(&[9.0, 0.0, 0.5], &[0, 7]), Some(0));
            }
            assert_eq!(sampler.pick(&[9.0], &[0]), None);
        }
    }

    #[test]
    fn penalties_move_on_from_what_was_written() {
        let greedy = Sampling { temperature: 0.0, presence_penalty: 1.5, ..PLAIN };
        assert_eq!(draws(greedy, &[1.0, 0.0, 0.9], 4), [0, 2, 1, 0]);
        let greedy = Sampling { temperature: 0.0, frequency_penalty: 0.4, ..PLAIN };
        assert_eq!(draws(greedy, &[1.0, 0.0, 0.9], 4), [0, 2, 0, 2]);
    }
}
