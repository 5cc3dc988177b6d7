//! The scheduler's thread: takes jobs, gives them slots, and computes step after step until told to stop.

use super::board::Board;
use super::job::{Failure, Message, Submitted};
use super::meter::Meter;
use super::plan::{Reader, shares};
use super::queue::Queue;
use super::saved::StateSize;
use super::slot::Slot;
use super::turns::Turns;
use crate::llama::{Applied, Batch, Context, DecodeFailure, Interrupt, Model};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// So many broken steps in a row and the process is better started anew.
const BROKEN_STEPS: u32 = 3;

/// What the thread owns.
pub(super) struct Stepper<'model> {
    pub(super) model: &'model Model,
    pub(super) context: Context<'model>,
    batch: Batch,
    batch_limit: usize,
    /// Tokens guessed at most for each step of a lone answer.
    lookup: usize,
    pub(super) slots: Vec<Slot>,
    pub(super) waiting: Queue<Submitted>,
    turns: Turns,
    inbox: mpsc::Receiver<Message>,
    interrupt: &'model Interrupt,
    pub(super) meter: Meter,
    pub(super) board: Arc<Board>,
    pub(super) admissions: u64,
    broken: u32,
    pub(super) state_size: StateSize,
}

/// What a slot has in the current batch.
struct Part {
    slot: usize,
    tokens: usize,
    /// Where its first logits will be; those of guesses follow.
    logits: Option<i32>,
    writes: bool,
}

impl Part {
    /// Tokens that are computed in case they are picked.
    fn guesses(&self) -> usize {
        if self.writes { self.tokens - 1 } else { 0 }
    }
}

impl<'model> Stepper<'model> {
    pub(super) fn new(
        model: &'model Model,
        context: Context<'model>,
        inbox: mpsc::Receiver<Message>,
        board: Arc<Board>,
        interrupt: &'model Interrupt,
        lookup: usize,
    ) -> Self {
        let batch_limit = board.batch();
        Self {
            model,
            context,
            batch: Batch::new(batch_limit),
            batch_limit,
            lookup,
            slots: (0..).take(board.slots()).map(Slot::new).collect(),
            waiting: Queue::default(),
            turns: Turns::default(),
            inbox,
            interrupt,
            meter: Meter::default(),
            board,
            admissions: 0,
            broken: 0,
            state_size: StateSize::default(),
        }
    }

