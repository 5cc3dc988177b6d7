//! The counters behind all budgets.
//!
//! One short lock covers every counter, so a reservation is atomic over all budgets it touches; it is
//! never held across anything slower than a few map look-ups. Counters are kept by budget name, subject
//! and window start, apart from the specs, so a reload changes limits and never forgets spending.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::budget::pace::run_price;
use crate::budget::pacers::Pacers;
use crate::budget::spec::Specs;
use crate::budget::{AccountId, BudgetSpec, Elsewhere, Hold, Pace, Refusal, Spender};
use crate::money::Usd;

/// A run has no calendar end: its counter is forgotten once nothing touched it for this long.
const RUN_IDLE_MS: u64 = 7 * 24 * 3_600_000;
/// When a restored counter was last touched: before this start, nobody here knows when.
const RESTORED: u64 = u64::MAX;
/// A clock may be set back by this much after a window's end and still find what the window has spent.
const STEPS_BACK_MS: u64 = 24 * 3_600_000;
/// Sweeping starts at this many counters, and again whenever they have doubled since.
const SWEEP_AT_LEAST: usize = 1_024;

/// All budgets and their counters.
pub struct Budgets {
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) specs: Specs,
    pub(super) accounts: HashMap<AccountId, Account>,
    /// Whether only what is granted may be spent, for others spend from the same budgets.
    pub(super) shared: bool,
    /// How often all grants have lapsed.
    pub(super) lapses: u32,
    sweep_at: usize,
    pub(super) pacers: Pacers,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Account {
    pub(super) settled: Usd,
    pub(super) held: Usd,
    pub(super) holds: u32,
    /// What may be settled and held here, where budgets are shared, and what others have taken.
    pub(super) granted: Usd,
    pub(super) elsewhere: Elsewhere,
    /// When that was so, Unix milliseconds.
    pub(super) seen_ms: u64,
    /// Whether something was granted that has not been given back to the last nanodollar.
    pub(super) leased: bool,
    /// Reservations that were asked for, as of now and of the last look for quiet windows.
    pub(super) asked: u64,
    pub(super) asked_before: u64,
    /// Holds that ended.
    pub(super) requests: u64,
    /// Whether something changed since pacing looked.
    pub(super) fresh: bool,
    pub(super) touched_ms: u64,
    /// End of the window; `None` for a run.
    pub(super) ends_ms: Option<u64>,
}

impl Account {
    /// Spent and held, by everybody.
    pub(super) fn taken(&self) -> (Usd, Usd) {
        (self.settled.saturating_add(self.elsewhere.settled), self.held.saturating_add(self.elsewhere.held))
    }
}

/// The budget that leaves a request the least room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remaining {
    /// Its name.
    pub budget: String,
    /// Its limit.
    pub limit: Usd,
    /// Spent in this window.
    pub settled: Usd,
    /// Held by requests in flight.
    pub held: Usd,
    /// What can still be reserved.
    pub remaining: Usd,
    /// When the window ends, Unix milliseconds; `None` if it never does.
    pub resets_at_ms: Option<u64>,
}

/// One counter as it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct AccountState {
    /// The budget's name.
    pub budget: String,
    /// Whose counter; empty for a global budget.
    pub subject: String,
    /// When the window began, Unix milliseconds; 0 for a run's.
    pub window_start_ms: u64,
    /// The limit in force now.
    pub limit: Usd,
    /// Spent in this window.
    pub settled: Usd,
    /// Held by requests in flight.
    pub held: Usd,
    /// The highest of the budget's `warn_at` shares that settled spending has reached.
    pub warned: Option<f64>,
    /// The price of money, in quality per dollar; 0 while nothing presses.
    pub price_of_money: f64,
}

impl std::fmt::Debug for Budgets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Budgets")
            .field("specs", &state.specs)
            .field("accounts", &state.accounts.len())
            .finish()
    }
}

impl Budgets {
    /// Budgets with these specs and nothing spent.
    pub fn new(specs: Vec<Arc<BudgetSpec>>) -> Arc<Budgets> {
        Arc::new(Budgets { state: Mutex::new(State { specs, ..State::default() }) })
    }

    /// Puts other specs in force. What was settled and held stays, by budget name, subject and window.
    pub fn replace_specs(&self, specs: Vec<Arc<BudgetSpec>>) {
        self.state.lock().specs = specs;
    }

    /// The limit of every budget, by name; of two with one name the larger, for that is what may be spent and be in order.
    pub fn limits(&self) -> BTreeMap<String, Usd> {
        let mut limits = BTreeMap::new();
        for spec in &self.state.lock().specs {
            let limit = limits.entry(spec.name.clone()).or_insert(spec.limit);
            *limit = spec.limit.max(*limit);
        }
        limits
    }

