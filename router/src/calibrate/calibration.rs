//! A calibration as a file and as it is applied: a few microseconds on top of a score.
//!
//! A JSON document of one version, bound to the graph it was fitted for by the hash of the graph's bytes. What
//! is read is checked whole before it is used, so an applied calibration cannot be out of range.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::curve::{Curve, is_rising};
use super::inputs::{InputsView, Scale, word_scale};
use super::thresholds::difficulty_of;
use crate::classify::DOMAINS;
use crate::features::{BUCKETS, DENSE};
use crate::quality::QualityTable;

/// The version of the document that this build writes and reads.
const FORMAT: u32 = 1;

/// What a file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// [`FORMAT`]; named so that a file says what it is.
    pub(crate) tollgate_calibration: u32,
    /// SHA-256 of the graph it was fitted for.
    pub(crate) graph: String,
    /// How many labels it was fitted to.
    pub(crate) labels: usize,
    /// Which inputs won, and how strongly the weights are held down.
    pub(crate) reads: Reads,
    pub(crate) ridge: f32,
    pub(crate) scale: Scale,
    pub(crate) small: Head,
    pub(crate) large: Head,
    pub(crate) words: Words,
    /// `(order, difficulty)`.
    pub(crate) difficulty: Vec<(f32, f32)>,
    pub(crate) quality: QualityTable,
}

/// Which inputs the heads read, from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// Each its own probability of the graph: a recalibration, the order hardly changes.
    OwnOutput,
    /// All outputs of the graph.
    Outputs,
    /// Those and the dense counts, the counts once more for each domain.
    Values,
    /// Those and the words.
    Words,
}

/// Weights of one probability.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) bias: f32,
    pub(crate) values: Vec<f32>,
    /// For each domain in turn a weight for each dense count; empty where not read.
    pub(crate) by_domain: Vec<f32>,
    /// Straight, for the order: no two logits become one.
    pub(crate) line: Option<Curve>,
    /// For the probability that is shown.
    pub(crate) curve: Option<Curve>,
}

/// Weights of words (rows of the n-gram table) in both heads.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    pub(crate) ids: Vec<u32>,
    pub(crate) small: Vec<f32>,
    pub(crate) large: Vec<f32>,
}

/// A calibration that can be applied.
#[derive(Clone, Debug)]
pub struct Calibration {
    document: Document,
    /// For each row of the table its place in the document's words, [`NOWHERE`] if it has none.
    places: Vec<u32>,
    quality: Arc<QualityTable>,
}

const NOWHERE: u32 = u32::MAX;

/// Why a file is no calibration for this graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// Not JSON of the right shape, or out of range.
    #[error("it is not a calibration: {reason}")]
    Malformed {
        /// The first thing that is wrong.
        reason: String,
    },
    /// Written by another version.
    #[error("it is of format {found}, this build reads format {FORMAT}")]
    Format {
        /// What the file says.
        found: u32,
    },
    /// Fitted for another graph.
    #[error("it was fitted for another router graph ({found:.12}…, this one is {wanted:.12}…)")]
    OtherGraph {
        /// The hash in the file.
        found: String,
        /// The hash of the graph in use.
        wanted: String,
    },
}

/// What a calibration says of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Calibrated {
    pub(crate) p_small: f32,
    pub(crate) p_large: f32,
    pub(crate) difficulty: f32,
}

impl Calibration {
    /// Reads a file's text; whether it fits a graph is checked by [`crate::Scorer::calibrate`].
    ///
    /// # Errors
    /// When it is not a sound document of this version.
    pub fn parse(text: &str) -> Result<Calibration, CalibrationError> {
        let malformed = |reason: String| CalibrationError::Malformed { reason };
        #[derive(Deserialize)]
        struct Versioned {
            tollgate_calibration: u32,
        }
        let version: Versioned = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if version.tollgate_calibration != FORMAT {
            return Err(CalibrationError::Format { found: version.tollgate_calibration });
        }
        let document: Document = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        document.check().map_err(malformed)?;
        Ok(Calibration::new(document))
    }

    pub(crate) fn new(document: Document) -> Calibration {
        let mut places = vec![NOWHERE; BUCKETS];
        for (place, id) in document.words.ids.iter().enumerate() {
            places[*id as usize] = place as u32;
        }
        Calibration { quality: Arc::new(document.quality.clone()), document, places }
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        // Numbers and names only, all finite: this cannot fail.
        serde_json::to_string(&self.document).unwrap_or_default() + "\n"
    }

