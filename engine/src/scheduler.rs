//! Runs many requests on one model at once. A thread of its own owns the llama.cpp context and computes in steps: each
//! step writes one token of every running answer and reads a part of the prompts that wait (continuous batching with
//! chunked reading).
//!
//! Invariants: the number of requests inside is bounded, further ones are refused at once; a request whose receiver is
//! dropped frees its slot before the next step; the thread never waits for a client, because every request's channel
//! has room for all it may write.

mod board;
mod job;
mod meter;
mod plan;
mod slot;
mod step;

pub(crate) use job::{Event, Failure, Finish, FinishReason, Job, Usage};

use crate::llama::{ContextOptions, Model};
use crate::{EngineError, Stats};
use board::Board;
use job::Submitted;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use step::Stepper;
use tokio::sync::{mpsc, oneshot};

/// Events that may follow the last text of a job, with some to spare.
const CLOSING_EVENTS: usize = 4;

/// What to run and how.
#[derive(Clone, Debug)]
pub(crate) struct SchedulerOptions {
    /// The GGUF file.
    pub(crate) model: PathBuf,
    /// Compute threads.
    pub(crate) threads: usize,
    /// Tokens per request; less if the model was trained on less.
    pub(crate) context: u32,
    /// Requests at once.
    pub(crate) parallel: u32,
    /// Requests that may wait.
    pub(crate) queue: usize,
    /// Tokens computed in one step at most.
    pub(crate) batch: u32,
}

/// The way to the scheduler's thread. The thread ends when this is dropped and its last answer is written.
#[derive(Debug)]
pub(crate) struct Scheduler {
    jobs: mpsc::Sender<Submitted>,
    board: Arc<Board>,
    context: usize,
}

/// Resolves when the scheduler's thread has ended.
#[derive(Debug)]
pub(crate) struct ThreadEnd(oneshot::Receiver<Result<(), EngineError>>);

impl ThreadEnd {
    /// Waits for the end; an error when the thread gave up or panicked.
    pub(crate) async fn wait(&mut self) -> Result<(), EngineError> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(_) => Err(EngineError::SchedulerStopped("its thread panicked".to_owned())),
        }
    }
}

/// No place is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// When to try again.
    pub(crate) retry_after: Duration,
}

/// Loads the model on a thread of its own, which then runs the scheduler.
pub(crate) async fn start(
    options: SchedulerOptions,
) -> Result<(Scheduler, Arc<Model>, ThreadEnd), EngineError> {
    let (ready, started) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let thread = move || {
        let result = run_thread(&options, ready);
        // Nobody may wait for the end any more.
        drop(ended.send(result));
    };
    std::thread::Builder::new()
        .name("scheduler".to_owned())
        .spawn(thread)
        .map_err(|source| EngineError::Io { doing: "starting the scheduler's thread", source })?;
    let mut end = ThreadEnd(end);
    match started.await {
        Ok((scheduler, model)) => Ok((scheduler, model, end)),
        Err(_) => Err(end.wait().await.err().unwrap_or_else(|| {
            EngineError::SchedulerStopped("its thread ended before it was ready".to_owned())
        })),
    }
}

fn run_thread(
    options: &SchedulerOptions,
    ready: oneshot::Sender<(Scheduler, Arc<Model>)>,
) -> Result<(), EngineError> {
    let model = Arc::new(Model::load(&options.model)?);
    let per_request = options.context.min(model.trained_context());
    if per_request < options.context {
        tracing::warn!(
            asked = options.context,
            trained = per_request,
            "the context is cut to what the model knows"
        );
    }
    let context = model.context(&ContextOptions {
        context: per_request,
        sequences: options.parallel,
        batch: options.batch.max(options.parallel),
        threads: options.threads,
    })?;
    let batch = options.batch.max(options.parallel) as usize;
    let board = Arc::new(Board::new(options.parallel as usize, per_request as usize, batch, options.queue));
    let (jobs, inbox) = mpsc::channel(options.parallel as usize + options.queue);
    let stopped = |failure: crate::llama::DecodeFailure| EngineError::SchedulerStopped(failure.to_string());
    let mut stepper = Stepper::new(&model, context, inbox, Arc::clone(&board));
    stepper.warm_up().map_err(stopped)?;
    let scheduler = Scheduler { jobs, board, context: per_request as usize };
    if ready.send((scheduler, Arc::clone(&model))).is_err() {
        return Ok(());
    }
    stepper.run().map_err(stopped)
}

impl Scheduler {
    /// Submits a job; its events come through the receiver, and dropping that cancels it.
    pub(crate) fn submit(&self, job: Job) -> Result<mpsc::Receiver<Event>, Full> {
        let place = self.board.place().map_err(|retry_after| Full { retry_after })?;
        let (events, receiver) = mpsc::channel(job.max_tokens + CLOSING_EVENTS);
        // There are as many places in the channel as permits, so only a dead thread refuses: the receiver then sees
        // that its sender is gone.
        drop(self.jobs.try_send(Submitted { job, events, _place: place }));
        Ok(receiver)
    }

    /// Tokens of prompt and answer together that one request may have.
    pub(crate) fn context(&self) -> usize {
        self.context
    }

    /// The live figures.
    pub(crate) fn stats(&self) -> Stats {
        self.board.stats()
    }
}
