//! Finds the number of compute threads that suits a model on this machine, by trying them.
//!
//! Every count is tried in turn, several times over, and what counts is its best try: other programs can only make a try
//! slower. More threads than free cores slow everything down, and so do two on the hardware threads of one core; which
//! count is best depends on the model, the memory and the neighbours, so it is measured and not guessed.

use crate::EngineError;
use crate::llama::{Batch, Context, ContextOptions, DecodeFailure, Interrupt, Model, Token};
use crate::loading::Loading;
use std::path::Path;
use std::time::Instant;

/// Prompt tokens of a try.
const READ: usize = 128;
/// Answer tokens of a try.
const WRITTEN: usize = 16;
/// Tries of each count.
const ROUNDS: usize = 3;
/// A usual request reads so many tokens for each that it writes.
const READ_PER_WRITTEN: f64 = 4.0;
/// Of counts within this share of the fastest, the smallest is best: it leaves cores to others.
const NEAR: f64 = 1.03;
/// Up to so many threads every count is tried, beyond that every fourth.
const EACH_UP_TO: usize = 8;

/// How fast a model is with so many threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Compute threads.
    pub threads: usize,
    /// Prompt tokens per second.
    pub read_per_second: f64,
    /// Tokens per second of one answer.
    pub written_per_second: f64,
}

impl Speed {
    /// Seconds for a usual request, by the token written.
    fn seconds(&self) -> f64 {
        READ_PER_WRITTEN / self.read_per_second + 1.0 / self.written_per_second
    }
}

/// Tries thread counts up to the machine's own; the speeds come in the order of counts. Takes some seconds for each and
/// blocks.
///
/// # Errors
/// When the model cannot be loaded or computed with.
pub fn tune(model: &Path, loading: &Loading) -> Result<Vec<Speed>, EngineError> {
    let interrupt = Interrupt::default();
    let model = Model::load(model, &[], loading, &interrupt)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut contexts = Vec::new();
    for threads in counts(cores) {
        let batch = u32::try_from(READ).unwrap_or(u32::MAX);
        let shape = ContextOptions { context: batch * 2, sequences: 1, batch, threads, pooling: None };
        contexts.push((threads, model.context(&shape, &interrupt)?));
    }
    let mut speeds: Vec<Speed> = contexts
        .iter()
        .map(|(threads, _)| Speed { threads: *threads, read_per_second: 0.0, written_per_second: 0.0 })
        .collect();
    for round in 0..=ROUNDS {
        for ((_, context), speed) in contexts.iter_mut().zip(&mut speeds) {
            let (read, written) = attempt(&model, context)
                .map_err(|failure| EngineError::SchedulerStopped(failure.to_string()))?;
            // The first round brings the weights into memory.
            if round > 0 {
                speed.read_per_second = speed.read_per_second.max(read);
                speed.written_per_second = speed.written_per_second.max(written);
            }
        }
    }
    Ok(speeds)
}

/// The count that is best for a usual request.
#[must_use]
pub fn best(speeds: &[Speed]) -> Option<Speed> {
    let fastest = speeds.iter().map(Speed::seconds).min_by(f64::total_cmp)?;
    speeds.iter().copied().find(|speed| speed.seconds() <= fastest * NEAR)
}

fn counts(cores: usize) -> impl Iterator<Item = usize> {
    (1..=cores).filter(move |&threads| threads <= EACH_UP_TO || threads % 4 == 0 || threads == cores)
}

/// Reads and writes a little: tokens per second of both.
fn attempt(model: &Model, context: &mut Context<'_>) -> Result<(f64, f64), DecodeFailure> {
    let token = |n: usize| Token(i32::try_from(n % model.vocabulary().max(1)).unwrap_or_default());
    let mut batch = Batch::new(READ);
    context.clear();
    for position in 0..READ {
        batch.push(token(position), position, 0, position + 1 == READ);
    }
    let began = Instant::now();
    context.decode(&mut batch)?;
    let read = READ as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    for position in READ..READ + WRITTEN {
        batch.clear();
        batch.push(token(position), position, 0, true);
        context.decode(&mut batch)?;
    }
    Ok((read, WRITTEN as f64 / began.elapsed().as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_threads_that_are_as_good_as_any_are_best() {
        let speed = |threads, read_per_second, written_per_second| Speed {
            threads,
            read_per_second,
            written_per_second,
        };
        let speeds =
            [speed(1, 100.0, 20.0), speed(2, 200.0, 30.0), speed(3, 202.0, 30.2), speed(4, 150.0, 10.0)];
        assert_eq!(best(&speeds), Some(speeds[1]));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn all_small_counts_are_tried_and_some_of_the_large() {
        assert_eq!(counts(2).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(counts(18).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 18]);
    }

    #[test]
    fn a_real_model_has_a_best_count() {
        let model = crate::models::resolve("smollm2-135m").expect("run `tollgate models pull smollm2-135m`");
        let speeds = tune(&model, &Loading::default()).unwrap();
        assert!(speeds.iter().all(|speed| speed.read_per_second > 0.0 && speed.written_per_second > 0.0));
        assert!(best(&speeds).is_some());
    }
}
