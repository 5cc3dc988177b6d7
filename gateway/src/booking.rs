//! One request's money, from the hold to the receipt.
//!
//! A [`Booking`] ends exactly once: by [`Booking::settle`], by [`Booking::abandon`], or by being dropped, which
//! settles what is known to have been produced (the client went away) or gives everything back (nothing was
//! sent). It owns the hold, so no path can forget it. A model that failed after it took the request may have
//! been paid: its estimate is charged whichever way the booking ends.

mod count;
mod price;
mod up;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tollgate_policies::{Hold, Price, Usage, Usd};
use tollgate_router::Decision;

use crate::app::App;
use crate::call::{Call, Fate};
use crate::content::Transcript;
use crate::draft::draft;
use crate::ledger::{
    Attempt, End, HoldRow, LedgerError, Receipt, ReceiptStatus, Recording, Timings, Unwritten, now_ms,
};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::request::Ask;
use crate::stopwatch::{Stopwatch, micros, millis};
use crate::upstream::Failure;
use crate::wire::error::{Fault, Notice};
use crate::wire::openai::Chat;
use crate::wire::sse::Priced;

/// The outcome's name where the caller's deadline ended the request.
const TOO_LATE: &str = "deadline_exceeded";

/// Why an answer was thrown away: a better model gave another.
const UNSURE: &str = "unsure";

/// A hold with the receipt it will become.
#[derive(Debug)]
pub struct Booking {
    app: Arc<App>,
    hold: Option<Hold>,
    fate: Arc<Fate>,
    receipt: Box<Receipt>,
    /// As long as the ledger has no row of the hold: most requests end before it would be worth a write.
    unwritten: Option<Unwritten>,
    /// The newest row of the hold on its way into the file.
    recording: Option<Recording>,
    requested: String,
    operation: Operation,
    /// Place in the catalogue of the model that serves.
    serving: usize,
    baseline: usize,
    /// Listens to the answer where it is kept.
    transcript: Option<Box<Transcript>>,
    /// Where the time goes.
    pub watch: Stopwatch,
    /// Prompt tokens of what is text, as expected before any tokenizer saw the prompt.
    expected_tokens: u64,
    /// Pictures, recordings and files in the prompt, of whose tokens only the engine knows.
    parts: u64,
    /// What is charged if the client goes away now.
    produced: Usage,
    /// Whether that was counted here.
    estimated: bool,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// `Ok`, `Error` or `Cancelled`; a fallback is found out here.
    pub status: ReceiptStatus,
    /// Tokens used.
    pub usage: Usage,
    /// Whether they were counted here because the engine did not say.
    pub estimated: bool,
}

/// What was booked.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    /// Charged.
    pub cost: Usd,
    /// The baseline's cost less that.
    pub saved: Usd,
    /// How it ended.
    pub status: ReceiptStatus,
}

impl Booking {
    /// Books a hold for a decision. A stream's is written at once, see [`Booking::recorded`]; another's by
    /// [`Booking::waiting_for`] an engine that takes long.
    ///
    /// # Errors
    /// [`Fault::Ledger`] while the ledger cannot be written; the hold is given back.
    pub async fn open(
        app: &Arc<App>,
        call: &Call,
        ask: &Ask,
        chat: &Chat<'_>,
        plan: &Plan<'_>,
        (decision, hold): (&Decision, Hold),
    ) -> Result<Booking, Fault> {
        let serving = decision.ranked[0];
        let mut booking = Booking {
            receipt: Box::new(draft(app, call, ask, chat, plan, decision, &hold)),
            unwritten: Some(app.ledger.begin().map_err(Fault::Ledger)?),
            recording: None,
            app: Arc::clone(app),
            hold: Some(hold),
            fate: Arc::clone(&call.fate),
            requested: chat.model.clone().into_owned(),
            operation: chat.operation,
            serving,
            baseline: decision.baseline,
            transcript: None,
            watch: Stopwatch::new(call.began),
            expected_tokens: plan.prompt_tokens,
            parts: chat.images,
            produced: Usage { service_tier: chat.service_tier, ..Usage::default() },
            estimated: true,
        };
        booking.expect_prompt();
        let first = app.ledger.holds_first();
        if chat.stream || first {
            booking.write_hold().await.map_err(Fault::Ledger)?;
        }
        if first {
            booking.recorded().await.map_err(Fault::Ledger)?;
        }
        Ok(booking)
    }