    /// Sets `amount` aside in every budget that matches, or in none.
    ///
    /// # Errors
    /// The budget it does not fit into: of several, one that waiting cannot help before one that it can,
    /// then the one with the least room. A negative amount counts as zero.
    pub fn reserve(self: &Arc<Self>, who: &Spender<'_>, amount: Usd, now_ms: u64) -> Result<Hold, Refusal> {
        let amount = amount.max(Usd::ZERO);
        let mut state = self.state.lock();
        let accounts = state.reserve(who, amount, now_ms)?;
        Ok(Hold::new(Arc::clone(self), amount, accounts, state.lapses))
    }

    /// The matching budget with the least room, or `None` when no budget matches.
    pub fn remaining(&self, who: &Spender<'_>, now_ms: u64) -> Option<Remaining> {
        let state = self.state.lock();
        let rooms = state.matching(who, now_ms).map(|(spec, id)| {
            let (settled, held) = state.account(&id).taken();
            let remaining = spec.limit.saturating_sub(settled).saturating_sub(held).max(Usd::ZERO);
            let resets_at_ms = spec.window.end_ms(now_ms);
            Remaining { budget: id.budget, limit: spec.limit, settled, held, remaining, resets_at_ms }
        });
        rooms.min_by_key(|room| room.remaining)
    }

    /// Adds spending known from the ledger, before the first request.
    pub fn restore(&self, budget: &str, subject: &str, window_start_ms: u64, settled: Usd) {
        let mut state = self.state.lock();
        let spec = state.specs.iter().find(|spec| spec.name == budget);
        // A budget that is no longer in any policy may come back with a reload; its counter waits as a run's does.
        let ends_ms = spec.and_then(|spec| spec.window.end_ms(window_start_ms));
        let id = AccountId { budget: budget.to_owned(), subject: subject.to_owned(), window_start_ms };
        let account = state.accounts.entry(id).or_default();
        account.settled = account.settled.saturating_add(settled);
        account.ends_ms = ends_ms;
        account.touched_ms = RESTORED;
    }

    /// The price of money for a request, in quality per dollar: those of its paced budgets together, for each of them
    /// is a constraint of its own. 0 while none of them presses.
    pub fn price_of_money(&self, who: &Spender<'_>, now_ms: u64) -> f64 {
        let state = self.state.lock();
        let paced = |spec: &BudgetSpec| spec.pace != Pace::Off;
        if state.pacers.is_empty() && (who.run.is_none() || !state.specs.iter().any(|spec| spec.is_of_runs()))
        {
            return 0.0;
        }
        let matching = state.matching(who, now_ms).filter(|(spec, _)| paced(spec));
        matching.map(|(spec, id)| state.price(spec, &id)).sum()
    }

    /// Every counter of the windows around `now_ms`, and those of ended windows with money still held.
    /// A budget that can have only one counter is listed even before its first request.
    pub fn snapshot(&self, now_ms: u64) -> Vec<AccountState> {
        self.state.lock().snapshot(now_ms)
    }

    /// Adds `more` to an open hold in all its accounts, or in none. A budget that is no longer in force has no say. A hold from before
    /// grants lapsed is not raised: others have charged it.
    pub(super) fn raise(
        &self,
        accounts: &[AccountId],
        more: Usd,
        lapses: u32,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let lapsed = lapses != state.lapses;
        let mut worst: Option<Refusal> = None;
        for id in accounts {
            let (settled, held) = state.account(id).taken();
            let taken = settled.saturating_add(held).saturating_add(more);
            for spec in state.specs.iter().filter(|spec| spec.name == id.budget) {
                let unleased = !lapsed && state.is_short_of_grant(spec, id, more, now_ms);
                if taken <= spec.limit && !unleased && !lapsed {
                    continue;
                }
                let refusal =
                    Refusal::new(spec, &id.subject, (settled, held), more, now_ms).unleased(unleased);
                if worst.as_ref().is_none_or(|worst| refusal.outranks(worst)) {
                    worst = Some(refusal);
                }
            }
        }
        if let Some(refusal) = worst {
            return Err(refusal);
        }
        for id in accounts {
            if let Some(account) = state.accounts.get_mut(id) {
                account.held = account.held.saturating_add(more);
            }
        }
        Ok(())
    }

    pub(super) fn close(&self, accounts: &[AccountId], amount: Usd, actual: Usd, lapses: u32) {
        let mut state = self.state.lock();
        if lapses != state.lapses {
            return;
        }
        for id in accounts {
            // Sweeping spares accounts with open holds, so the account is there.
            if let Some(account) = state.accounts.get_mut(id) {
                account.held = account.held.saturating_sub(amount);
                account.settled = account.settled.saturating_add(actual);
                account.holds = account.holds.saturating_sub(1);
                account.requests += 1;
                account.fresh = true;
            }
        }
    }
}

