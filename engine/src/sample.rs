//! Picks the next token from logits: greedy at temperature 0, else min-p, top-k, temperature and top-p in that order.
//!
//! Pure and seeded: the same logits, settings and seed give the same tokens. Min-p comes first because one pass over
//! the vocabulary then leaves a few candidates, so nothing is ever sorted at full length. A grammar is asked about the
//! pick alone; only where it refuses that is the whole vocabulary held to it and the pick made again.

use crate::grammar::{Grammar, TooComplex};
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
    /// Logits of tokens written before are divided by this (multiplied where they are negative); 1 = not.
    pub(crate) repeat_penalty: f32,
    /// Added to tokens' logits, by their numbers.
    pub(crate) logit_bias: Vec<(usize, f32)>,
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
            repeat_penalty: 1.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

/// Why no token can be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpickable {
    /// No logit that is left is a number.
    NoLogits,
    /// The answer's grammar became too complex.
    TooComplex,
}

impl From<TooComplex> for Unpickable {
    fn from(_: TooComplex) -> Self {
        Self::TooComplex
    }
}

/// The sampler of one answer.
#[derive(Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    grammar: Option<Grammar>,
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
    /// A fresh sampler, of an answer that is held to `grammar`.
    pub(crate) fn new(sampling: Sampling, grammar: Option<Grammar>) -> Self {
        let rng = match sampling.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::seed_from_u64(rand::random()),
        };
        Self { sampling, grammar, rng, written: HashMap::new(), scratch: Vec::new(), candidates: Vec::new() }
    }

    /// The next token's number, none of `barred`.
    pub(crate) fn pick(&mut self, logits: &[f32], barred: &[usize]) -> Result<usize, Unpickable> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let picked = self.pick_in(logits, barred, &mut scratch);
        self.scratch = scratch;
        if let (Ok(token), true) = (picked, self.penalises()) {
            *self.written.entry(token).or_default() += 1;
        }
        picked
    }

    /// Whether the grammar says that the answer is whole.
    pub(crate) fn ended(&self) -> bool {
        self.grammar.as_ref().is_some_and(Grammar::ended)
    }

    fn pick_in(
        &mut self,
        logits: &[f32],
        barred: &[usize],
        scratch: &mut Vec<f32>,
    ) -> Result<usize, Unpickable> {
        let bent = !barred.is_empty()
            || !self.sampling.logit_bias.is_empty()
            || (self.penalises() && !self.written.is_empty());
        if bent {
            self.bend(logits, barred, scratch);
        }
        let first = self.choose(if bent { scratch } else { logits })?;
        let Some(grammar) = &mut self.grammar else { return Ok(first) };
        if grammar.take(first)? {
            return Ok(first);
        }
        if !bent {
            scratch.clear();
            scratch.extend_from_slice(logits);
        }
        grammar.bar(scratch)?;
        let second = self.choose(scratch)?;
        if let Some(grammar) = &mut self.grammar {
            grammar.take(second)?;
        }
        Ok(second)
    }

    fn choose(&mut self, logits: &[f32]) -> Result<usize, Unpickable> {
        let token = if self.sampling.temperature <= 0.0 { likeliest(logits) } else { self.draw(logits) };
        token.ok_or(Unpickable::NoLogits)
    }

    fn penalises(&self) -> bool {
        let sampling = &self.sampling;
        sampling.frequency_penalty != 0.0
            || sampling.presence_penalty != 0.0
            || (sampling.repeat_penalty - 1.0).abs() > f32::EPSILON
    }

    /// The logits with biases added, penalties taken off and the barred tokens out of the question.
    fn bend(&self, logits: &[f32], barred: &[usize], bent: &mut Vec<f32>) {
        bent.clear();
        bent.extend_from_slice(logits);
        for &(token, bias) in &self.sampling.logit_bias {
            if let Some(logit) = bent.get_mut(token) {
                *logit += bias;
            }
        }
        for (&token, &times) in &self.written {
            if let Some(logit) = bent.get_mut(token) {
                let penalty = self.sampling.repeat_penalty;
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
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
mod tests;
