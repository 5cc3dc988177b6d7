//! Runs many requests on one model at once, which either writes answers or turns texts into vectors. A thread of its own owns the llama.cpp context and computes in steps: each
//! step writes one token of every running answer and reads a part of the prompts that wait (continuous batching with
//! chunked reading). Where requests ask for different adapters, a step is of one adapter's requests, and they take turns.
//!
//! Invariants: the number of requests inside is bounded, further ones are refused, or the longest line's last in their stead; a request whose receiver is
//! dropped frees its slot before the next step; the thread never waits for a client, because every request's channel
//! has room for all it may write; the thread never outlives its [`Thread`], which can interrupt it at any time.

mod admit;
mod board;
mod embed;
mod job;
mod lookup;
mod meter;
mod places;
mod plan;
mod prefix;
mod queue;
mod saved;
mod slot;
mod step;
mod thread;
mod turns;
mod warm;

pub(crate) use job::{EmbedJob, Embedded, Event, Failure, Finish, FinishReason, Job, Order, Usage};
pub(crate) use thread::Thread;

use crate::adapters::Adapter;
use crate::llama::{ContextOptions, DecodeFailure, Interrupt, Model};
use crate::loading::Loading;
use crate::slot_save::SlotSave;
use crate::{EngineError, Stats};
use board::Board;
use embed::Embedder;
use job::{Message, Submitted, SubmittedTexts};
use places::Place;
use saved::Saved;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use step::Stepper;
use tokio::sync::mpsc::error::TrySendError;
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
    /// Adapters that jobs may ask for.
    pub(crate) adapters: Vec<Adapter>,
    /// How llama.cpp loads the model.
    pub(crate) loading: Loading,
    /// Tokens of an answer guessed at most from what was said before; 0 = none.
    pub(crate) lookup: u32,
    /// Where warm prefixes are kept from one run to the next.
    pub(crate) slot_save: Option<SlotSave>,
}

/// The way to the scheduler's thread, for as long as its [`Thread`] lives.
#[derive(Debug)]
pub(crate) struct Scheduler {
    jobs: mpsc::Sender<Message>,
    board: Arc<Board>,
    context: usize,
    embeds: bool,
}

/// No place is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// When to try again.
    pub(crate) retry_after: Duration,
}

/// Loads the model on a thread of its own, which then runs the scheduler.
pub(crate) fn start(options: SchedulerOptions) -> Result<Thread, EngineError> {
    let interrupt = Interrupt::default();
    // Twice a message for every place, for those that gave theirs up may not be taken yet; and one to wake the thread.
    let (jobs, inbox) = mpsc::channel(2 * (options.parallel as usize + options.queue) + 1);
    let (watched, submitting) = (interrupt.clone(), jobs.clone());
    Thread::start(interrupt, jobs, move |ready| run_thread(&options, &watched, (submitting, inbox), ready))
}

fn run_thread(
    options: &SchedulerOptions,
    interrupt: &Interrupt,
    (jobs, inbox): (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    ready: oneshot::Sender<(Scheduler, Arc<Model>)>,
) -> Result<(), EngineError> {
    let model = Arc::new(Model::load(&options.model, &options.adapters, &options.loading, interrupt)?);
    let per_request = options.context.min(model.trained_context());
    if per_request < options.context {
        tracing::warn!(
            asked = options.context,
            trained = per_request,
            "the context is cut to what the model knows"
        );
    }
    let pooling = model.embeds()?;
    let embeds = pooling.is_some();
    // Texts that become vectors are computed whole.
    let batch = options.batch.max(if embeds { per_request } else { options.parallel });
    let sequences = if embeds { embed::SEQUENCES } else { options.parallel };
    let shape = ContextOptions { context: per_request, sequences, batch, threads: options.threads, pooling };
    let context = model.context(&shape, interrupt)?;
    let (slots, per_request) = (options.parallel as usize, per_request as usize);
    let board = Arc::new(Board::new(slots, per_request, batch as usize, options.queue));
    let scheduler = Scheduler { jobs, board: Arc::clone(&board), context: per_request, embeds };
    let open = || ready.send((scheduler, Arc::clone(&model))).is_ok();
    if embeds {
        if options.slot_save.is_some() {
            tracing::info!("warm prefixes are not saved: this model makes embeddings, and has none");
        }
        let mut embedder = Embedder::new(&model, context, inbox, board, interrupt, options.batch as usize);
        embedder.warm_up().map_err(stopped)?;
        return if open() { embedder.run().map_err(stopped) } else { Ok(()) };
    }
    let mut stepper = Stepper::new(&model, context, inbox, board, interrupt, options.lookup as usize);
    stepper.warm_up().map_err(stopped)?;
    let saved = Saved::new(options, per_request);
    if let Some(saved) = &saved {
        stepper.restore(saved);
    }
    if open() {
        stepper.run().map_err(stopped)?;
    }
    // After a failure the KV memory cannot be trusted.
    if let Some(saved) = &saved {
        stepper.save(saved);
    }
    Ok(())
}

fn stopped(failure: DecodeFailure) -> EngineError {
    match failure {
        DecodeFailure::Interrupted => EngineError::Interrupted,
        failure => EngineError::SchedulerStopped(failure.to_string()),
    }
}

impl Scheduler {
    /// Submits a job; its events come through the receiver, and dropping that cancels it.
    pub(crate) fn submit(&self, job: Job, order: Order) -> Result<mpsc::Receiver<Event>, Full> {
        let place = self.place(&order)?;
        let each = if job.logprobs.is_some() { 2 } else { 1 };
        let (events, receiver) = mpsc::channel(job.max_tokens * each + CLOSING_EVENTS);
        self.send(Message::Job(Box::new(Submitted { job, order, events, place: Some(place) })))?;
        Ok(receiver)
    }

    /// Submits texts to be turned into vectors, on a model that does so; dropping the receiver cancels it.
    pub(crate) fn embed(
        &self,
        job: EmbedJob,
        order: Order,
    ) -> Result<oneshot::Receiver<Result<Embedded, Failure>>, Full> {
        let place = self.place(&order)?;
        let (answer, receiver) = oneshot::channel();
        self.send(Message::Embed(Box::new(SubmittedTexts { job, order, answer, place })))?;
        Ok(receiver)
    }

    fn place(&self, order: &Order) -> Result<Place, Full> {
        self.board.place(order).map_err(|retry_after| Full { retry_after })
    }

    fn send(&self, message: Message) -> Result<(), Full> {
        match self.jobs.try_send(message) {
            Err(TrySendError::Full(_)) => Err(Full { retry_after: self.board.retry_after() }),
            // Of a dead thread the receiver sees that its sender is gone.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Whether the model turns texts into vectors, and so writes no answers.
    pub(crate) fn embeds(&self) -> bool {
        self.embeds
    }

    /// Requests that may be inside at once, running and waiting.
    pub(crate) fn places(&self) -> usize {
        self.board.places()
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
