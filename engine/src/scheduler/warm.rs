//! What is computed before the first request: the weights are then in memory, the speeds known, and an adapter that cannot
//! be computed with is told at the start.

use super::saved::StateSize;
use super::step::Stepper;
use crate::llama::{Applied, Batch, DecodeFailure, Token};
use std::time::Instant;

/// Prompt tokens of the warm-up, enough to measure the reading speed.
const READ: usize = 64;
/// Answer tokens of the warm-up.
const WRITTEN: usize = 4;

impl Stepper<'_> {
    /// Computes a little, with every adapter and then with the bare model.
    pub(super) fn warm_up(&mut self) -> Result<(), DecodeFailure> {
        let read = READ.min(self.board.batch()).min(self.board.context() / 2);
        let token = |n: usize| Token(i32::try_from(n % self.model.vocabulary().max(1)).unwrap_or_default());
        let mut batch = Batch::new(read);
        for adapter in 0..self.model.adapters().len() {
            self.context.apply(Some(Applied { adapter, scale: 1.0 }))?;
            batch.clear();
            batch.push(token(0), 0, 0, true);
            self.context.decode(&mut batch)?;
            self.context.clear();
        }
        self.context.apply(None)?;
        // The first pass brings the weights into memory; only the second is measured.
        for measured in [false, true] {
            self.context.clear();
            batch.clear();
            for position in 0..read {
                batch.push(token(position), position, 0, position + 1 == read);
            }
            let began = Instant::now();
            self.context.decode(&mut batch)?;
            if measured {
                self.meter.step(read, (0, 0), 0, began.elapsed());
            }
        }
        for position in read..read + WRITTEN {
            batch.clear();
            batch.push(token(position), position, 0, true);
            let began = Instant::now();
            self.context.decode(&mut batch)?;
            self.meter.step(0, (1, 0), 1, began.elapsed());
        }
        let warm = self.context.state_bytes(0);
        self.context.clear();
        self.state_size = StateSize { empty: self.context.state_bytes(0), warm, tokens: read + WRITTEN };
        self.publish();
        Ok(())
    }
}
