//! The ONNX graph: found, loaded, checked against this build, and run inline.
//!
//! The graph's tables (13 MB) lie beside it and are inputs of it: all sessions read one copy, where it was loaded.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{ModelMetadata, Session};
use ort::value::TensorRef;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::bag::{Bag, Bagged};
use crate::classify::DOMAINS;
use crate::error::RouterError;
use crate::features::{BUCKETS, DENSE, DENSE_NAMES, Features, VERSION, WORD_BUCKETS};
use crate::links::{Heads, Links, NUMBERS};
use crate::quality::QualityTable;

/// A graph and its tables, before they are sessions.
pub(crate) struct Source {
    graph: Cow<'static, [u8]>,
    table: Cow<'static, [u8]>,
    /// For messages.
    name: String,
    /// The table's hash, to be compared with what the graph says; what ships was compared by a test.
    table_sha256: Option<String>,
}

impl Source {
    /// What ships with this build.
    pub(crate) fn shipped() -> Source {
        Source {
            graph: include_bytes!("../model/router.onnx").into(),
            table: include_bytes!("../model/router.table").into(),
            name: "built in".to_owned(),
            table_sha256: None,
        }
    }

    /// A graph made by `make train`; its table has the same name with the ending `.table`.
    pub(crate) fn read(graph: &Path) -> Result<Source, RouterError> {
        let read = |path: &Path| {
            let unreadable = |source| RouterError::GraphUnreadable { path: path.to_owned(), source };
            std::fs::read(path).map_err(unreadable)
        };
        let table = read(&graph.with_extension("table"))?;
        Ok(Source {
            graph: read(graph)?.into(),
            table_sha256: Some(sha256(&table)),
            table: table.into(),
            name: graph.display().to_string(),
        })
    }

    /// SHA-256 of the graph, and so of its table, whose hash it holds.
    pub(crate) fn sha256(&self) -> String {
        sha256(&self.graph)
    }

    /// Makes so many sessions, and reads what the graph says about itself.
    pub(crate) fn load(self, library: &Path, sessions: usize) -> Result<(Facts, Vec<Network>), RouterError> {
        let environment = environment(library)?;
        let sessions = (0..sessions.max(1)).map(|_| session(&environment, &self.graph, &self.name));
        let sessions = sessions.collect::<Result<Vec<Session>, RouterError>>()?;
        let metadata = sessions[0].metadata()?;
        let said = Properties { metadata, name: &self.name };
        if let Some(found) = self.table_sha256
            && found != said.value("table_sha256")?
        {
            return Err(mismatch(&self.name, "the table beside it belongs to another graph"));
        }
        let facts = Facts::check(&said)?;
        let bag = Bag::new(said.json("bag")?, self.table).map_err(|reason| mismatch(&self.name, &reason))?;
        drop(said); // It borrows the sessions.
        let bag = Arc::new(bag);
        let new = |session| Network {
            session,
            bag: Arc::clone(&bag),
            bagged: Bagged::default(),
            heads: Heads::default(),
        };
        let mut networks: Vec<Network> = sessions.into_iter().map(new).collect();
        // The first run pays for allocations; let it not be a caller's. It proves the shapes, too.
        let mut features = Features::default();
        features.extract(&crate::Task::prompt("warm up"));
        for network in &mut networks {
            network.run(&features).map_err(|error| mismatch(&self.name, &error.to_string()))?;
            if network.heads.domains.len() != DOMAINS.len() {
                let reason = format!("it has {} heads", NUMBERS + network.heads.domains.len());
                return Err(mismatch(&self.name, &reason));
            }
        }
        Ok((facts, networks))
    }
}

/// One session and the buffers that go with it.
pub(crate) struct Network {
    session: Session,
    bag: Arc<Bag>,
    bagged: Bagged,
    heads: Heads,
}

impl Network {
    /// What the graph said last.
    pub(crate) fn heads(&self) -> &Heads {
        &self.heads
    }

    /// What the graph says of these features.
    pub(crate) fn run(&mut self, features: &Features) -> Result<&Heads, RouterError> {
        let Network { session, bag, bagged, heads } = self;
        bag.fill(features, bagged);
        let ((learned_columns, learned), (meaning_columns, meaning)) = (bag.learned(), bag.meaning());
        let (rows, words) = (bagged.ids.len(), bagged.words.len());
        let outputs = session.run(ort::inputs![
            "learned" => TensorRef::from_array_view(([BUCKETS, learned_columns], learned))?,
            "ids" => TensorRef::from_array_view(([rows], bagged.ids.as_slice()))?,
            "weights" => TensorRef::from_array_view(([1, rows], bagged.weights.as_slice()))?,
            "meaning" => TensorRef::from_array_view(([WORD_BUCKETS, meaning_columns], meaning))?,
            "words" => TensorRef::from_array_view(([words], bagged.words.as_slice()))?,
            "shares" => TensorRef::from_array_view(([1, words], bagged.shares.as_slice()))?,
            "counts" => TensorRef::from_array_view(([1, DENSE], bagged.counts.as_slice()))?,
        ])?;
        let output = |name: &str| -> ort::Result<&[f32]> {
            let value = outputs.get(name).ok_or_else(|| ort::Error::new(format!("no output {name}")))?;
            Ok(value.try_extract_tensor::<f32>()?.1)
        };
        let read = heads.read(output("heads")?, output("distances")?, bagged.unknown);
        read.ok_or_else(|| ort::Error::new("outputs of another shape"))?;
        Ok(heads)
    }
}

/// The graph's metadata.
struct Properties<'a> {
    metadata: ModelMetadata<'a>,
    name: &'a str,
}

impl Properties<'_> {
    fn value(&self, key: &str) -> Result<String, RouterError> {
        let value = self.metadata.custom(key);
        value.ok_or_else(|| mismatch(self.name, &format!("it says nothing about {key}")))
    }

    fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T, RouterError> {
        let text = self.value(key)?;
        serde_json::from_str(&text)
            .map_err(|error| mismatch(self.name, &format!("its {key} is {text}: {error}")))
    }

    fn expect(&self, key: &str, wanted: String) -> Result<(), RouterError> {
        let found = self.value(key)?;
        let differs = format!("its {key} are {found}, this build has {wanted}");
        if found == wanted { Ok(()) } else { Err(mismatch(self.name, &differs)) }
    }
}

/// What the graph's metadata says.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) tolerance: Arc<QualityTable>,
    pub(crate) links: Links,
}

impl Facts {
    /// Checks the metadata against this build and reads what it carries.
    fn check(said: &Properties<'_>) -> Result<Facts, RouterError> {
        said.expect("features", format!("version {VERSION}, {BUCKETS} buckets"))?;
        said.expect("dense", DENSE_NAMES.join(" "))?;
        said.expect("domains", DOMAINS.join(" "))?;
        let links: Links = said.json("links")?;
        if !links.is_sound() {
            return Err(mismatch(said.name, "its links are out of range"));
        }
        let tolerance = QualityTable::new(said.json("quality")?);
        let tolerance = tolerance.ok_or_else(|| mismatch(said.name, "its quality table is out of order"))?;
        Ok(Facts { tolerance: Arc::new(tolerance), links })
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// ONNX Runtime allows one environment a process, and a session is made in it. It stays for good.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Loads the shared library, once: later calls with any path keep the first that worked. Its telemetry is off from then on; what
/// it tells while it is loaded, the environment variable `ORT_DISABLE_TELEMETRY=1` alone prevents (gateway/src/main.rs sets it).
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
