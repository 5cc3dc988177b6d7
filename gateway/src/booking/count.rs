//! What the metrics say of a request when its money is settled.

use super::{Booking, TOO_LATE};
use crate::metrics::Done;

impl Booking {
    /// Counts a request that no model answered, under the route and model that were chosen for it.
    pub(super) fn count_unanswered(&self, code: &'static str) {
        if self.fate.count() {
            self.app.metrics.done(&Done {
                operation: self.operation.name(),
                requested: &self.requested,
                route: &self.receipt.route,
                selected: &self.receipt.selected,
                status: code,
                overhead: self.watch.overhead(),
                total: self.watch.total(),
                ..Done::default()
            });
        }
    }

    pub(super) fn count(&self) {
        if !self.fate.count() {
            return;
        }
        let receipt = &self.receipt;
        // What was lost was counted when it was, for the model that lost it.
        let lost = receipt.lost();
        self.app.metrics.done(&Done {
            operation: self.operation.name(),
            requested: &self.requested,
            route: &receipt.route,
            selected: &receipt.selected,
            model: &receipt.model,
            status: if self.fate.too_late() { TOO_LATE } else { receipt.status.as_str() },
            team: receipt.team.as_deref(),
            input_tokens: receipt.usage.prompt_tokens,
            output_tokens: receipt.usage.completion_tokens,
            cost: receipt.cost.saturating_sub(lost),
            saved: receipt.saved.saturating_add(lost),
            overhead: self.watch.overhead(),
            first_token: self.watch.time_to_first_token(),
            generation: self.watch.generation().filter(|_| receipt.stream),
            total: self.watch.total(),
        });
    }
}
