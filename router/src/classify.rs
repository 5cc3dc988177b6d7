//! The classifier: features in, ONNX graph, score out.
//!
//! The graph is loaded and checked once; a score is two small buffers and one inline run, tens of
//! microseconds, so callers run it where they are. Sessions need exclusive access, so there is a small
//! pool of them, each behind its own lock that is never held longer than one run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;

pub use tollgate_policies::DOMAINS;

use crate::calibrate::{
    Calibration, CalibrationError, Example, FitError, Inputs, InputsView, Label, Report, VALUES, fit,
};
use crate::error::RouterError;
use crate::features::Features;
use crate::graph::{Facts, Network, Source};
use crate::identity::RouterId;
use crate::links::Said;
use crate::memo::Memo;
use crate::quality::QualityTable;
use crate::task::Task;

/// Predicted length of the answer, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutputTokens {
    /// Half of such answers are at most this long.
    pub p50: u32,
    /// Nine in ten are at most this long.
    pub p90: u32,
}

/// What the classifier says about a task.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// 0..=1, higher = the small reference model is less likely to be enough.
    pub difficulty: f32,
    /// One of [`DOMAINS`].
    pub domain: &'static str,
    /// Probability that the small reference model answers well.
    pub p_small: f32,
    /// Probability that the large reference model answers well.
    pub p_large: f32,
    /// Predicted length of the answer.
    #[serde(rename = "output_tokens")]
    pub output: OutputTokens,
    /// Whether the task looks like the training prompts.
    pub familiar: bool,
    /// Time for features and graph together, in microseconds.
    #[serde(rename = "score_us")]
    pub elapsed_us: u32,
    /// The graph's table of tolerated gaps, for decisions.
    #[serde(skip)]
    pub tolerance: Arc<QualityTable>,
    /// Who says so; `None` where the classifier failed, of which nothing can be learned.
    #[serde(skip)]
    pub router: Option<RouterId>,
}

impl Default for Score {
    /// Nothing is known: middling, unfamiliar, no tolerance learned. What to decide on when the
    /// classifier failed.
    fn default() -> Score {
        Score {
            difficulty: 0.5,
            domain: DOMAINS[0],
            p_small: 0.5,
            p_large: 0.75,
            output: OutputTokens { p50: 200, p90: 800 },
            familiar: false,
            elapsed_us: 0,
            tolerance: Arc::default(),
            router: None,
        }
    }
}

/// A loaded classifier. Cheap to share: `Send + Sync`, no state between scores.
pub struct Scorer {
    pool: Vec<Mutex<Worker>>,
    next: AtomicUsize,
    facts: Facts,
    /// SHA-256 of the graph, for calibrations are bound to it.
    graph: String,
    fitted: ArcSwap<Fitted>,
    memo: Option<Memo>,
}

/// The calibration in force, if any, and what the graph is with it.
struct Fitted {
    calibration: Option<Calibration>,
    router: RouterId,
}

impl std::fmt::Debug for Scorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scorer").field("sessions", &self.pool.len()).field("facts", &self.facts).finish()
    }
}

/// One session and the buffers that go with it.
struct Worker {
    network: Network,
    features: Features,
    /// What a calibration reads beside the words.
    values: Vec<f32>,
}

impl Scorer {
    /// Loads the graph that ships with this build, with `sessions` sessions (at least one).
    ///
    /// # Errors
    /// When ONNX Runtime's shared library at `onnxruntime` is missing or cannot be used.
    pub fn load(onnxruntime: &Path, sessions: usize) -> Result<Scorer, RouterError> {
        Scorer::from_source(onnxruntime, Source::shipped(), sessions)
    }

    /// Loads another graph made by `make train`, and the table of the same name beside it.
    ///
    /// # Errors
    /// When the library, the graph or its table cannot be read, or they do not fit each other or this build's features.
    pub fn load_graph(onnxruntime: &Path, graph: &Path, sessions: usize) -> Result<Scorer, RouterError> {
        Scorer::from_source(onnxruntime, Source::read(graph)?, sessions)
    }

    fn from_source(library: &Path, source: Source, sessions: usize) -> Result<Scorer, RouterError> {
        let graph = source.sha256();
        let (facts, networks) = source.load(library, sessions)?;
        let worker = |network| Worker { network, features: Features::default(), values: Vec::new() };
        Ok(Scorer {
            pool: networks.into_iter().map(|network| Mutex::new(worker(network))).collect(),
            next: AtomicUsize::new(0),
            facts,
            fitted: ArcSwap::from_pointee(Fitted { calibration: None, router: RouterId::of(&graph, None) }),
            graph,
            memo: None,
        })
    }

    /// Remembers the scores of so many tasks, about 200 bytes each; none if `tasks` is 0.
    #[must_use]
    pub fn remembering(mut self, tasks: usize) -> Scorer {
        self.memo = (tasks > 0).then(|| Memo::new(tasks));
        self
    }

