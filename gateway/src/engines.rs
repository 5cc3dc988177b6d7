//! All engines of a configuration: checked before anything is written, started, changed over at SIGHUP, stopped.
//!
//! One engine's trouble is its own: a model file that is no model, or too large, keeps that engine from starting and is told in
//! the log, at `/readyz` and to whoever asks for it; the gateway serves with the others. Only where no engine is left it
//! does not start.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;
use tollgate_engine::adapters::{self, Adapter};
use tollgate_engine::models::{self, ModelError};
use tollgate_engine::supervisor::{Ceiling, CommandLine, Embedded, Engine as Worker, EngineSpec, Program};

use crate::config::{CommandEngine, Config, EmbeddedEngine, Engine, EngineKind, EnvValue, SecretRef};
use crate::serve::ServeError;
use crate::upstream::{Timeouts, Upstream};

/// Bytes in what the configuration calls a megabyte.
const MEGABYTE: u64 = 1_000_000;

/// The engines of a running gateway.
#[derive(Debug)]
pub struct Engines {
    /// Every engine as requests reach it, in the order of the configuration.
    pub upstreams: Vec<Arc<Upstream>>,
}

/// Looks at every model file, and for those of adapters.
///
/// # Errors
/// [`ServeError::Model`] for a file that is not there, or if no engine has a file that can be used.
pub fn check(config: &Config) -> Result<(), ServeError> {
    let mut unusable = Vec::new();
    for engine in &config.engines {
        let EngineKind::Embedded(embedded) = &engine.kind else { continue };
        let mut files = embedded.adapters.iter().flat_map(Adapter::files);
        if let Some(path) = files.find(|file| !file.is_file()) {
            return Err(ModelError::NoSuchFile { path }.into());
        }
        match models::inspect(&models::resolve(&embedded.model)?) {
            Ok(facts) if !facts.chat_template => tracing::warn!(
                engine = engine.name,
                "the model has no chat template: ChatML is used, and answers may be poor if it was not trained on it"
            ),
            Ok(_) => {}
            Err(missing @ ModelError::NoSuchFile { .. }) => return Err(missing.into()),
            Err(error) => unusable.push((&engine.name, error)),
        }
    }
    let none_left = unusable.len() == config.engines.len();
    for (engine, error) in unusable {
        if none_left {
            return Err(error.into());
        }
        tracing::error!(engine, %error, "this engine cannot start; the others are not affected");
    }
    Ok(())
}

impl Engines {
    /// Starts what is to be started, and sets up the clients of all.
    ///
    /// # Errors
    /// [`ServeError`] naming the engine.
    pub fn start(config: &Config, tasks: &mut JoinSet<()>) -> Result<Engines, ServeError> {
        let timeouts = Timeouts {
            connect: config.server.connect_timeout,
            first_byte: config.server.first_byte_timeout,
            idle: config.server.idle_timeout,
        };
        let limit = config.shared.memory_mb.map(|megabytes| megabytes.saturating_mul(MEGABYTE));
        let ceiling = Ceiling::new(limit, config.shared.min_resident);
        let mut upstreams = Vec::new();
        for engine in &config.engines {
            let mut process = || -> Result<Option<Arc<Worker>>, ServeError> {
                Ok(spec(config, engine)?.map(|spec| Worker::start(spec, &ceiling, tasks)))
            };
            let upstream = match (&engine.kind, process()?) {
                (EngineKind::OpenAi(server), _) => {
                    let key = key(server.api_key.as_ref())?;
                    Upstream::openai(&engine.name, &server.base_url, key.as_deref(), server.probe, timeouts)?
                }
                (EngineKind::Command(command), Some(worker)) => {
                    Upstream::command(worker, key(command.api_key.as_ref())?.as_deref(), timeouts)?
                }
                (_, Some(worker)) => Upstream::embedded(worker, timeouts),
                (_, None) => continue,
            };
            upstreams.push(Arc::new(upstream));
        }
        for upstream in &upstreams {
            tasks.spawn(Arc::clone(upstream).look());
        }
        Ok(Engines { upstreams })
    }

