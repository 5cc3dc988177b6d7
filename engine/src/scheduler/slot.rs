//! One sequence of the context: the tokens its KV cells hold, and the request that uses it now.

use super::job::{Event, Failure, Finish, FinishReason, Submitted, Usage, Waiting};
use super::lookup::{Pace, guess};
use super::meter::Meter;
use super::plan::common_prefix;
use super::prefix::{Source, Start, Wanted};
use crate::llama::{Applied, Context, Model, Token};
use crate::logprobs::Likelihood;
use crate::sample::Sampler;
use crate::text::AnswerText;
use std::time::{Duration, Instant};

/// A sequence. `held` always equals what the KV memory holds for it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) sequence: i32,
    pub(super) held: Vec<Token>,
    /// What the cells were computed with, and what the request that uses them is: another adapter's cells serve nobody else.
    pub(super) adapter: Option<Applied>,
    pub(super) run: Option<Run>,
    /// The number of the last admission to it; the slot with the lowest was used longest ago.
    pub(super) last_used: u64,
    /// Length of the last prompt it was given.
    pub(super) prompt_tokens: usize,
}

/// A request in a slot.
#[derive(Debug)]
pub(super) struct Run {
    submitted: Submitted,
    sampler: Sampler,
    text: AnswerText,
    cached: usize,
    written: usize,
    /// The token picked last, which the next step computes; `None` while the prompt is being read.
    pending: Option<Token>,
    /// What the next step computes beyond that, in case it is what will be picked.
    guesses: Vec<Token>,
    pace: Pace,
    /// The slot whose reading it waits for, to begin with a copy of that.
    follows: Option<Source>,
    /// Its share of the computing time, spent on its prompt and on its answer.
    reading: Duration,
    writing: Duration,
    began: Instant,
}

impl Slot {
    pub(super) fn new(sequence: i32) -> Self {
        Self { sequence, held: Vec::new(), adapter: None, run: None, last_used: 0, prompt_tokens: 0 }
    }

    /// How much of what is wanted need not be read if it is given this slot. The last token is always read, for its logits.
    pub(super) fn reusable(&self, wanted: Wanted<'_>, can_rewind: bool) -> usize {
        if self.adapter != wanted.adapter {
            return 0;
        }
        let reusable = common_prefix(&self.held, wanted.prompt).min(wanted.prompt.len().saturating_sub(1));
        if can_rewind || reusable == self.held.len() { reusable } else { 0 }
    }

    /// How much of what is wanted it will hold once it has read its own prompt.
    pub(super) fn will_hold(&self, wanted: Wanted<'_>) -> usize {
        let run = self.run.as_ref().filter(|_| self.adapter == wanted.adapter);
        let common = run.map_or(0, |run| common_prefix(&run.submitted.job.prompt, wanted.prompt));
        common.min(wanted.prompt.len().saturating_sub(1))
    }

    /// From now on its cells are computed with `adapter`; those of another are dropped.
    pub(super) fn adapt(&mut self, adapter: Option<Applied>, context: &mut Context<'_>) {
        if self.adapter != adapter {
            self.keep(0, context);
            self.adapter = adapter;
        }
    }

    /// Begins a request that starts with the slot's own cells, as far as they are told to serve, or follows another
    /// slot. A copy has been made before.
    pub(super) fn begin(&mut self, mut submitted: Submitted, start: Start, context: &mut Context<'_>) {
        let (cached, follows) = match start {
            Start::Own(tokens) => (self.keep(tokens, context), None),
            Start::Follow(source) => (0, Some(source)),
            Start::Copy(_) => (self.held.len(), None),
        };
        let grammar = submitted.job.grammar.take();
        let job = &submitted.job;
        self.prompt_tokens = job.prompt.len();
        self.run = Some(Run {
            sampler: Sampler::new(job.sampling.clone(), grammar),
            text: AnswerText::new(job.stops.clone()),
            cached,
            written: 0,
            pending: None,
            guesses: Vec::new(),
            pace: Pace::default(),
            follows,
            reading: Duration::ZERO,
            writing: Duration::ZERO,
            began: Instant::now(),
            submitted,
        });
    }

