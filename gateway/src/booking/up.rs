//! The money of going up to a better model: what the first answer cost is held and charged beside the better one's.

use std::time::Instant;

use tollgate_policies::Usd;

use super::{Booking, UNSURE};
use crate::ledger::Attempt;
use crate::upstream::Failure;
use crate::wire::error::Fault;

impl Booking {
    /// Moves up from an answer that is thrown away, and that has cost this much, as [`Booking::move_to`]; undone by
    /// [`Booking::stay`], in force with [`Booking::went_up`].
    ///
    /// # Errors
    /// [`Fault::Budget`] if the budgets cannot pay both; the booking stays as it was.
    pub async fn go_up(&mut self, place: usize, worst: Usd, cost: Usd) -> Result<(), Fault> {
        let (model, engine) = (self.receipt.model.clone(), self.receipt.engine.clone());
        self.move_to(place, worst.saturating_add(cost)).await?;
        // Not before: a client that leaves meanwhile would pay the first answer twice.
        self.receipt.attempts.push(Attempt { model, engine, reason: UNSURE.to_owned(), cost });
        Ok(())
    }

    /// The better model has begun to answer.
    pub fn went_up(&mut self) {
        if let Some(Attempt { model, cost, .. }) = self.receipt.attempts.last() {
            self.app.metrics.lost(model, self.receipt.team.as_deref(), *cost);
        }
        self.app.metrics.escalated();
    }

    /// The better model did not answer, as [`Booking::failed`], so the first answer, which was asked for at `sent`, is not thrown away.
    pub fn stay(&mut self, (place, sent): (usize, Option<Instant>), failure: &Failure, estimate: Usd) {
        self.failed(failure, estimate);
        self.receipt.attempts.retain(|attempt| attempt.reason != UNSURE);
        self.serve(place);
        self.watch.back_to(sent);
    }
}
