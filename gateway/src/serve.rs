//! From a configuration to a running gateway, and back down in order.
//!
//! Up: ledger, keys, classifier, engines, policies, socket; down: requests drain, engines stop, the ledger closes
//! last, so that every receipt is written. Policies and the calibration are looked at each second and at SIGHUP, engines
//! at SIGHUP; a wrong file is told and changes nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tollgate_engine::models::{self, ModelError};
use tollgate_policies::Budgets;
use tollgate_router::{RouterError, Scorer};

use crate::app::{App, Limits, Parts, budgets_of};
use crate::config::policies::stamp;
use crate::config::{Config, ConfigError, calibrate, catalog, keeps_promises, recalibrate};
use crate::engines::{self, Engines};
use crate::keys::{KeyError, KeyStore, KeyWatch, Keys};
use crate::learn::{Lessons, ask_twice};
use crate::leases::Leases;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Metrics;
use crate::pacing::Pacing;
use crate::retention::Retention;
use crate::server::serve_http;
use crate::upstream::UpstreamError;
use crate::warnings::{Warnings, Webhook};

/// How often policy files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Pause between two looks at what was judged, at least.
const REVIEW: Duration = Duration::from_secs(5);
/// Longest wait for a budget with `on_exhausted = "queue"`.
const QUEUE_WAIT: Duration = Duration::from_secs(10);

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not this machine's.
    #[error(
        "cannot listen on {address}: {source}\n    help: choose another with --listen, or stop what listens there"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The async runtime or a signal handler could not be set up.
    #[error("the gateway cannot be set up: {0}")]
    System(#[from] std::io::Error),
    /// The series could not be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A wrong configuration or policy.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The keys cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A model file is missing.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The classifier cannot be used.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// An engine cannot be reached in principle.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// Runs until SIGTERM or SIGINT; `ready` is told the address once the gateway answers.
///
/// # Errors
/// [`ServeError`] for whatever keeps it from starting, or the ledger's trouble at the end.
pub fn run(config: &Config, ready: impl FnOnce(SocketAddr)) -> Result<(), ServeError> {
    // Requests have threads of their own; here is only what goes on beside them.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(config, ready))
}

async fn serve(config: &Config, ready: impl FnOnce(SocketAddr)) -> Result<(), ServeError> {
    // The socket first: a taken port must not cost a second gateway's start its ledger.
    let listen = config.server.listen;
    let listener =
        TcpListener::bind(listen).await.map_err(|source| ServeError::Listen { address: listen, source })?;
    let address = listener.local_addr()?;
    let policies = config.policies.load(&config.models)?;
    let library = match config.router.onnxruntime.clone().map_or_else(models::onnxruntime, Ok) {
        // A path from the environment with nothing there: the scorer says best what is missing.
        Err(ModelError::NoSuchFile { path }) => path,
        found => found?,
    };
    let scorer = Scorer::load(&library, config.router.sessions)?.remembering(config.router.remember);
    if let Some(path) = &config.router.calibration {
        calibrate(&scorer, path)?;
    }
    keeps_promises(&scorer.tolerance(), &policies)?;
    // Model files before the ledger: a start that cannot work writes nothing.
    engines::check(config)?;
    let location = config.ledger()?;
    let (ledger, recovery) = apart(|| Ledger::open(&location))?;
    let keys = Arc::new(Keys::new(config.server.effective_auth()));
    let key_watch = apart(|| {
        let mut store = KeyStore::open(&location)?;
        keys.reload(&mut store)?;
        Ok::<_, ServeError>(KeyWatch::start(&keys, store)?)
    })?;
    let budgets = Budgets::new(budgets_of(&policies));
    let leases = ledger.lessor().map(|lessor| Leases::start(lessor, &budgets)).transpose()?;
    let mut tasks = JoinSet::new();
    let engines = Arc::new(Engines::start(config, &mut tasks)?);
    let (lessons, to_ask) = Lessons::new();
    tasks.spawn(ask_twice(to_ask));
    let app = App::new(Parts {
        catalog: catalog(&config.models, &policies.default.baseline),
        engines: engines.upstreams.clone(),
        scorer,
        policies,
        ledger: ledger.clone(),
        budgets,
        leases,
        keys,
        key_watch,
        metrics: Metrics::new()?,
        lessons,
        limits: limits(config),
        keep_content: config.content.keep,
    });
    for (account, settled) in &recovery.settled {
        app.budgets.restore(&account.budget, &account.subject, account.window_start_ms, *settled);
    }
    if recovery.orphans > 0 {
        tracing::warn!(holds = recovery.orphans, "holds left by a crash were settled in full");
    }
    record_limits(&app).await;
    apart(|| app.recall())?;
    let pacing = Pacing::resume(&config.data_dir, &app.budgets);
    let warnings = Warnings::new(webhook(config)?);
    let watch = Watch {
        app: Arc::clone(&app),
        config: config.clone(),
        engines: Arc::clone(&engines),
        warnings,
        pacing,
        retention: Retention::new(config.keep_days, config.content),
    };
    tasks.spawn(watch.run(signal(SignalKind::hangup())?));
    tell_moved_twice(config);
    tell_assumed(config);
    let (models, router) = (app.catalog.models().len(), app.scorer.router());
    tracing::info!(%address, models, %router, ledger = %location, "serving");
    ready(address);
    serve_http(listener, Arc::clone(&app), asked_to_stop(), config.server.drain_timeout).await?;
    engines.stop().await;
    tasks.shutdown().await;
    apart(|| app.key_watch.end());
    ledger.close().await?;
    if let Some(leases) = &app.leases {
        apart(|| leases.end());
    }
    tracing::info!("stopped");
    Ok(())
}

/// Runs what waits for the ledger on a thread of its own: PostgreSQL's client does not run inside an async runtime.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Models that the router knows nothing of are taken for the classifier's reference models, which few small ones come near.
fn tell_assumed(config: &Config) {
    let assumed = config.models.iter().filter(|model| model.ability.is_none());
    let assumed: Vec<&str> = assumed.map(|model| model.name.as_str()).collect();
    if config.router.calibration.is_none() && !assumed.is_empty() {
        tracing::info!(
            models = assumed.join(", "),
            "no `ability` and no calibration: taken for the classifier's reference models; see \"Say how able your models are\" in docs/router.md"
        );
    }
}

/// A calibration says itself how good the two labelled models are: an ability beside it would move them once more.
fn tell_moved_twice(config: &Config) {
    let stated = config.models.iter().filter(|model| model.ability.is_some());
    let stated: Vec<&str> = stated.map(|model| model.name.as_str()).collect();
    if config.router.calibration.is_some() && !stated.is_empty() {
        tracing::info!(
            models = stated.join(", "),
            "`ability` beside a calibration: of the two models that were labelled the small one has ability 0 and the large one 1, so leave \
             theirs out; see \"Fit it to your own outcomes\" in docs/router.md"
        );
    }
}

/// The webhook that the configuration names.
fn webhook(config: &Config) -> Result<Option<Webhook>, ServeError> {
    let Some(reference) = &config.webhook else { return Ok(None) };
    let webhook = Webhook::new(&reference.fetch(Path::new("."))?)?;
    let wrong = || ConfigError::Secret {
        reference: reference.to_string(),
        reason: "it must be an http:// or https:// address".to_owned(),
    };
    Ok(Some(webhook.ok_or_else(wrong)?))
}

fn limits(config: &Config) -> Limits {
    Limits {
        body_bytes: config.server.max_body_bytes,
        in_flight: config.server.max_in_flight,
        default_max_tokens: config.server.default_max_tokens,
        answer_wait: config.server.first_byte_timeout,
        queue_wait: QUEUE_WAIT,
    }
}

/// Puts the limits in force on record, for `ledger verify`.
async fn record_limits(app: &App) {
    for (budget, limit) in app.budgets.limits() {
        if let Err(error) = app.ledger.record_limit(budget, limit).await {
            tracing::warn!(%error, "a budget's limit is not on record");
        }
    }
}

/// Resolves when the process is asked to stop (SIGTERM, SIGINT); at once if signals cannot be listened for.
pub async fn asked_to_stop() {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop");
}

/// What is looked at while the gateway runs.
struct Watch {
    app: Arc<App>,
    config: Config,
    engines: Arc<Engines>,
    warnings: Warnings,
    pacing: Pacing,
    retention: Retention,
}

impl Watch {
    async fn run(mut self, mut hangup: Signal) {
        let mut seen = self.config.policies.stamps();
        let calibration = self.config.router.calibration.clone();
        let calibration = calibration.as_deref();
        let mut fitted = calibration.map(stamp);
        let (mut judged, mut reviewed) = (0, Instant::now());
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            if asked {
                self.engines.reload(&self.config);
            }
            // Small local files, once a second: not worth a thread, and off the request path.
            let now = self.config.policies.stamps();
            if asked || now != seen {
                seen = now;
                reload_policies(&self.app, &self.config).await;
            }
            let now = calibration.map(stamp);
            if asked || now != fitted {
                fitted = now;
                reload_calibration(&self.app, calibration);
            }
            self.pacing.tick(&self.app).await;
            self.retention.tick(&self.app);
            self.warnings.look(&self.app);
            if self.app.lessons.judged() != judged && reviewed.elapsed() >= REVIEW {
                (judged, reviewed) = (self.app.lessons.judged(), Instant::now());
                if let Err(error) = self.app.review().await {
                    tracing::warn!(%error, "what was judged could not be studied");
                }
            }
        }
    }
}

async fn reload_policies(app: &App, config: &Config) {
    let loaded = config.policies.load(&config.models);
    match loaded.and_then(|policies| keeps_promises(&app.scorer.tolerance(), &policies).map(|()| policies)) {
        Ok(policies) => {
            tracing::info!(
                policies = policies.named.len(),
                default = policies.default.name,
                "policies reloaded"
            );
            app.replace_policies(policies);
            record_limits(app).await;
        }
        Err(error) => {
            app.metrics.reload_failed();
            tracing::error!(%error, "the changed policies are wrong; those in force stay");
        }
    }
}

fn reload_calibration(app: &App, path: Option<&Path>) {
    let Some(path) = path else { return };
    match recalibrate(&app.scorer, path, &app.policies.load()) {
        Ok(()) => {
            tracing::info!(path = %path.display(), router = %app.scorer.router(), "calibration reloaded");
            if let Err(error) = apart(|| app.recall()) {
                tracing::warn!(%error, "what was learned under this calibration could not be read");
            }
        }
        Err(error) => {
            app.metrics.reload_failed();
            tracing::error!(%error, "the changed calibration is wrong; the one in force stays");
        }
    }
}