    /// Waits for something of an engine's; a hold that this keeps open for long is put on record meanwhile.
    pub async fn waiting_for<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        if let Some(unwritten) = &self.unwritten {
            if let Ok(answer) = tokio::time::timeout_at(unwritten.due().into(), answer.as_mut()).await {
                return answer;
            }
            if let Err(error) = self.write_hold().await {
                tracing::error!(%error, "a hold could not be put on record");
            }
        }
        answer.await
    }

    async fn write_hold(&mut self) -> Result<(), LedgerError> {
        self.recording = Some(self.app.ledger.hold(HoldRow::of(&self.receipt)).await?);
        self.unwritten = None;
        Ok(())
    }

    /// Waits until the hold's row, where one was handed over, is in the file: a stream's first bytes reach the client
    /// long before its receipt is written, and a crash in between must find that money was spent.
    ///
    /// # Errors
    /// [`LedgerError`] while the file cannot be written.
    pub async fn recorded(&mut self) -> Result<(), LedgerError> {
        match self.recording.take() {
            Some(recording) => recording.committed().await,
            None => Ok(()),
        }
    }

    /// Moves to another model: its worst case, and what was lost before, are held instead if that is more.
    ///
    /// # Errors
    /// [`Fault::Budget`] if the budgets cannot pay it; the booking stays as it was.
    pub async fn move_to(&mut self, place: usize, worst: Usd) -> Result<(), Fault> {
        let needed = worst.saturating_add(self.receipt.lost());
        if let Some(hold) = self.hold.as_mut().filter(|hold| hold.amount() < needed) {
            if let Err(refusal) = hold.raise(needed, now_ms()) {
                if !refusal.unleased {
                    return Err(Fault::Budget(refusal));
                }
                let more = needed.saturating_sub(hold.amount());
                let wants = self.app.budgets.wants_more(hold.accounts(), more);
                self.app.lease(wants).await.map_err(Fault::Ledger)?;
                hold.raise(needed, now_ms()).map_err(Fault::Budget)?;
            }
            self.receipt.held = needed;
            if self.unwritten.is_none() {
                let raised = self.app.ledger.raise(HoldRow::of(&self.receipt)).await;
                self.recording = Some(raised.map_err(Fault::Ledger)?);
                if self.app.ledger.holds_first() {
                    self.recorded().await.map_err(Fault::Ledger)?;
                }
            }
        }
        self.serve(place);
        Ok(())
    }

    fn serve(&mut self, place: usize) {
        self.serving = place;
        let model = &self.app.catalog.models()[place];
        self.receipt.model.clone_from(&model.name);
        self.receipt.engine.clone_from(&model.engine);
        self.expect_prompt();
    }

    /// What the prompt comes to on the model that serves unless its engine says: a part that is no text counts for what it is held for.
    fn expect_prompt(&mut self) {
        let parts = self.parts.saturating_mul(self.app.catalog.models()[self.serving].part_tokens);
        let text = self.app.token_ratios[self.serving].of(self.expected_tokens);
        self.produced.prompt_tokens = text.saturating_add(parts);
    }

    /// Nothing came of what was sent. Where it may have cost something, that is `estimate`, or for a model paid
    /// by time the time it had.
    pub fn failed(&mut self, failure: &Failure, estimate: Usd) {
        let engine_us = micros(self.watch.failed());
        let cost = match &self.app.catalog.models()[self.serving].price {
            _ if !failure.may_have_cost() => Usd::ZERO,
            Price::Tokens(_) => estimate,
            hourly @ Price::Hourly(_) => hourly.cost(&Usage { engine_us, ..Usage::default() }),
        };
        let (model, engine) = (self.receipt.model.clone(), self.receipt.engine.clone());
        self.app.metrics.lost(&model, self.receipt.team.as_deref(), cost);
        let reason = failure.reason().to_owned();
        self.receipt.attempts.push(Attempt { model, engine, reason, cost });
    }

    /// Has the answer listened to.
    pub fn listen(&mut self, transcript: Option<Box<Transcript>>) {
        self.transcript = transcript;
    }

    /// A piece of the answer that the client gets.
    pub fn hear(&mut self, piece: &[u8]) {
        if let Some(transcript) = &mut self.transcript {
            transcript.hear(piece);
        }
    }

    /// The receipt as far as it is known.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The catalogue's name of the model that serves.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.receipt.model
    }

    /// Settles and waits until the receipt is in the ledger.
    ///
    /// # Errors
    /// [`Fault::Ledger`] if it cannot be written now; it is kept, and written as soon as that works.
    pub async fn settle(mut self, outcome: Outcome) -> Result<Settled, Fault> {
        let ledger = self.app.ledger.clone();
        let Some(end) = self.close(outcome) else {
            return Ok(Settled { cost: Usd::ZERO, saved: Usd::ZERO, status: outcome.status });
        };
        let Receipt { cost, saved, status, .. } = *end.receipt;
        let settled = Settled { cost, saved, status };
        ledger.settle(end).await.map_err(Fault::Ledger)?;
        Ok(settled)
    }

    /// Ends a booking whose request no model answered: only failed attempts are charged.
    pub fn abandon(mut self, notice: &Notice) {
        self.receipt.http_status = notice.status.as_u16();
        self.close_unserved(ReceiptStatus::Error, notice.code);
    }

    /// Ends a booking whose request a model has begun to answer, though the client gets none of it: what is known to have been used is
    /// charged.
    pub fn cut(mut self, notice: &Notice) {
        self.receipt.http_status = notice.status.as_u16();
        let outcome =
            Outcome { status: ReceiptStatus::Error, usage: self.produced, estimated: self.estimated };
        if let Some(end) = self.close(outcome) {
            self.app.ledger.settle_detached(end);
        }
    }

    /// Ends the hold of a request that no model served, counts it and puts it on record.
    fn close_unserved(&mut self, status: ReceiptStatus, code: &'static str) {
        let Some(hold) = self.hold.take() else { return };
        let receipt = &mut self.receipt;
        receipt.status = status;
        receipt.cost = receipt.lost();
        receipt.saved = Usd::ZERO.saturating_sub(receipt.cost);
        receipt.usage_estimated = receipt.cost > Usd::ZERO;
        hold.settle(receipt.cost);
        self.time();
        self.count_unanswered(code);
        let end = self.end();
        self.app.ledger.settle_detached(end);
    }

    /// Completes the receipt, ends the hold, counts. `None` if that was done before.
    fn close(&mut self, outcome: Outcome) -> Option<End> {
        let hold = self.hold.take()?;
        if self.parts == 0 && !outcome.estimated {
            self.app.token_ratios[self.serving].learn(self.expected_tokens, outcome.usage.prompt_tokens);
        }
        let priced = self.price(outcome.usage);
        let receipt = &mut self.receipt;
        receipt.usage = priced.usage;
        receipt.usage_estimated = outcome.estimated;
        receipt.cost = priced.cost;
        receipt.saved = priced.saved;
        receipt.baseline_cost = priced.cost.saturating_add(priced.saved);
        receipt.status = match outcome.status {
            ReceiptStatus::Ok if receipt.attempts.last().is_some_and(|last| last.reason == UNSURE) => {
                ReceiptStatus::Escalated
            }
            ReceiptStatus::Ok if receipt.model != receipt.selected => ReceiptStatus::Fallback,
            status => status,
        };
        if priced.cost > receipt.held {
            // The bound was wrong: an engine that ignored max_tokens, or a prompt with more than text in it.
            tracing::warn!(request = receipt.request_id, cost = %priced.cost, held = %receipt.held, "cost exceeds what was held");
        }
        if let Some(tier) = priced.usage.service_tier
            && !self.app.catalog.models()[self.serving].price.knows(tier)
        {
            let tier = tier.as_str();
            tracing::warn!(
                request = receipt.request_id,
                model = receipt.model,
                tier,
                "charged at standard rates: no price for its service tier"
            );
        }
        hold.settle(priced.cost);
        self.time();
        self.count();
        Some(self.end())
    }

    fn end(&mut self) -> End {
        let content = self.transcript.take().and_then(|transcript| transcript.end(&self.receipt));
        End { held: self.unwritten.take().is_none(), receipt: std::mem::take(&mut self.receipt), content }
    }

    fn time(&mut self) {
        let watch = &self.watch;
        self.receipt.timings = Timings {
            overhead_us: micros(watch.overhead()),
            score_us: self.receipt.timings.score_us,
            queue_ms: self.receipt.timings.queue_ms,
            ttft_ms: watch.time_to_first_token().map(millis),
            total_ms: millis(watch.total()),
        };
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        if self.hold.is_none() {
            return;
        }
        let (status, code) = if self.fate.too_late() {
            self.receipt.http_status = 504;
            (ReceiptStatus::Error, TOO_LATE)
        } else {
            (ReceiptStatus::Cancelled, ReceiptStatus::Cancelled.as_str())
        };
        if !self.watch.is_sent() {
            if self.receipt.lost() > Usd::ZERO {
                return self.close_unserved(status, code);
            }
            if let Some(hold) = self.hold.take() {
                hold.release();
            }
            if self.unwritten.is_none() {
                self.app.ledger.release_detached(std::mem::take(&mut self.receipt.request_id));
            }
            return;
        }
        let outcome = Outcome { status, usage: self.produced, estimated: self.estimated };
        if let Some(end) = self.close(outcome) {
            self.app.ledger.settle_detached(end);
        }
    }
}