impl State {
    pub(super) fn matching<'s>(
        &'s self,
        who: &Spender<'_>,
        now_ms: u64,
    ) -> impl Iterator<Item = (&'s Arc<BudgetSpec>, AccountId)> {
        self.specs.iter().filter_map(move |spec| {
            let subject = spec.subject(who)?.to_owned();
            let window_start_ms = spec.window.start_ms(now_ms);
            Some((spec, AccountId { budget: spec.name.clone(), subject, window_start_ms }))
        })
    }

    pub(super) fn account(&self, id: &AccountId) -> Account {
        self.accounts.get(id).copied().unwrap_or_default()
    }

    fn reserve(&mut self, who: &Spender<'_>, amount: Usd, now_ms: u64) -> Result<Vec<AccountId>, Refusal> {
        let mut ids = Vec::new();
        let mut worst: Option<Refusal> = None;
        for (spec, id) in self.matching(who, now_ms) {
            let (settled, held) = self.account(&id).taken();
            let unleased = self.is_short_of_grant(spec, &id, amount, now_ms);
            if settled.saturating_add(held).saturating_add(amount) > spec.limit || unleased {
                let refusal =
                    Refusal::new(spec, &id.subject, (settled, held), amount, now_ms).unleased(unleased);
                if worst.as_ref().is_none_or(|worst| refusal.outranks(worst)) {
                    worst = Some(refusal);
                }
            }
            // Two policies may state a budget of one name: both limits bind, one counter is held in.
            if !ids.iter().any(|(known, _)| *known == id) {
                ids.push((id, spec.window.end_ms(now_ms)));
            }
        }
        if let Some(refusal) = worst {
            return Err(refusal);
        }
        for (id, ends_ms) in &ids {
            let account = self.accounts.entry(id.clone()).or_default();
            account.held = account.held.saturating_add(amount);
            account.holds += 1;
            account.asked += 1;
            account.touched_ms = now_ms;
            account.ends_ms = *ends_ms;
        }
        self.sweep(now_ms);
        Ok(ids.into_iter().map(|(id, _)| id).collect())
    }

    /// Forgets counters of ended windows and long idle runs. Amortised over the counters made since. A restored run may have spent a
    /// moment before this start, so it counts as touched by the first look: its next step must not find its money again.
    fn sweep(&mut self, now_ms: u64) {
        if self.accounts.len() < self.sweep_at.max(SWEEP_AT_LEAST) {
            return;
        }
        self.accounts.retain(|_, account| {
            if account.touched_ms == RESTORED {
                account.touched_ms = now_ms;
            }
            let live_until = match account.ends_ms {
                Some(ends_ms) => ends_ms.saturating_add(STEPS_BACK_MS),
                None => account.touched_ms.saturating_add(RUN_IDLE_MS),
            };
            account.holds > 0 || live_until > now_ms
        });
        self.sweep_at = self.accounts.len() * 2;
    }

    fn price(&self, spec: &BudgetSpec, id: &AccountId) -> f64 {
        if spec.is_of_runs() {
            let account = self.account(id);
            return run_price(spec.limit, account.taken().0, account.requests);
        }
        let owner = (spec.name.clone(), id.subject.clone());
        self.pacers.price(&owner)
    }

    fn snapshot(&self, now_ms: u64) -> Vec<AccountState> {
        let mut states = Vec::new();
        for spec in &self.specs {
            let current = spec.window.start_ms(now_ms);
            let mut add = |subject: &str, window_start_ms: u64, account: Account| {
                let (settled, held) = account.taken();
                let share = settled.as_f64() / spec.limit.as_f64();
                let id =
                    AccountId { budget: spec.name.clone(), subject: subject.to_owned(), window_start_ms };
                states.push(AccountState {
                    budget: spec.name.clone(),
                    subject: subject.to_owned(),
                    window_start_ms,
                    limit: spec.limit,
                    settled,
                    held,
                    warned: spec.warn_at.iter().copied().rfind(|at| share >= *at),
                    price_of_money: if spec.pace == Pace::Off { 0.0 } else { self.price(spec, &id) },
                });
            };
            let own = self.accounts.iter().filter(|(id, _)| id.budget == spec.name);
            let mut listed = false;
            for (id, account) in
                own.filter(|(id, account)| id.window_start_ms == current || account.holds > 0)
            {
                listed |= id.window_start_ms == current;
                add(&id.subject, id.window_start_ms, *account);
            }
            if let (false, Some(subject)) = (listed, spec.sole_subject()) {
                add(subject, current, Account::default());
            }
        }
        states.sort_by(|a, b| {
            (&a.budget, &a.subject, a.window_start_ms).cmp(&(&b.budget, &b.subject, b.window_start_ms))
        });
        states
    }
}
