//! One sequence of the context: the tokens its KV cells hold, and the request that uses it now.

use super::job::{Event, Failure, Finish, FinishReason, Submitted, Usage};
use super::plan::common_prefix;
use crate::llama::{Context, Model, Token};
use crate::logprobs::Likelihood;
use crate::sample::Sampler;
use crate::text::AnswerText;
use std::time::{Duration, Instant};

/// A sequence. `held` always equals what the KV memory holds for it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) sequence: i32,
    pub(super) held: Vec<Token>,
    pub(super) run: Option<Run>,
    /// Counts admissions over all slots; the slot with the lowest was used longest ago.
    pub(super) last_used: u64,
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
    engine: Duration,
    began: Instant,
}

impl Slot {
    pub(super) fn new(sequence: i32) -> Self {
        Self { sequence, held: Vec::new(), run: None, last_used: 0 }
    }

    /// How much of `prompt` need not be read if it is given this slot. The last token is always read, for its logits.
    pub(super) fn reusable(&self, prompt: &[Token], can_rewind: bool) -> usize {
        let reusable = common_prefix(&self.held, prompt).min(prompt.len().saturating_sub(1));
        if can_rewind || reusable == self.held.len() { reusable } else { 0 }
    }

    /// Begins a request: drops the KV cells it has no use for.
    pub(super) fn begin(&mut self, mut submitted: Submitted, context: &mut Context<'_>, can_rewind: bool) {
        let job = &submitted.job;
        let mut keep = if job.reuse { self.reusable(&job.prompt, can_rewind) } else { 0 };
        if keep < self.held.len() && !context.truncate(self.sequence, keep) {
            keep = 0;
            context.truncate(self.sequence, 0);
        }
        self.held.truncate(keep);
        let grammar = submitted.job.grammar.take();
        self.run = Some(Run {
            sampler: Sampler::new(submitted.job.sampling.clone(), grammar),
            text: AnswerText::new(submitted.job.stops.clone()),
            cached: keep,
            written: 0,
            pending: None,
            engine: Duration::ZERO,
            began: Instant::now(),
            submitted,
        });
    }

    /// Prompt tokens still to be read; 0 once the answer is being written, and for an idle slot.
    pub(super) fn unread(&self) -> usize {
        match &self.run {
            Some(run) if run.pending.is_none() => {
                run.submitted.job.prompt.len().saturating_sub(self.held.len())
            }
            _ => 0,
        }
    }

    /// The token the next step computes to go on with the answer.
    pub(super) fn pending(&self) -> Option<Token> {
        self.run.as_ref().and_then(|run| run.pending)
    }

    /// The next `count` prompt tokens to be read.
    pub(super) fn next_unread(&self, count: usize) -> &[Token] {
        let prompt = self.run.as_ref().map_or(&[][..], |run| &run.submitted.job.prompt);
        prompt.get(self.held.len()..self.held.len() + count).unwrap_or_default()
    }

    /// Notes that the next `read` prompt tokens, or the pending token, were computed.
    pub(super) fn computed(&mut self, read: usize, share: Duration) {
        let Some(run) = &mut self.run else { return };
        run.engine += share;
        match run.pending {
            Some(token) => self.held.push(token),
            None => {
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
        let barred = if run.submitted.job.ignore_eos { model.ends() } else { &[] };
        let token = match run.sampler.pick(logits, barred) {
            Ok(token) => Token(i32::try_from(token).unwrap_or(i32::MAX)),
            Err(unpickable) => return self.fail(unpickable.into()),
        };
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
            engine_us: u64::try_from(run.engine.as_micros()).unwrap_or(u64::MAX),
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
