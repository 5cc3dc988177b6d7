//! What a pruning did, and what it has to tell of receipts that it could not read.

use super::Location;

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Receipts that forgot who asked.
    pub receipts: u64,
    /// Receipts left as they are, for a gateway has leased from the budgets of their run or key; only in a server.
    pub in_use: u64,
    /// Receipts left as they are, for they cannot be read.
    pub unreadable: u64,
    /// The number of the first of them.
    pub first_unreadable: Option<i64>,
    /// The last receipt that was looked at, where those after it are not in the budgets' sums yet and one of them cannot be read.
    pub until: Option<i64>,
}

impl Pruned {
    /// Counts a receipt that cannot be read.
    pub(in crate::ledger) fn skip(&mut self, seq: i64) {
        self.unreadable += 1;
        self.first_unreadable.get_or_insert(seq);
    }

    /// What is to be told of what cannot be read; `None` where all could be.
    #[must_use]
    pub fn damage(&self, location: &Location) -> Option<String> {
        let first = self.first_unreadable?;
        let others = match self.unreadable {
            0 | 1 => String::new(),
            several => format!(", and so were {} further ones", several - 1),
        };
        let rest = self.until.map_or_else(String::new, |until| {
            format!("; those after receipt {until} are not in the budgets' sums yet and were left, too: run this again later")
        });
        Some(format!(
            "receipt {first} of the ledger {location} cannot be read and was left as it is{others}{rest}\n    \
             help: `tollgate ledger verify` tells what is wrong; keep a copy, then restore a backup, or move the ledger away to start \
             a new one"
        ))
    }
}