    /// Whether it was fitted for the graph of this hash, whose tasks have so many values.
    pub(crate) fn fits(&self, graph: &str, values: usize) -> Result<(), CalibrationError> {
        if self.document.graph != graph {
            return Err(CalibrationError::OtherGraph {
                found: self.document.graph.clone(),
                wanted: graph.to_owned(),
            });
        }
        if self.document.scale.mean.len() != values {
            let reason =
                format!("it reads {} values, the graph gives {values}", self.document.scale.mean.len());
            return Err(CalibrationError::Malformed { reason });
        }
        Ok(())
    }

    /// How many labels it was fitted to.
    pub fn labels(&self) -> usize {
        self.document.labels
    }

    /// Which inputs it reads.
    pub fn reads(&self) -> Reads {
        self.document.reads
    }

    /// The tolerated gaps on the labels.
    pub fn quality(&self) -> &Arc<QualityTable> {
        &self.quality
    }

    /// Logits of both heads, before their curves.
    pub(crate) fn logits(&self, inputs: InputsView<'_>) -> [f32; 2] {
        let Document { scale, small, large, words, .. } = &self.document;
        let mut logits = [small.bias, large.bias];
        let dense = scale.dense();
        for (at, value) in inputs.values.iter().enumerate() {
            let value = scale.at(at, *value);
            for (logit, head) in logits.iter_mut().zip([small, large]) {
                *logit += value * head.values[at];
                if at >= dense && !head.by_domain.is_empty() {
                    *logit += value * head.by_domain[inputs.domain * DENSE + at - dense];
                }
            }
        }
        let (mut square, mut known) = (0.0, [0.0; 2]);
        for (id, weight) in inputs.ids.iter().zip(inputs.weights) {
            let place = self.places[*id as usize];
            if place != NOWHERE {
                square += weight * weight;
                known[0] += weight * words.small[place as usize];
                known[1] += weight * words.large[place as usize];
            }
        }
        let scale = word_scale(square);
        [logits[0] + scale * known[0], logits[1] + scale * known[1]]
    }

    pub(crate) fn apply(&self, inputs: InputsView<'_>) -> Calibrated {
        let [small, large] = self.logits(inputs);
        // So many labels cannot make surer of anything than this (the rule of succession).
        let unsure = 1.0 / (self.document.labels as f32 + 2.0);
        let shown = |p: f32| p.clamp(unsure, 1.0 - unsure);
        let order = self.document.large.ordered(large) - self.document.small.ordered(small);
        Calibrated {
            p_small: shown(self.document.small.shown(small)),
            p_large: shown(self.document.large.shown(large)),
            difficulty: difficulty_of(&self.document.difficulty, order),
        }
    }
}

impl Head {
    pub(crate) fn ordered(&self, logit: f32) -> f32 {
        self.line.as_ref().map_or(0.5, |line| line.at(logit))
    }

    pub(crate) fn shown(&self, logit: f32) -> f32 {
        self.curve.as_ref().or(self.line.as_ref()).map_or(0.5, |curve| curve.at(logit))
    }

    fn check(&self, values: usize) -> bool {
        let finite = self.values.iter().chain(&self.by_domain).all(|weight| weight.is_finite());
        let curves = self.line.iter().chain(&self.curve).all(Curve::is_sound);
        let domains = self.by_domain.is_empty() || self.by_domain.len() == DOMAINS.len() * DENSE;
        self.bias.is_finite()
            && finite
            && curves
            && domains
            && self.line.is_some()
            && self.values.len() == values
    }
}

impl Document {
    fn check(&self) -> Result<(), String> {
        let values = self.scale.mean.len();
        let Words { ids, small, large } = &self.words;
        let same = small.len() == ids.len() && large.len() == ids.len();
        let inside = ids.iter().all(|id| (*id as usize) < BUCKETS);
        let finite = small.iter().chain(large).all(|weight| weight.is_finite());
        let parts = [
            ("scale", self.scale.is_sound(values) && values >= DENSE),
            ("small", self.small.check(values)),
            ("large", self.large.check(values)),
            ("words", same && inside && finite),
            ("difficulty", is_rising(&self.difficulty)),
            ("quality", self.quality.is_sound()),
        ];
        match parts.into_iter().find(|(_, sound)| !sound) {
            Some((name, _)) => Err(format!("its {name} is not usable")),
            None => Ok(()),
        }
    }
}
