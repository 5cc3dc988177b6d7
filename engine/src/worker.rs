//! One engine process: loads a model and serves it over HTTP until told to stop. This is what `tollgate engine` runs.
//!
//! Order at start: bind (so that a port in use is told at once), then load, answering "loading" meanwhile. Order at
//! the end: stop accepting, let running answers finish for a while, drop the rest, interrupt the scheduler's thread and
//! join it.

mod lifeline;
mod listener;
mod memory;
mod options;

pub use crate::template::serve as render_template;
pub use options::{
    DEFAULT_CONTEXT, DEFAULT_DRAIN, DEFAULT_LOOKUP, DEFAULT_PARALLEL, DEFAULT_QUEUE, WorkerOptions,
};

use crate::EngineError;
use crate::grammar::Grammars;
use crate::llama::Model;
use crate::scheduler::{self, SchedulerOptions, Thread};
use crate::server::{Server, Service};
use crate::template::ChatTemplate;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use lifeline::Lifeline;
use listener::{Connection, Listener};
use options::Address;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// Tokens computed in one step at most.
const BATCH: u32 = 512;
/// How long running answers may go on when the supervisor is gone: nobody reads them.
const ORPHAN_DRAIN: Duration = Duration::from_millis(500);
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
    /// [`EngineError::Option`] for a value that cannot work, [`EngineError::Listen`] when the address cannot be had,
    /// [`EngineError::TooBig`] for a model beyond the machine's memory.
    pub async fn bind(options: WorkerOptions) -> Result<Worker, EngineError> {
        options.check()?;
        let listener = Listener::bind(&Address::parse(&options.listen)?).await?;
        memory::fits(&options)?;
        Ok(Worker { options, listener })
    }

    /// Where it listens, in the form that `--listen` takes, with the real port.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Loads the model and serves until `shutdown` resolves (or stdin closes, if so told), then drains. Whichever way
    /// this ends, dropped included, the scheduler's thread has ended before.
    ///
    /// # Errors
    /// When the model cannot be loaded, or the scheduler gives up after repeated failures of the computation.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), EngineError> {
        let Worker { options, listener } = self;
        let mut lifeline = Lifeline::new(options.exit_with_stdin)?;
        let mut thread = scheduler::start(scheduler_options(&options))?;
        let server = Arc::new(Server::default());
        let connections = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        let end = tokio::select! {
            error = work(&options, &server, &listener, &mut thread) => Err(error),
            never = accept(&listener, &server, &connections, &mut tasks) => match never {},
            () = shutdown => Ok(options.drain),
            () = lifeline.closed() => Ok(options.drain.min(ORPHAN_DRAIN)),
        };
        drop(listener);
        tracing::info!("stopping");
        // After a failure of the engine only error answers are left to be written.
        let drain = *end.as_ref().unwrap_or(&ORPHAN_DRAIN);
        tokio::select! {
            () = connections.shutdown() => {}
            () = tokio::time::sleep(drain) => tracing::warn!("answers that still ran are dropped"),
            // The supervisor went away during the drain.
            () = lifeline.closed() => {}
        }
        tasks.shutdown().await;
        thread.finish().await;
        end.map(drop)
    }
}

fn scheduler_options(options: &WorkerOptions) -> SchedulerOptions {
    SchedulerOptions {
        model: options.model.clone(),
        threads: options.thread_count(),
        context: options.context,
        parallel: options.parallel,
        queue: options.queue as usize,
        batch: BATCH,
        adapters: options.adapters.clone(),
        loading: options.loading.clone(),
        lookup: options.lookup,
        slot_save: options.slot_save.clone(),
    }
}

/// Waits for the model, opens the server, and resolves only when the engine cannot go on.
async fn work(
    options: &WorkerOptions,
    server: &Server,
    listener: &Listener,
    thread: &mut Thread,
) -> EngineError {
    let began = Instant::now();
    let (scheduler, model) = match thread.ready().await {
        Ok(ready) => ready,
        Err(error) => return error,
    };
    let marks = model.bos_and_eos_text();
    let renderer = options.renderer.clone().filter(|_| !scheduler.embeds());
    let template = match template(options, &model, scheduler.embeds())
        .and_then(|source| ChatTemplate::new(source, marks, renderer))
    {
        Ok(template) => template,
        Err(error) => return error,
    };
    let stats = scheduler.stats();
    let grammars = Grammars::new(Arc::clone(&model));
    server.open(Arc::new(Service { name: options.name(), model, template, grammars, scheduler }));
    tracing::info!(
        address = %listener.address(),
        model = %options.model.display(),
        threads = options.thread_count(),
        load_ms = began.elapsed().as_millis() as u64,
        read_per_second = stats.prompt_tokens_per_second.round(),
        written_per_second = stats.tokens_per_second.round(),
        "ready"
    );
    thread.end().await
}

/// The source of the chat template: of the file that was named, or the model's own.
fn template(options: &WorkerOptions, model: &Model, embeds: bool) -> Result<Option<String>, EngineError> {
    if embeds {
        // One that writes nothing needs none, and shall not be warned of.
        return Ok(Some(String::new()));
    }
    let Some(file) = &options.chat_template else {
        return Ok(model.chat_template());
    };
    let unread = |error| EngineError::Template(format!("{} cannot be read: {error}", file.display()));
    std::fs::read_to_string(file).map(Some).map_err(unread)
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
