//! One engine process: loads a model and serves it over HTTP until told to stop. This is what `tollgate engine` runs.
//!
//! Order at start: bind (so that a port in use is told at once), then load, answering "loading" meanwhile. Order at
//! the end: stop accepting, let running answers finish for a while, drop the rest, wait for the scheduler's thread.

mod lifeline;
mod listener;
mod options;

pub use options::{DEFAULT_CONTEXT, DEFAULT_PARALLEL, DEFAULT_QUEUE, WorkerOptions};

use crate::EngineError;
use crate::scheduler::{self, SchedulerOptions, ThreadEnd};
use crate::server::{Server, Service};
use crate::template::ChatTemplate;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use listener::{Connection, Listener};
use options::Address;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// Tokens computed in one step at most.
const BATCH: u32 = 512;
/// How long running answers may go on after the order to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// The same when the supervisor is gone: nobody reads those answers.
const ORPHAN_DRAIN: Duration = Duration::from_millis(500);
/// How long the scheduler's thread may take for its last step.
const LAST_STEP: Duration = Duration::from_secs(2);
/// Pause after a failed accept (out of file descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A worker that listens but has not loaded its model yet.
#[derive(Debug)]
pub struct Worker {
    options: WorkerOptions,
    listener: Listener,
}

/// Binds, loads and serves until `shutdown` resolves.
///
/// # Errors
/// Any [`EngineError`] of [`Worker::bind`] and [`Worker::serve`].
pub async fn run(options: WorkerOptions, shutdown: impl Future<Output = ()>) -> Result<(), EngineError> {
    Worker::bind(options).await?.serve(shutdown).await
}

impl Worker {
    /// Checks the options and listens.
    ///
    /// # Errors
    /// [`EngineError::Option`] for a value that cannot work, [`EngineError::Listen`] when the address cannot be had.
    pub async fn bind(options: WorkerOptions) -> Result<Worker, EngineError> {
        options.check()?;
        let listener = Listener::bind(&Address::parse(&options.listen)?).await?;
        Ok(Worker { options, listener })
    }

    /// Where it listens, in the form that `--listen` takes, with the real port.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Loads the model and serves until `shutdown` resolves (or stdin closes, if so told), then drains.
    ///
    /// # Errors
    /// When the model cannot be loaded, or the scheduler gives up after repeated failures of the computation.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), EngineError> {
        let Worker { options, listener } = self;
        let mut lifeline = pin!(lifeline::closed(options.exit_with_stdin)?);
        let server = Arc::new(Server::default());
        let connections = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        let mut end = None;
        let drain = tokio::select! {
            result = work(&options, &server, &listener, &mut end) => return result,
            never = accept(&listener, &server, &connections, &mut tasks) => match never {},
            () = shutdown => DRAIN,
            () = &mut lifeline => ORPHAN_DRAIN,
        };
        drop(listener);
        tracing::info!("stopping");
        tokio::select! {
            () = connections.shutdown() => {}
            () = tokio::time::sleep(drain) => tracing::warn!("answers that still ran are dropped"),
            // The supervisor went away during the drain. (A lifeline that closed before is pending from then on.)
            () = lifeline => {}
        }
        tasks.shutdown().await;
        // The server owns the way to the scheduler; without it the thread ends after its present step.
        drop(server);
        if let Some(mut end) = end
            && tokio::time::timeout(LAST_STEP, end.wait()).await.is_err()
        {
            tracing::debug!("the scheduler's thread is left behind in its last step");
        }
        Ok(())
    }
}

/// Loads the model, opens the server, and resolves only when the scheduler cannot go on.
async fn work(
    options: &WorkerOptions,
    server: &Server,
    listener: &Listener,
    end: &mut Option<ThreadEnd>,
) -> Result<(), EngineError> {
    let began = Instant::now();
    let threads = options.thread_count();
    let (scheduler, model, thread_end) = scheduler::start(SchedulerOptions {
        model: options.model.clone(),
        threads,
        context: options.context,
        parallel: options.parallel,
        queue: options.queue as usize,
        batch: BATCH,
    })
    .await?;
    let (bos, eos) = model.bos_and_eos_text();
    let template = ChatTemplate::new(model.chat_template(), bos, eos)?;
    let stats = scheduler.stats();
    server.open(Arc::new(Service { name: options.name(), model, template, scheduler }));
    tracing::info!(
        address = %listener.address(),
        model = %options.model.display(),
        threads,
        load_ms = began.elapsed().as_millis() as u64,
        read_per_second = stats.prompt_tokens_per_second.round(),
        written_per_second = stats.tokens_per_second.round(),
        "ready"
    );
    match end.insert(thread_end).wait().await {
        Ok(()) => Err(EngineError::SchedulerStopped("its thread ended".to_owned())),
        Err(error) => Err(error),
    }
}

/// Accepts connections for ever; each is a task in `tasks`.
async fn accept(
    listener: &Listener,
    server: &Arc<Server>,
    connections: &GracefulShutdown,
    tasks: &mut JoinSet<()>,
) -> Infallible {
    loop {
        match listener.accept().await {
            Ok(Connection::Tcp(stream)) => serve_connection(stream, server, connections, tasks),
            Ok(Connection::Unix(stream)) => serve_connection(stream, server, connections, tasks),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

fn serve_connection<S>(
    stream: S,
    server: &Arc<Server>,
    connections: &GracefulShutdown,
    tasks: &mut JoinSet<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = Arc::clone(server);
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    let connection = connections.watch(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tasks.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}
