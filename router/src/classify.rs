//! The classifier: features in, ONNX graph, score out.
//!
//! The graph is loaded and checked once; a score is two small buffers and one inline run, tens of
//! microseconds, so callers run it where they are. Sessions need exclusive access, so there is a small
//! pool of them, each behind its own lock that is never held longer than one run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use parking_lot::Mutex;
use serde::Serialize;

use crate::calibrate::{
    Calibration, CalibrationError, Example, FitError, Inputs, InputsView, Label, Report, fit,
};
use crate::error::RouterError;
use crate::features::{BUCKETS, DENSE, DENSE_NAMES, Features, VERSION};
use crate::memo::Memo;
use crate::quality::QualityTable;
use crate::task::Task;

/// What a prompt can be about, in the order of the graph's output.
pub const DOMAINS: [&str; 8] =
    ["chat", "classification", "code", "knowledge", "math", "reading", "reasoning", "writing"];

/// The graph that ships with this build.
static SHIPPED: &[u8] = include_bytes!("../model/router.onnx");

/// Values per run: p(small), p(large), difficulty, ln P50, ln P90, distance from the training prompts.
const SCALARS: usize = 6;
/// The optional output that a calibration may read: a row of numbers about the task.
const EMBEDDING: &str = "embedding";
/// Predicted lengths are kept in this range, in tokens.
const LENGTHS: std::ops::RangeInclusive<f32> = 1.0..=16_384.0;

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
    calibration: ArcSwapOption<Calibration>,
    memo: Option<Memo>,
}

impl std::fmt::Debug for Scorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scorer").field("sessions", &self.pool.len()).field("facts", &self.facts).finish()
    }
}

/// One session and the buffers that go with it.
struct Worker {
    session: Session,
    features: Features,
    /// What a calibration reads beside the words.
    values: Vec<f32>,
    /// Whether the graph has an output named [`EMBEDDING`].
    embeds: bool,
}

/// What the graph's metadata says.
#[derive(Clone, Debug)]
struct Facts {
    tolerance: Arc<QualityTable>,
    /// Tasks further than this from the training prompts are unfamiliar.
    familiar_within: f32,
}

impl Scorer {
    /// Loads the graph that ships with this build, with `sessions` sessions (at least one).
    ///
    /// # Errors
    /// When ONNX Runtime's shared library at `onnxruntime` is missing or cannot be used.
    pub fn load(onnxruntime: &Path, sessions: usize) -> Result<Scorer, RouterError> {
        Scorer::from_bytes(onnxruntime, SHIPPED, "built in", sessions)
    }

    /// Loads another graph made by `make train`.
    ///
    /// # Errors
    /// When the library or the graph cannot be read, or the graph does not fit this build's features.
    pub fn load_graph(onnxruntime: &Path, graph: &Path, sessions: usize) -> Result<Scorer, RouterError> {
        let unreadable = |source| RouterError::GraphUnreadable { path: graph.to_owned(), source };
        let bytes = std::fs::read(graph).map_err(unreadable)?;
        Scorer::from_bytes(onnxruntime, &bytes, &graph.display().to_string(), sessions)
    }

    fn from_bytes(library: &Path, graph: &[u8], name: &str, sessions: usize) -> Result<Scorer, RouterError> {
        let environment = environment(library)?;
        let mut pool = Vec::with_capacity(sessions.max(1));
        let mut facts = None;
        for _ in 0..sessions.max(1) {
            let session = session(&environment, graph, name)?;
            if facts.is_none() {
                facts = Some(check(&session, name)?);
            }
            let embeds = session.outputs().iter().any(|output| output.name() == EMBEDDING);
            let (features, values) = Default::default();
            pool.push(Mutex::new(Worker { session, features, values, embeds }));
        }
        let facts = facts.ok_or_else(|| mismatch(name, "it has no metadata"))?;
        let scorer = Scorer {
            pool,
            next: AtomicUsize::new(0),
            facts,
            graph: sha256(graph),
            calibration: ArcSwapOption::empty(),
            memo: None,
        };
        // The first run pays for allocations; let it not be a caller's. It proves the shapes, too.
        for worker in &scorer.pool {
            worker
                .lock()
                .run(&Task::prompt("warm up"))
                .map_err(|error| mismatch(name, &error.to_string()))?;
        }
        Ok(scorer)
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
        let calibration = self.calibration.load();
        let (raw, calibrated) = self.with_worker(|worker| -> Result<_, RouterError> {
            let raw = worker.run(task)?;
            let calibrated = calibration.as_ref().map(|calibration| calibration.apply(worker.view(&raw)));
            Ok((raw, calibrated))
        })?;
        let mut score = self.facts.score(&raw, micros_since(start));
        if let (Some(calibration), Some(calibrated)) = (calibration.as_ref(), calibrated) {
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
            let values = self.with_worker(|worker| worker.values.len());
            calibration.fits(&self.graph, values)?;
        }
        self.calibration.store(calibration.map(Arc::new));
        if let Some(memo) = &self.memo {
            memo.forget();
        }
        Ok(())
    }

    /// The tolerated gaps in force: the calibration's, else the graph's.
    pub fn tolerance(&self) -> Arc<QualityTable> {
        let calibration = self.calibration.load();
        Arc::clone(calibration.as_ref().map_or(&self.facts.tolerance, |calibration| calibration.quality()))
    }

