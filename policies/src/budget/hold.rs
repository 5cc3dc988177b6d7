//! A reservation as a value that ends exactly once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::{Budgets, Refusal};
use crate::money::Usd;

/// One counter of one budget: what the ledger records a hold and its settlement under.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AccountId {
    /// The budget's name.
    pub budget: String,
    /// Whose counter; empty for a global budget.
    pub subject: String,
    /// When the window began, Unix milliseconds; 0 for a run's.
    pub window_start_ms: u64,
}

/// Money set aside for one request in every budget that matches it.
///
/// Ends once: [`settle`](Hold::settle), [`release`](Hold::release), or by being dropped, which releases.
/// It belongs to the windows it was made in, even if it is settled after they have ended.
#[must_use = "dropping a hold releases it at once"]
#[derive(Debug)]
pub struct Hold {
    budgets: Arc<Budgets>,
    amount: Usd,
    accounts: Vec<AccountId>,
    /// How often grants had lapsed when it was made.
    lapses: u32,
    open: bool,
}

impl Hold {
    pub(super) fn new(budgets: Arc<Budgets>, amount: Usd, accounts: Vec<AccountId>, lapses: u32) -> Hold {
        Hold { budgets, amount, accounts, lapses, open: true }
    }

    /// What is held, in each account.
    pub fn amount(&self) -> Usd {
        self.amount
    }

    /// The accounts it is held in; empty when no budget matches.
    pub fn accounts(&self) -> &[AccountId] {
        &self.accounts
    }

    /// Holds `amount` instead, if that is more, in the accounts it is held in now.
    ///
    /// # Errors
    /// The budget that has no room for the difference; the hold stays as it was.
    pub fn raise(&mut self, amount: Usd, now_ms: u64) -> Result<(), Refusal> {
        let more = amount.saturating_sub(self.amount);
        if more > Usd::ZERO {
            self.budgets.raise(&self.accounts, more, self.lapses, now_ms)?;
            self.amount = amount;
        }
        Ok(())
    }

    /// Ends the hold with the real cost.
    ///
    /// A cost above [`amount`](Hold::amount) is booked in full, because it has been spent; it is for the
    /// caller to hold a true worst case. A negative cost counts as zero.
    pub fn settle(mut self, actual: Usd) {
        self.close(actual.max(Usd::ZERO));
    }

    /// Ends the hold with nothing spent.
    pub fn release(mut self) {
        self.close(Usd::ZERO);
    }

    fn close(&mut self, actual: Usd) {
        if std::mem::take(&mut self.open) {
            self.budgets.close(&self.accounts, self.amount, actual, self.lapses);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.close(Usd::ZERO);
    }
}