    /// Runs until interrupted, or until the computation is beyond hope.
    pub(super) fn run(&mut self) -> Result<(), DecodeFailure> {
        while self.take_jobs() {
            self.admit();
            self.follow();
            self.publish();
            match self.step() {
                Ok(()) => self.broken = 0,
                // Those who wait for answers see their channels close.
                Err(DecodeFailure::Interrupted) => return Ok(()),
                Err(failure) => {
                    self.fail_all(failure);
                    self.broken += 1;
                    if self.broken >= BROKEN_STEPS {
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
                submitted.refuse(why);
            }
            self.slots.iter_mut().for_each(Slot::drop_abandoned);
            if !self.waiting.is_empty() || self.slots.iter().any(|slot| slot.run.is_some()) {
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
            Message::Job(submitted) => self.waiting.push(*submitted),
            // Dropped: the server sends none to a model that writes.
            Message::Embed(_) | Message::Wake => {}
        }
    }

    /// Computes one batch: the next token of every running answer, and a part of the prompts that are being read; of those
    /// that ask for the adapter whose turn it is.
    fn step(&mut self) -> Result<(), DecodeFailure> {
        let computable = |slot: &&Slot| slot.pending().is_some() || slot.unread() > 0;
        let wanted: Vec<_> = self.slots.iter().filter(computable).map(|slot| slot.adapter).collect();
        let adapter = self.turns.next(&wanted);
        let answers = self.slots.iter().filter(|slot| slot.pending().is_some()).count();
        let parts = self.fill_batch(adapter, answers);
        if self.batch.len() == 0 {
            return Ok(());
        }
        let began = Instant::now();
        self.context.apply(adapter)?;
        self.context.decode(&mut self.batch)?;
        let took = began.elapsed();
        self.turns.took(took);
        let writers = parts.iter().filter(|part| part.writes).count();
        let read = self.batch.len() - writers;
        let (write_share, read_share) = self.meter.token_shares(writers, read);
        let mut written = writers;
        for part in parts {
            let read = (part.tokens - usize::from(part.writes)) as f64;
            let share = if part.writes { write_share } else { 0.0 } + read_share * read;
            let slot = &mut self.slots[part.slot];
            slot.computed(part.tokens - part.guesses(), took.mul_f64(share));
            written += self.write(&part);
        }
        self.meter.step(read, (writers, answers - writers), written, took);
        Ok(())
    }

    /// Picks the next token of a part's answer, and goes on for as long as it had been guessed: so many times.
    fn write(&mut self, part: &Part) -> usize {
        let Some(first) = part.logits else { return 0 };
        let slot = &mut self.slots[part.slot];
        let mut right = 0;
        for index in first.. {
            if let Some(held) = slot.write(self.model, self.context.logits(index)) {
                self.meter.served(held);
            }
            if !slot.guessed(right) {
                break;
            }
            right += 1;
        }
        if part.writes && self.lookup > 0 {
            slot.settle_guesses(right, part.guesses(), self.lookup, &mut self.context);
        }
        right
    }

    /// Fills the batch with what `adapter` computes, while so many answers of all adapters are being written.
    fn fill_batch(&mut self, adapter: Option<Applied>, answers: usize) -> Vec<Part> {
        self.batch.clear();
        let mut parts = Vec::new();
        let most = self.most_guesses();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(token) = slot.pending().filter(|_| slot.adapter == adapter) {
                let (position, sequence) = (slot.held.len(), slot.sequence);
                let logits = self.batch.push(token, position, sequence, true);
                let guesses = slot.guess(most.min(self.board.context().saturating_sub(position + 1)));
                for (offset, &guess) in guesses.iter().enumerate() {
                    self.batch.push(guess, position + 1 + offset, sequence, true);
                }
                parts.push(Part { slot: index, tokens: 1 + guesses.len(), logits, writes: true });
            }
        }
        let mut readers: Vec<usize> =
            (0..self.slots.len()).filter(|&slot| self.slots[slot].unread() > 0).collect();
        // Those whose turn it is not wait for this step as well.
        let room = self.meter.reading_room(answers, readers.len(), self.batch_limit);
        readers.retain(|&slot| self.slots[slot].adapter == adapter);
        let room = room.min(self.batch.room());
        let waits: Vec<Reader> = readers.iter().map(|&slot| self.reader(slot)).collect();
        for (reader, share) in readers.into_iter().zip(shares(&waits, room)) {
            let slot = &self.slots[reader];
            let whole = share == slot.unread();
            let mut logits = None;
            for (offset, &token) in slot.next_unread(share).iter().enumerate() {
                let last = whole && offset + 1 == share;
                let index = self.batch.push(token, slot.held.len() + offset, slot.sequence, last);
                logits = index.filter(|_| last);
            }
            if share > 0 {
                parts.push(Part { slot: reader, tokens: share, logits, writes: false });
            }
        }
        parts
    }

    /// Guesses pay where one answer has the engine to itself; others would wait while wrong ones are computed.
    fn most_guesses(&self) -> usize {
        let running = self.slots.iter().filter(|slot| slot.run.is_some()).count();
        if running == 1 && self.model.can_rewind() { self.lookup.min(self.batch_limit - 1) } else { 0 }
    }

    /// After a broken step the KV memory cannot be trusted: every running request fails and all cells are dropped.
    fn fail_all(&mut self, failure: DecodeFailure) {
        tracing::error!(%failure, "a step failed: its requests get an error");
        for slot in &mut self.slots {
            slot.fail(Failure::Decode(failure));
            slot.held.clear();
        }
        self.context.clear();
    }

    pub(super) fn publish(&self) {
        let running = self.slots.iter().filter(|slot| slot.run.is_some());
        let (active, cells) = running.fold((0, 0), |(n, cells), slot| (n + 1, cells + slot.held.len()));
        let left = self.slots.iter().filter_map(|slot| slot.left(&self.meter));
        self.board.publish(active, cells, left, &self.meter);
    }
}
