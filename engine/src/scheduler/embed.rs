//! The scheduler's thread of a model that turns texts into vectors: each step computes whole texts, of all requests that run
//! in turn, as many as fit.
//!
//! Nothing is kept from one step to the next. A request of many texts holds up others for one step, and only its own
//! length makes a text's step longer than that; a request that nobody waits for is dropped before the next step.

use super::board::Board;
use super::job::{Embedded, Failure, Message, SubmittedTexts, Waiting};
use super::meter::Meter;
use super::queue::Queue;
use super::slot::micros;
use crate::llama::{Batch, Context, DecodeFailure, Interrupt, Model, Token};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Texts in one step at most.
pub(super) const SEQUENCES: u32 = 64;
/// So many broken steps in a row and the process is better started anew.
const BROKEN_STEPS: u32 = 3;
/// Tokens of the warm-up, enough to measure the speed.
const WARM_READ: usize = 64;

/// What the thread owns.
pub(super) struct Embedder<'model> {
    model: &'model Model,
    context: Context<'model>,
    batch: Batch,
    /// Tokens of a step at most, but for a single text that is longer.
    step_limit: usize,
    running: VecDeque<Run>,
    waiting: Queue<SubmittedTexts>,
    inbox: mpsc::Receiver<Message>,
    interrupt: &'model Interrupt,
    meter: Meter,
    board: Arc<Board>,
}

/// A request whose texts are being computed, in their order.
struct Run {
    submitted: SubmittedTexts,
    vectors: Vec<Vec<f32>>,
    /// Its share of the computing time.
    computing: Duration,
    began: Instant,
}

/// A text in the current batch; its sequence is its place there.
struct Part {
    run: usize,
    tokens: usize,
}

impl<'model> Embedder<'model> {
    pub(super) fn new(
        model: &'model Model,
        context: Context<'model>,
        inbox: mpsc::Receiver<Message>,
        board: Arc<Board>,
        interrupt: &'model Interrupt,
        step_limit: usize,
    ) -> Self {
        Self {
            model,
            context,
            batch: Batch::new(board.batch()),
            step_limit,
            running: VecDeque::new(),
            waiting: Queue::default(),
            inbox,
            interrupt,
            meter: Meter::default(),
            board,
        }
    }

    /// Computes a little so that the weights are in memory and the speed is known before the first request.
    pub(super) fn warm_up(&mut self) -> Result<(), DecodeFailure> {
        let vocabulary = self.model.vocabulary().max(1);
        let count = WARM_READ.min(self.board.context());
        let tokens: Vec<Token> =
            (0..count).map(|n| Token(i32::try_from(n % vocabulary).unwrap_or_default())).collect();
        // The first pass brings the weights into memory; only the second is measured.
        for measured in [false, true] {
            self.batch.clear();
            push(&mut self.batch, &tokens, 0);
            let began = Instant::now();
            self.compute()?;
            if measured {
                self.meter.step(count, (0, 0), 0, began.elapsed());
            }
        }
        self.publish();
        Ok(())
    }

    /// Runs until interrupted, or until the computation is beyond hope.
    pub(super) fn run(mut self) -> Result<(), DecodeFailure> {
        let mut broken = 0;
        while self.take_jobs() {
            while self.running.len() < self.board.slots() {
                let Some(submitted) = self.waiting.pop() else { break };
                match submitted.begin() {
                    Ok(()) => self.running.push_back(Run::new(submitted)),
                    Err(displaced) => submitted.end(Err(displaced)),
                }
            }
            self.publish();
            match self.step() {
                Ok(()) => broken = 0,
                // Those who wait for answers see their channels close.
                Err(DecodeFailure::Interrupted) => return Ok(()),
                Err(failure) => {
                    tracing::error!(%failure, "a step failed: its requests get an error");
                    self.context.clear();
                    self.running.drain(..).for_each(|run| run.submitted.end(Err(Failure::Decode(failure))));
                    broken += 1;
                    if broken >= BROKEN_STEPS {
                        return Err(failure);
                    }
                }
            }
            self.publish();
        }
        Ok(())
    }