    /// Scores a task; blocks for tens of microseconds (longer only when every session is busy).
    ///
    /// # Errors
    /// When ONNX Runtime fails, which no text should cause.
    pub fn score(&self, task: &Task<'_>) -> Result<Score, RouterError> {
        let start = Instant::now();
        let Some(memo) = &self.memo else { return self.compute(task, start) };
        let key = memo.key(task);
        if let Some(score) = memo.recall(&key) {
            return Ok(Score { elapsed_us: micros_since(start), ..score });
        }
        let score = self.compute(task, start)?;
        memo.remember(key, &score);
        Ok(score)
    }

    fn compute(&self, task: &Task<'_>, start: Instant) -> Result<Score, RouterError> {
        let fitted = self.fitted.load();
        let calibration = fitted.calibration.as_ref();
        let (said, calibrated) = self.with_worker(|worker| -> Result<_, RouterError> {
            let said = worker.run(task, &self.facts)?;
            Ok((said, calibration.map(|calibration| calibration.apply(worker.view(&said)))))
        })?;
        let mut score = self.facts.score(&said, micros_since(start));
        score.router = Some(fitted.router);
        if let (Some(calibration), Some(calibrated)) = (calibration, calibrated) {
            score.difficulty = calibrated.difficulty;
            (score.p_small, score.p_large) = (calibrated.p_small, calibrated.p_large);
            score.tolerance = Arc::clone(calibration.quality());
        }
        Ok(score)
    }

    /// Puts a calibration in force, or none; scores begun before keep the old one.
    ///
    /// # Errors
    /// When it was fitted for another graph; what was in force stays.
    pub fn calibrate(&self, calibration: Option<Calibration>) -> Result<(), CalibrationError> {
        if let Some(calibration) = &calibration {
            calibration.fits(&self.graph, VALUES)?;
        }
        let router = RouterId::of(&self.graph, calibration.as_ref());
        self.fitted.store(Arc::new(Fitted { calibration, router }));
        if let Some(memo) = &self.memo {
            memo.forget();
        }
        Ok(())
    }

    /// The tolerated gaps in force: the calibration's, else the graph's.
    pub fn tolerance(&self) -> Arc<QualityTable> {
        let fitted = self.fitted.load();
        Arc::clone(fitted.calibration.as_ref().map_or(&self.facts.tolerance, Calibration::quality))
    }

    /// Who says what is scored from now on.
    pub fn router(&self) -> RouterId {
        self.fitted.load().router
    }

    /// A labelled task as [`Scorer::fit`] wants it; a calibration in force does not matter.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn example(&self, task: &Task<'_>, label: Label) -> Result<Example, RouterError> {
        self.with_worker(|worker| {
            let said = worker.run(task, &self.facts)?;
            let inputs = Inputs::from(worker.view(&said));
            Ok(Example { prompt: task.digest(), inputs, score: self.facts.score(&said, 0), label })
        })
    }

    /// Fits a calibration of this graph to labelled tasks; takes seconds.
    ///
    /// # Errors
    /// When there is nothing to learn from.
    pub fn fit(&self, examples: &[Example]) -> Result<(Calibration, Report), FitError> {
        fit(&self.graph, examples)
    }

    /// A free session if there is one, else the next in turn.
    fn with_worker<T>(&self, run: impl FnOnce(&mut Worker) -> T) -> T {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let nth = |offset: usize| &self.pool[start.wrapping_add(offset) % self.pool.len()];
        let free = (0..self.pool.len()).find_map(|offset| nth(offset).try_lock());
        run(&mut free.unwrap_or_else(|| nth(0).lock()))
    }
}

fn micros_since(start: Instant) -> u32 {
    start.elapsed().as_micros().try_into().unwrap_or(u32::MAX)
}

impl Worker {
    fn run(&mut self, task: &Task<'_>, facts: &Facts) -> Result<Said, RouterError> {
        self.features.extract(task);
        let heads = self.network.run(&self.features)?;
        let said = facts.links.said(heads, &self.features.dense);
        // Nothing was read, as of a picture without a word: what it asks for is not known.
        Ok(Said { familiar: said.familiar && !self.features.is_blank(), ..said })
    }

    /// The task that was run last, as a calibration reads it.
    fn view(&mut self, said: &Said) -> InputsView<'_> {
        crate::calibrate::values(said, self.network.heads(), &self.features.dense, &mut self.values);
        let Features { ids, weights, .. } = &self.features;
        InputsView { ids, weights, values: &self.values, domain: said.domain }
    }
}

impl Facts {
    fn score(&self, said: &Said, elapsed_us: u32) -> Score {
        Score {
            difficulty: said.difficulty,
            domain: DOMAINS[said.domain],
            p_small: said.p_small,
            p_large: said.p_large,
            output: OutputTokens { p50: said.p50, p90: said.p90 },
            familiar: said.familiar,
            elapsed_us,
            tolerance: Arc::clone(&self.tolerance),
            router: None,
        }
    }
}