    /// Changes over the engines whose configuration or files are not those that run; what else has changed is told.
    pub fn reload(&self, running: &Config) {
        let fresh = match Config::load(&running.overrides) {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::error!(%error, "the configuration is wrong; the engines stay as they are");
                return;
            }
        };
        for engine in &fresh.engines {
            let worker = self.workers().find(|worker| worker.name() == engine.name);
            match (worker, spec(&fresh, engine)) {
                (Some(worker), Ok(Some(spec))) if *worker.spec() != spec => worker.replace(spec),
                (_, Err(error)) => {
                    tracing::error!(engine = engine.name, %error, "this engine stays as it is");
                }
                _ => {}
            }
        }
        let named = |config: &Config| -> Vec<String> {
            let models = config.models.iter().map(|model| format!("{model:?}"));
            let servers = config.engines.iter().map(|engine| match &engine.kind {
                EngineKind::OpenAi(_) => format!("{engine:?}"),
                _ => engine.name.clone(),
            });
            models.chain(servers).collect()
        };
        if named(&fresh) != named(running) || fresh.shared != running.shared {
            tracing::warn!(
                "models, prices, further engines and limits of the changed configuration need a restart"
            );
        }
    }

    /// Stops every process, all at once.
    pub async fn stop(&self) {
        self.workers().for_each(|worker| worker.begin_stop());
        for worker in self.workers() {
            worker.stop().await;
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.upstreams.iter().filter_map(|upstream| upstream.worker())
    }
}

fn key(reference: Option<&SecretRef>) -> Result<Option<String>, ServeError> {
    let value = reference.map(|key| key.fetch(Path::new("."))).transpose()?;
    Ok(value.map(|value| value.reveal().to_owned()))
}

/// What is to be run for an engine, if that is Tollgate's business.
fn spec(config: &Config, engine: &Engine) -> Result<Option<EngineSpec>, ServeError> {
    let Some(managed) = engine.kind.managed() else { return Ok(None) };
    let (program, files, needed) = match &engine.kind {
        EngineKind::Embedded(embedded) => {
            let (program, needed) = worker(embedded)?;
            let adapters = program.adapters.iter().flat_map(Adapter::files);
            let files: Vec<PathBuf> = std::iter::once(program.model.clone()).chain(adapters).collect();
            (Program::Embedded(program), files, needed)
        }
        EngineKind::Command(command) => {
            // An argument that names a file is most likely the model.
            let files = command.command.iter().map(PathBuf::from).filter(|path| path.is_file()).collect();
            (Program::Command(command_line(command)?), files, 0)
        }
        EngineKind::OpenAi(_) => return Ok(None),
    };
    Ok(Some(EngineSpec {
        name: engine.name.clone(),
        program,
        socket_dir: config.data_dir.join("engines"),
        start: managed.start,
        idle_unload: managed.idle_unload,
        ready_timeout: managed.ready_timeout,
        memory_bytes: managed.memory_mb.map_or(needed, |megabytes| megabytes.saturating_mul(MEGABYTE)),
        stamp: stamp(&files),
    }))
}

/// A worker, and the memory it will need.
fn worker(embedded: &EmbeddedEngine) -> Result<(Embedded, u64), ServeError> {
    let model = models::resolve(&embedded.model)?;
    let needed = models::memory_needed(&model, embedded.context, embedded.parallel, &embedded.loading);
    let program = Embedded {
        exe: std::env::current_exe()?,
        model,
        threads: embedded.threads,
        context: embedded.context,
        parallel: embedded.parallel,
        adapters: embedded.adapters.clone(),
        loading: embedded.loading.clone(),
        slot_save_mb: embedded.slot_save_mb,
    };
    // Of a file that cannot be read nothing will be loaded.
    Ok((program, needed.unwrap_or_default().saturating_add(adapters::bytes(&embedded.adapters))))
}

fn command_line(command: &CommandEngine) -> Result<CommandLine, ServeError> {
    let mut env = Vec::new();
    for (name, value) in &command.env {
        let value = match value {
            EnvValue::Plain(text) => text.clone(),
            EnvValue::Secret(reference) => reference.fetch(Path::new("."))?.reveal().to_owned(),
        };
        env.push((name.clone(), value));
    }
    Ok(CommandLine {
        exe: std::env::current_exe()?,
        command: command.command.clone(),
        env,
        health: command.health.clone(),
    })
}

/// What tells these files apart from others of the same names.
fn stamp(files: &[PathBuf]) -> u64 {
    let mut hash = DefaultHasher::new();
    for facts in files.iter().filter_map(|file| std::fs::metadata(file).ok()) {
        (facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec()).hash(&mut hash);
    }
    hash.finish()
}
