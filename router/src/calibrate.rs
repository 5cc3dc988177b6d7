//! Fits the router to a user's own outcomes: which of their prompts a small and a large model solved.
//!
//! The shipped graph knows other people's models and prompts. Some hundred labels of one's own say how far its
//! probabilities are off, and, when there are more, which prompts need the larger model here. Nothing of the
//! graph changes: a calibration is a small file beside it ([`Calibration`]), and what it says replaces p(small),
//! p(large), the difficulty and the tolerated gaps of a score.

mod bound;
mod calibration;
mod curve;
mod fit;
mod inputs;
mod logistic;
mod measure;
mod shuffle;
mod thresholds;

#[cfg(test)]
mod tests;

pub use calibration::{Calibration, CalibrationError, Reads};
pub use inputs::Inputs;
pub(crate) use inputs::{InputsView, VALUES, values};
pub use measure::{Figure, Quality};

use serde::Serialize;

use crate::classify::Score;
use fit::Data;
use measure::{Said, quality};

/// What both models made of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whether the small model answered well.
    pub small_ok: bool,
    /// Whether the large model answered well.
    pub large_ok: bool,
}

/// A labelled prompt as the graph sees it; [`crate::Scorer::example`] makes it.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its digest: what is labelled again has the same, and prompts that a head reads alike have not.
    pub prompt: u64,
    /// What a head reads of it.
    pub inputs: Inputs,
    /// What the graph alone says of it.
    pub score: Score,
    /// What came of it.
    pub label: Label,
}

/// How the labels split, the four cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Both models solved it.
    pub both: usize,
    /// Only the small one.
    pub only_small: usize,
    /// Only the large one: what routing is about.
    pub only_large: usize,
    /// Neither.
    pub neither: usize,
}

/// What a fit achieved, on labels that the heads in question had not seen.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Labels used.
    pub labels: usize,
    /// How they split.
    pub outcomes: Outcomes,
    /// What the calibration reads.
    pub reads: Reads,
    /// The graph as it is.
    pub before: Quality,
    /// Calibrated, by cross-validation.
    pub after: Quality,
    /// For shares that may be lost, the part of the labels that may go to the small model.
    pub bounds: Vec<Bound>,
}

/// "At most `most` of what goes to the small model is lost": what that leaves.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bound {
    /// The most that may be lost, with 95 % confidence.
    pub most: f64,
    /// The tolerated gap.
    pub gap: f64,
    /// Share of the labels at or below it.
    pub to_small: f64,
}

/// Labels that nothing can be learned from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// Fewer than [`LEAST_LABELS`].
    #[error("{found} labels are too few: at least {LEAST_LABELS} are needed, and some hundred are better")]
    TooFew {
        /// How many there are.
        found: usize,
    },
    /// Enough labels, of fewer prompts than [`LEAST_LABELS`].
    #[error(
        "the {found} labels are of {prompts} different prompts: at least {LEAST_LABELS} different ones are needed, and some \
         hundred are better"
    )]
    Repeated {
        /// How many labels there are.
        found: usize,
        /// How many prompts.
        prompts: usize,
    },
    /// A model that nearly always, or nearly never, does well.
    #[error(
        "{which} is {value} in all but {others} of the {found} labels: at least {LEAST_CASES} of each are needed; label \
         more prompts of the kind that is rare, or prompts drawn from real traffic"
    )]
    OneSided {
        /// `small_ok` or `large_ok`.
        which: &'static str,
        /// The value that nearly all have.
        value: u8,
        /// How many have the other.
        others: usize,
        /// How many labels there are.
        found: usize,
    },
    /// Nothing to gain from the larger model.
    #[error(
        "only {found} labels have small_ok 0 and large_ok 1: without at least {LEAST_CASES} there is nothing to learn about when \
         the larger model is worth its price"
    )]
    NothingToGain {
        /// How many there are.
        found: usize,
    },
}

/// The fewest labels that a fit is made of.
pub const LEAST_LABELS: usize = 50;
/// The fewest labels of each outcome.
pub const LEAST_CASES: usize = 5;
/// Shares lost that the report tells of.
const TOLD_LOSSES: [f64; 4] = [0.02, 0.05, 0.1, 0.15];

/// Fits a calibration for the graph of this hash.
///
/// # Errors
/// [`FitError`] when the labels are too few or too much alike.
pub fn fit(graph: &str, examples: &[Example]) -> Result<(Calibration, Report), FitError> {
    let prompts = fit::prompts(examples);
    let outcomes = examined(examples, &prompts)?;
    let data = Data::new(examples);
    let (reads, ridge) = data.choose();
    let (said, logits) = data.crossed(reads, ridge);
    let calibration = data.finish(graph, reads, ridge, &said, &logits);
    let labels: Vec<Label> = examples.iter().map(|example| example.label).collect();
    let before: Vec<Said> = examples
        .iter()
        .map(|Example { score, .. }| Said {
            order: score.difficulty,
            p_small: score.p_small,
            p_large: score.p_large,
        })
        .collect();
    let report = Report {
        labels: labels.len(),
        outcomes,
        reads,
        before: quality(&before, &labels, &prompts),
        after: quality(&said, &labels, &prompts),
        bounds: bounds(&calibration, &said),
    };
    Ok((calibration, report))
}

fn bounds(calibration: &Calibration, said: &[Said]) -> Vec<Bound> {
    let bound = |most| {
        let gap = calibration.quality().gap_for_loss(most)?;
        let small = said.iter().filter(|said| f64::from(said.p_large - said.p_small) <= gap).count();
        Some(Bound { most, gap, to_small: small as f64 / said.len() as f64 })
    };
    TOLD_LOSSES.into_iter().filter_map(bound).collect()
}

/// Whether there is anything to learn from.
fn examined(examples: &[Example], prompts: &[usize]) -> Result<Outcomes, FitError> {
    let found = examples.len();
    if found < LEAST_LABELS {
        return Err(FitError::TooFew { found });
    }
    let prompts = prompts.iter().max().map_or(0, |most| most + 1);
    if prompts < LEAST_LABELS {
        return Err(FitError::Repeated { found, prompts });
    }
    let mut outcomes = Outcomes::default();
    for example in examples {
        match (example.label.small_ok, example.label.large_ok) {
            (true, true) => outcomes.both += 1,
            (true, false) => outcomes.only_small += 1,
            (false, true) => outcomes.only_large += 1,
            (false, false) => outcomes.neither += 1,
        }
    }
    for (which, good) in
        [("small_ok", outcomes.both + outcomes.only_small), ("large_ok", outcomes.both + outcomes.only_large)]
    {
        let (value, others) = if good * 2 > found { (1, found - good) } else { (0, good) };
        if others < LEAST_CASES {
            return Err(FitError::OneSided { which, value, others, found });
        }
    }
    if outcomes.only_large < LEAST_CASES {
        return Err(FitError::NothingToGain { found: outcomes.only_large });
    }
    Ok(outcomes)
}