    /// Takes new jobs and drops abandoned ones; waits when there is nothing to do. False when interrupted.
    fn take_jobs(&mut self) -> bool {
        while !self.interrupt.raised() {
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message);
            }
            for (submitted, why) in self.waiting.sort_out(Instant::now()) {
                submitted.end(Err(why));
            }
            self.running.retain(|run| !run.submitted.abandoned());
            if !self.waiting.is_empty() || !self.running.is_empty() {
                return true;
            }
            self.publish();
            match self.inbox.blocking_recv() {
                Some(message) => self.take(message),
                None => return false,
            }
        }
        false
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Embed(submitted) => self.waiting.push(*submitted),
            // Dropped: the server sends none to a model that embeds.
            Message::Job(_) | Message::Wake => {}
        }
    }

    /// Computes one batch of texts.
    fn step(&mut self) -> Result<(), DecodeFailure> {
        let parts = self.fill_batch();
        let tokens = self.batch.len();
        let began = Instant::now();
        self.compute()?;
        let took = began.elapsed();
        self.meter.step(tokens, (0, 0), 0, took);
        for (sequence, part) in (0..).zip(&parts) {
            let Some(run) = self.running.get_mut(part.run) else { continue };
            run.computing += took.mul_f64(part.tokens as f64 / tokens.max(1) as f64);
            run.vectors.push(self.context.embedding(sequence).map(normalised).unwrap_or_default());
        }
        let mut going_on = Vec::new();
        for (place, run) in std::mem::take(&mut self.running).into_iter().enumerate() {
            if run.vectors.len() < run.submitted.job.inputs.len() {
                going_on.push((run, parts.iter().any(|part| part.run == place)));
            } else {
                self.meter.served(run.began.elapsed());
                run.finish();
            }
        }
        self.running = in_turn(going_on);
        Ok(())
    }

    /// Takes texts of all requests in turn; one that does not fit waits for its request to be first.
    fn fill_batch(&mut self) -> Vec<Part> {
        self.batch.clear();
        let room = self.meter.reading_room(0, 1, self.step_limit);
        let (mut parts, mut taken) = (Vec::new(), vec![0; self.running.len()]);
        let mut more = true;
        while more {
            more = false;
            for (place, run) in self.running.iter().enumerate() {
                let Some(input) = run.submitted.job.inputs.get(run.vectors.len() + taken[place]) else {
                    continue;
                };
                let fits = self.batch.len() + input.len() <= room && parts.len() < SEQUENCES as usize;
                if fits || parts.is_empty() {
                    push(&mut self.batch, input, i32::try_from(parts.len()).unwrap_or_default());
                    parts.push(Part { run: place, tokens: input.len() });
                    taken[place] += 1;
                    more = true;
                }
            }
        }
        parts
    }

    fn compute(&mut self) -> Result<(), DecodeFailure> {
        // What a model made for writing keeps of the texts before is of no use.
        for sequence in (0..).take(SEQUENCES as usize) {
            self.context.truncate(sequence, 0);
        }
        self.context.decode(&mut self.batch)
    }

    fn publish(&self) {
        let left = std::iter::repeat_n(self.meter.service_seconds(), self.running.len());
        self.board.publish(u32::try_from(self.running.len()).unwrap_or(u32::MAX), 0, left, &self.meter);
    }
}

impl Run {
    fn new(submitted: SubmittedTexts) -> Self {
        Self { submitted, vectors: Vec::new(), computing: Duration::ZERO, began: Instant::now() }
    }

    fn finish(self) {
        let whole = self.vectors.iter().all(|vector| !vector.is_empty());
        let embedded = Embedded {
            tokens: self.submitted.job.inputs.iter().map(Vec::len).sum(),
            vectors: self.vectors,
            reading_us: micros(self.computing),
        };
        self.submitted.end(if whole { Ok(embedded) } else { Err(Failure::NoLogits) });
    }
}

/// The order of the next step, of requests with whether they had a text in this one. Those that had none, as theirs did not fit, go
/// before the others and keep their places, so that each is first some day; of the others the first goes last.
fn in_turn<T>(requests: Vec<(T, bool)>) -> VecDeque<T> {
    let (served, passed_over): (Vec<_>, Vec<_>) = requests.into_iter().partition(|(_, served)| *served);
    let mut served: VecDeque<T> = served.into_iter().map(|(request, _)| request).collect();
    served.rotate_left(usize::from(!served.is_empty()));
    passed_over.into_iter().map(|(request, _)| request).chain(served).collect()
}

fn push(batch: &mut Batch, tokens: &[Token], sequence: i32) {
    for (position, &token) in tokens.iter().enumerate() {
        batch.push(token, position, sequence, true);
    }
}

/// The vector with length 1; empty where it is none.
fn normalised(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|part| f64::from(*part).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() {
        return Vec::new();
    }
    let by = if length > 0.0 { 1.0 / length } else { 0.0 };
    vector.iter().map(|part| (f64::from(*part) * by) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_does_not_fit_beside_others_is_first_some_day() {
        // Three requests of a text each that fills a step; a new one comes for each that has ended.
        let (mut running, mut ended) = (VecDeque::from([0, 1, 2]), Vec::new());
        for new in 3..9 {
            ended.extend(running.pop_front());
            running = in_turn(running.into_iter().map(|request| (request, false)).collect());
            running.push_back(new);
        }
        assert_eq!(ended, [0, 1, 2, 3, 4, 5]);
        let some = vec![('a', true), ('b', false), ('c', true), ('d', false)];
        assert_eq!(in_turn(some), ['b', 'd', 'c', 'a']);
    }
}