    /// Drops all but the first `tokens` cells; returns how many are left.
    fn keep(&mut self, tokens: usize, context: &mut Context<'_>) -> usize {
        let mut keep = tokens.min(self.held.len());
        if keep < self.held.len() && !context.truncate(self.sequence, keep) {
            keep = 0;
            context.truncate(self.sequence, 0);
        }
        self.held.truncate(keep);
        keep
    }

    /// Takes a copy of `first` that another sequence holds, instead of its own cells.
    pub(super) fn copy(&mut self, from: i32, first: &[Token], context: &mut Context<'_>) {
        let copied = context.copy(from, self.sequence, first.len());
        self.held.clear();
        self.held.extend_from_slice(if copied { first } else { &[] });
    }

    /// The slot it waits for, and the prompt that it will go on with.
    pub(super) fn follows(&self) -> Option<(Source, Wanted<'_>)> {
        let run = self.run.as_ref()?;
        Some((run.follows?, run.submitted.job.wanted()))
    }

    /// It waits for another slot than it did.
    pub(super) fn follow(&mut self, source: Source) {
        if let Some(run) = &mut self.run {
            run.follows = Some(source);
        }
    }

    /// It waits no more: its first `tokens` cells serve its prompt.
    pub(super) fn stop_following(&mut self, tokens: usize, context: &mut Context<'_>) {
        let cached = self.keep(tokens, context);
        if let Some(run) = &mut self.run {
            (run.follows, run.cached) = (None, cached);
        }
    }

    /// Prompt tokens still to be read; 0 once the answer is being written, while another slot reads for it, and for an
    /// idle slot.
    pub(super) fn unread(&self) -> usize {
        match &self.run {
            Some(run) if run.pending.is_none() && run.follows.is_none() => {
                run.submitted.job.prompt.len().saturating_sub(self.held.len())
            }
            _ => 0,
        }
    }

    /// Seconds that its request will go on to hold it, by what was measured.
    pub(super) fn left(&self, meter: &Meter) -> Option<f64> {
        let run = self.run.as_ref()?;
        let unread = run.submitted.job.prompt.len().saturating_sub(self.held.len());
        Some(meter.left(
            run.began.elapsed(),
            unread,
            run.submitted.job.max_tokens.saturating_sub(run.written),
        ))
    }

    /// The token the next step computes to go on with the answer.
    pub(super) fn pending(&self) -> Option<Token> {
        self.run.as_ref().and_then(|run| run.pending)
    }

    /// Guesses at the tokens after the pending one, `most` at most, for the next step to compute with it.
    pub(super) fn guess(&mut self, most: usize) -> &[Token] {
        let Some(run) = &mut self.run else { return &[] };
        // The answer's last token is not computed, so what follows its last but one need not be known.
        let left = run.submitted.job.max_tokens.saturating_sub(run.written + 1);
        run.guesses.clear();
        if let Some(next) = run.pending {
            run.guesses.extend_from_slice(guess(&self.held, next, run.pace.length(most).min(left)));
        }
        &run.guesses
    }

    /// Whether guess number `number` was what is pending now: then it is computed already.
    pub(super) fn guessed(&mut self, number: usize) -> bool {
        let Some(run) = &mut self.run else { return false };
        let right = run.pending.is_some() && run.pending == run.guesses.get(number).copied();
        if right {
            self.held.extend(run.pending);
        }
        right
    }

    /// Notes how many guesses were right, and drops the cells of the others.
    pub(super) fn settle_guesses(
        &mut self,
        right: usize,
        guessed: usize,
        most: usize,
        context: &mut Context<'_>,
    ) {
        if right < guessed && !context.truncate(self.sequence, self.held.len()) {
            context.truncate(self.sequence, 0);
            self.held.clear();
        }
        if let Some(run) = &mut self.run {
            run.pace.note(guessed, right, most);
        }
    }