    /// A labelled task as [`Scorer::fit`] wants it; a calibration in force does not matter.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn example(&self, task: &Task<'_>, label: Label) -> Result<Example, RouterError> {
        self.with_worker(|worker| {
            let raw = worker.run(task)?;
            let inputs = Inputs::from(worker.view(&raw));
            Ok(Example { inputs, score: self.facts.score(&raw, 0), label })
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

/// The graph's raw outputs for one task.
struct Raw {
    scalars: [f32; SCALARS],
    domain: usize,
}

fn micros_since(start: Instant) -> u32 {
    start.elapsed().as_micros().try_into().unwrap_or(u32::MAX)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Worker {
    fn run(&mut self, task: &Task<'_>) -> Result<Raw, RouterError> {
        self.features.extract(task);
        let ids = TensorRef::from_array_view(([self.features.ids.len()], self.features.ids.as_slice()))?;
        let weights =
            TensorRef::from_array_view(([1, self.features.weights.len()], self.features.weights.as_slice()))?;
        let dense = TensorRef::from_array_view(([1, DENSE], self.features.dense.as_slice()))?;
        let outputs = self.session.run(ort::inputs!["ids" => ids, "weights" => weights, "dense" => dense])?;
        let (_, values) = outputs["scores"].try_extract_tensor::<f32>()?;
        let (_, domains) = outputs["domains"].try_extract_tensor::<f32>()?;
        let mut scalars = [0.0; SCALARS];
        scalars.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        let embedding = match self.embeds {
            true => outputs[EMBEDDING].try_extract_tensor::<f32>()?.1,
            false => &[],
        };
        crate::calibrate::values(&scalars, domains, embedding, &self.features.dense, &mut self.values);
        let likeliest = domains.iter().take(DOMAINS.len()).enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        Ok(Raw { scalars, domain: likeliest.map_or(0, |(at, _)| at) })
    }

    /// The task that was run last, as a calibration reads it.
    fn view(&self, raw: &Raw) -> InputsView<'_> {
        let Features { ids, weights, .. } = &self.features;
        InputsView { ids, weights, values: &self.values, domain: raw.domain }
    }
}

impl Facts {
    fn score(&self, raw: &Raw, elapsed_us: u32) -> Score {
        let [p_small, p_large, difficulty, p50, p90, distance] = raw.scalars;
        let share = |value: f32| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.5 };
        let tokens = |log: f32| log.exp().clamp(*LENGTHS.start(), *LENGTHS.end()).round() as u32;
        Score {
            difficulty: share(difficulty),
            domain: DOMAINS[raw.domain],
            p_small: share(p_small),
            p_large: share(p_large),
            output: OutputTokens { p50: tokens(p50), p90: tokens(p90).max(tokens(p50)) },
            familiar: distance <= self.familiar_within,
            elapsed_us,
            tolerance: Arc::clone(&self.tolerance),
        }
    }
}

/// ONNX Runtime allows one environment a process, and a session is made in it. It stays for good.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Loads the shared library, once: later calls with any path keep the first that worked.
fn environment(path: &Path) -> Result<Environment, RouterError> {
    let mut shared = ENVIRONMENT.lock();
    if let Some(environment) = &*shared {
        return Ok(environment.clone());
    }
    if !path.is_file() {
        return Err(RouterError::LibraryMissing { path: path.to_owned() });
    }
    let unusable = |reason: String| RouterError::LibraryUnusable { path: path.to_owned(), reason };
    // A bare file name is looked for on the loader's own path and not here.
    let absolute = std::path::absolute(path).map_err(|error| unusable(error.to_string()))?;
    let builder = ort::init_from(absolute).map_err(|error| unusable(error.to_string()))?;
    let environment = builder.with_telemetry(false).build().map_err(|error| unusable(error.to_string()))?;
    Ok(shared.insert(environment).clone())
}

fn session(environment: &Environment, graph: &[u8], name: &str) -> Result<Session, RouterError> {
    let build = || -> ort::Result<Session> {
        let mut builder = Session::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            // Run inline on the caller's thread: the graph is too small to share out.
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_memory_pattern(false)?;
        builder.commit_from_memory(graph)
    };
    build().map_err(|error| mismatch(name, &error.to_string()))
}

fn mismatch(name: &str, reason: &str) -> RouterError {
    RouterError::GraphMismatch { name: name.to_owned(), reason: reason.to_owned() }
}

/// Checks the graph's metadata against this build and reads what it carries.
fn check(session: &Session, name: &str) -> Result<Facts, RouterError> {
    let metadata = session.metadata()?;
    let value = |key: &str| {
        metadata.custom(key).ok_or_else(|| mismatch(name, &format!("it says nothing about {key}")))
    };
    let expect = |key: &str, wanted: String| {
        let found = value(key)?;
        let differs = format!("its {key} are {found}, this build has {wanted}");
        if found == wanted { Ok(()) } else { Err(mismatch(name, &differs)) }
    };
    expect("features", format!("version {VERSION}, {BUCKETS} buckets"))?;
    expect("dense", DENSE_NAMES.join(" "))?;
    expect("domains", DOMAINS.join(" "))?;
    let number = value("familiar_within")?;
    let familiar_within =
        number.parse().map_err(|_| mismatch(name, &format!("familiar_within is {number}")))?;
    let points = value("quality")?;
    let tolerance = serde_json::from_str(&points)
        .ok()
        .and_then(QualityTable::new)
        .ok_or_else(|| mismatch(name, &format!("its quality table is {points}")))?;
    Ok(Facts { tolerance: Arc::new(tolerance), familiar_within })
}