    /// The next `count` prompt tokens to be read.
    pub(super) fn next_unread(&self, count: usize) -> &[Token] {
        let prompt = self.run.as_ref().map_or(&[][..], |run| &run.submitted.job.prompt);
        prompt.get(self.held.len()..self.held.len() + count).unwrap_or_default()
    }

    /// Notes that the next `read` prompt tokens, or the pending token, were computed.
    pub(super) fn computed(&mut self, read: usize, share: Duration) {
        let Some(run) = &mut self.run else { return };
        match run.pending {
            Some(token) => {
                run.writing += share;
                self.held.push(token);
            }
            None => {
                run.reading += share;
                let prompt = &run.submitted.job.prompt;
                let next = prompt.get(self.held.len()..self.held.len() + read).unwrap_or_default();
                self.held.extend_from_slice(next);
            }
        }
    }

    /// Picks the next token from `logits` and sends what it makes certain. Returns how long the slot was held once
    /// the request has ended.
    pub(super) fn write(&mut self, model: &Model, logits: &[f32]) -> Option<Duration> {
        let run = self.run.as_mut()?;
        let began = Instant::now();
        let barred = if run.submitted.job.ignore_eos { model.ends() } else { &[] };
        let token = match run.sampler.pick(logits, barred) {
            Ok(token) => Token(i32::try_from(token).unwrap_or(i32::MAX)),
            Err(unpickable) => return self.fail(unpickable.into()),
        };
        run.writing += began.elapsed();
        run.written += 1;
        if model.ends_answer(token) {
            return self.finish(FinishReason::Stop);
        }
        if let Some(alternatives) = run.submitted.job.logprobs {
            run.send(Event::Token(Likelihood::of(model, logits, token, alternatives)));
        }
        let mut bytes = Vec::new();
        model.piece(token, &mut bytes);
        if bytes.is_empty() && run.submitted.job.call_marks {
            model.call_mark(token, &mut bytes);
        }
        let progress = run.text.push(&bytes);
        if !progress.text.is_empty() {
            run.send(Event::Text(progress.text));
        }
        if progress.stopped || run.sampler.ended() {
            return self.finish(FinishReason::Stop);
        }
        if run.written >= run.submitted.job.max_tokens {
            return self.finish(FinishReason::Length);
        }
        run.pending = Some(token);
        None
    }

    /// Ends the request with an error.
    pub(super) fn fail(&mut self, failure: Failure) -> Option<Duration> {
        let mut run = self.run.take()?;
        run.submitted.place = None;
        run.send(Event::Failed(failure));
        Some(run.began.elapsed())
    }

    /// Frees the slot when nobody waits for its answer any more; the KV cells stay for reuse.
    pub(super) fn drop_abandoned(&mut self) {
        if self.run.as_ref().is_some_and(|run| run.submitted.abandoned()) {
            tracing::debug!(sequence = self.sequence, "the client is gone: slot freed");
            self.run = None;
        }
    }

    fn finish(&mut self, reason: FinishReason) -> Option<Duration> {
        let mut run = self.run.take()?;
        let text = std::mem::replace(&mut run.text, AnswerText::new(Vec::new())).finish();
        if !text.is_empty() {
            run.send(Event::Text(text));
        }
        let usage = Usage {
            prompt_tokens: run.submitted.job.prompt.len(),
            cached_tokens: run.cached,
            completion_tokens: run.written,
            reading_us: micros(run.reading),
            writing_us: micros(run.writing),
        };
        run.submitted.place = None;
        run.send(Event::Done(Finish { reason, usage }));
        Some(run.began.elapsed())
    }
}

impl Run {
    /// Sends without ever waiting: the channel has room for every token the job may write. A closed channel means
    /// that the client is gone, which is noticed before the next step.
    fn send(&self, event: Event) {
        if let Err(error) = self.submitted.events.try_send(event) {
            tracing::debug!(%error, "an event found no receiver");
        }
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
