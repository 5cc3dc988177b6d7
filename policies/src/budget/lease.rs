//! Budgets that several gateways share: each spends what it was granted of a window, and knows what the others have.

use super::accounts::{Budgets, State};
use super::{AccountId, BudgetSpec, Spender};
use crate::money::Usd;

/// What a request needs of a window beyond what was granted of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Want {
    /// The window.
    pub account: AccountId,
    /// The budget's limit.
    pub limit: Usd,
    /// What is missing.
    pub amount: Usd,
}

/// What is taken of a window by others.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Elsewhere {
    /// Spent.
    pub settled: Usd,
    /// Held, or leased to be.
    pub held: Usd,
}

/// What is known of others is worth asking again after this.
const FRESH_MS: u64 = 1_000;

/// A window that nothing was asked of since the last look; what was granted and is not used is taken back already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quiet {
    /// The window.
    pub account: AccountId,
    /// What was spent here.
    pub settled: Usd,
}

impl Budgets {
    /// From now on only what is granted may be spent.
    pub fn share(&self) {
        self.state.lock().shared = true;
    }

    /// What has to be granted before `amount` can be reserved.
    pub fn wants(&self, who: &Spender<'_>, amount: Usd, now_ms: u64) -> Vec<Want> {
        let state = self.state.lock();
        let ids: Vec<AccountId> = state.matching(who, now_ms).map(|(_, id)| id).collect();
        state.missing(&ids, amount)
    }

    /// What has to be granted before open holds in these windows can be raised by `more`.
    pub fn wants_more(&self, accounts: &[AccountId], more: Usd) -> Vec<Want> {
        self.state.lock().missing(accounts, more)
    }

    /// Takes a grant, and what is known of the others.
    pub fn grant(&self, id: &AccountId, granted: Usd, elsewhere: Elsewhere, now_ms: u64) {
        let mut state = self.state.lock();
        let spec = state.specs.iter().find(|spec| spec.name == id.budget);
        let ends_ms = spec.and_then(|spec| spec.window.end_ms(id.window_start_ms));
        let account = state.accounts.entry(id.clone()).or_default();
        account.granted = account.granted.saturating_add(granted);
        account.leased |= granted > Usd::ZERO;
        (account.elsewhere, account.seen_ms) = (elsewhere, now_ms);
        account.ends_ms = ends_ms;
        if granted > Usd::ZERO || account.touched_ms == 0 {
            account.touched_ms = now_ms;
        }
    }

    /// What was granted is at least this, by the books: a request that cost more than it held has spent more than the grant, and that
    /// much of it is no want of a grant any more.
    pub fn entitle(&self, id: &AccountId, entitled: Usd) {
        if let Some(account) = self.state.lock().accounts.get_mut(id) {
            account.granted = account.granted.max(entitled);
        }
    }

    /// The grants are gone, for others took this one for gone: they have what was spent here on record, and have charged what was held in
    /// full. So it is theirs from now on, and what becomes of those holds changes nothing here.
    pub fn lapse(&self) {
        let mut state = self.state.lock();
        state.lapses += 1;
        for account in state.accounts.values_mut().filter(|account| account.leased || account.holds > 0) {
            let charged = account.settled.saturating_add(account.held);
            account.elsewhere.settled = account.elsewhere.settled.saturating_add(charged);
            (account.settled, account.held, account.granted) = (Usd::ZERO, Usd::ZERO, Usd::ZERO);
            (account.holds, account.leased) = (0, false);
        }
    }

    /// Every window that something was granted of.
    pub fn shared_windows(&self) -> Vec<AccountId> {
        let state = self.state.lock();
        state.accounts.iter().filter(|(_, account)| account.leased).map(|(id, _)| id.clone()).collect()
    }

    /// Takes back what was granted of windows that nothing is held in and nothing was asked of since the last look.
    pub fn quiet(&self) -> Vec<Quiet> {
        let mut state = self.state.lock();
        let mut quiet = Vec::new();
        for (id, account) in &mut state.accounts {
            let still = account.leased && account.holds == 0 && account.asked == account.asked_before;
            account.asked_before = account.asked;
            if still {
                account.granted = account.settled;
                quiet.push(Quiet { account: id.clone(), settled: account.settled });
            }
        }
        quiet
    }

    /// What was spent in a quiet window is known elsewhere, to the last nanodollar: it need not be known here.
    pub fn forget(&self, quiet: &Quiet, elsewhere: Elsewhere) {
        let mut state = self.state.lock();
        if let Some(account) = state.accounts.get_mut(&quiet.account)
            && account.holds == 0
            && account.settled == quiet.settled
            && account.granted == account.settled
        {
            account.elsewhere = Elsewhere {
                settled: elsewhere.settled.saturating_add(account.settled),
                held: elsewhere.held,
            };
            (account.settled, account.granted, account.leased) = (Usd::ZERO, Usd::ZERO, false);
        }
    }
}

impl State {
    fn missing(&self, ids: &[AccountId], amount: Usd) -> Vec<Want> {
        if !self.shared {
            return Vec::new();
        }
        let mut wants: Vec<Want> = Vec::new();
        for id in ids {
            if wants.iter().any(|want| want.account == *id) {
                continue;
            }
            let account = self.account(id);
            let needed = account.settled.saturating_add(account.held).saturating_add(amount);
            let missing = needed.saturating_sub(account.granted);
            let limit = self.specs.iter().filter(|spec| spec.name == id.budget).map(|spec| spec.limit).min();
            if let Some(limit) = limit.filter(|_| missing > Usd::ZERO) {
                wants.push(Want { account: id.clone(), limit, amount: missing });
            }
        }
        wants
    }

    /// Whether `amount` more is not granted, though the limit may have room for it: as far as is known, or as nobody has looked for a
    /// while.
    pub(super) fn is_short_of_grant(
        &self,
        spec: &BudgetSpec,
        id: &AccountId,
        amount: Usd,
        now_ms: u64,
    ) -> bool {
        if !self.shared {
            return false;
        }
        let account = self.account(id);
        let own = account.settled.saturating_add(account.held).saturating_add(amount);
        let others = account.elsewhere.settled.saturating_add(account.elsewhere.held);
        let stale = now_ms.abs_diff(account.seen_ms) >= FRESH_MS;
        let room = own.saturating_add(others) <= spec.limit || (stale && own <= spec.limit);
        own > account.granted && room
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NO_TAGS, spec};
    use super::*;
    use crate::budget::{Scope, Window};

    const NOBODY: Spender<'static> =
        Spender { key: None, team: None, tags: &NO_TAGS, run: None, learning: None };

    fn usd(cents: i64) -> Usd {
        Usd::from_nanos(cents * 10_000_000)
    }

    fn nothing() -> Elsewhere {
        Elsewhere::default()
    }

    #[test]
    fn only_what_is_granted_can_be_reserved() {
        let budgets = Budgets::new(vec![spec("all", Scope::Global, usd(100), Window::Day)]);
        budgets.share();
        let refusal = budgets.reserve(&NOBODY, usd(10), 0).unwrap_err();
        assert!(refusal.unleased, "{refusal}");
        let wants = budgets.wants(&NOBODY, usd(10), 0);
        assert_eq!((wants.len(), wants[0].amount, wants[0].limit), (1, usd(10), usd(100)));
        budgets.grant(&wants[0].account, usd(15), nothing(), 0);
        let hold = budgets.reserve(&NOBODY, usd(10), 0).unwrap();
        assert!(budgets.reserve(&NOBODY, usd(10), 0).unwrap_err().unleased);
        assert_eq!(budgets.wants(&NOBODY, usd(10), 0)[0].amount, usd(5));
        hold.settle(usd(2));
        // 2 are spent and 13 are left of what was granted.
        assert!(budgets.wants(&NOBODY, usd(13), 0).is_empty());
        // What others have leaves no room, and that is no want of a grant.
        budgets.grant(&wants[0].account, Usd::ZERO, Elsewhere { settled: usd(60), held: usd(30) }, 0);
        let refusal = budgets.reserve(&NOBODY, usd(14), 0).unwrap_err();
        assert!(!refusal.unleased && refusal.settled == usd(62) && refusal.held == usd(30), "{refusal}");
        // A while later it is worth asking again, unless the window is spent here already.
        assert!(budgets.reserve(&NOBODY, usd(14), FRESH_MS).unwrap_err().unleased);
        assert!(!budgets.reserve(&NOBODY, usd(99), FRESH_MS).unwrap_err().unleased);
    }

    #[test]
    fn what_cost_more_than_was_granted_is_wanted_once() {
        let budgets = Budgets::new(vec![spec("all", Scope::Global, usd(100), Window::Day)]);
        budgets.share();
        let account = budgets.wants(&NOBODY, usd(1), 0).remove(0).account;
        budgets.grant(&account, usd(10), nothing(), 0);
        budgets.reserve(&NOBODY, usd(10), 0).unwrap().settle(usd(30));
        assert_eq!(budgets.wants(&NOBODY, usd(5), 0)[0].amount, usd(25), "nobody has booked it yet");
        budgets.entitle(&account, usd(30));
        assert_eq!(budgets.wants(&NOBODY, usd(5), 0)[0].amount, usd(5));
        budgets.entitle(&account, usd(20));
        assert_eq!(budgets.wants(&NOBODY, usd(5), 0)[0].amount, usd(5), "what is granted stays so");
    }

    #[test]
    fn a_quiet_window_gives_back_and_is_forgotten() {
        let budgets = Budgets::new(vec![spec("all", Scope::Global, usd(100), Window::Day)]);
        budgets.share();
        let account = budgets.wants(&NOBODY, usd(1), 0).remove(0).account;
        budgets.grant(&account, usd(20), nothing(), 0);
        budgets.reserve(&NOBODY, usd(5), 0).unwrap().settle(usd(4));
        assert!(budgets.quiet().is_empty(), "something was asked since the last look");
        let quiet = budgets.quiet();
        assert_eq!(quiet, [Quiet { account: account.clone(), settled: usd(4) }]);
        assert!(budgets.reserve(&NOBODY, usd(1), 0).unwrap_err().unleased, "it was taken back at once");
        budgets.forget(&quiet[0], Elsewhere { settled: usd(3), held: Usd::ZERO });
        let left = budgets.remaining(&NOBODY, 0).unwrap();
        assert_eq!((left.settled, left.remaining), (usd(7), usd(93)));
    }

    #[test]
    fn what_was_spent_and_held_when_grants_lapse_is_the_others_to_count() {
        let budgets = Budgets::new(vec![spec("all", Scope::Global, usd(100), Window::Day)]);
        budgets.share();
        let account = budgets.wants(&NOBODY, usd(1), 0).remove(0).account;
        budgets.grant(&account, usd(40), nothing(), 0);
        budgets.reserve(&NOBODY, usd(10), 0).unwrap().settle(usd(10));
        let mut open = budgets.reserve(&NOBODY, usd(5), 0).unwrap();
        budgets.lapse();
        let left = || budgets.remaining(&NOBODY, 0).unwrap().remaining;
        assert_eq!(left(), usd(85), "charged in full");
        assert!(budgets.reserve(&NOBODY, usd(1), 0).unwrap_err().unleased, "nothing is granted any more");
        assert!(!open.raise(usd(6), 0).unwrap_err().unleased, "the others have charged it");
        // They may know more than was known here.
        budgets.grant(&account, usd(20), Elsewhere { settled: usd(30), held: Usd::ZERO }, 0);
        let anew = budgets.reserve(&NOBODY, usd(20), 0).unwrap();
        open.settle(usd(3));
        assert_eq!(left(), usd(50));
        assert!(
            budgets.reserve(&NOBODY, usd(1), 0).unwrap_err().unleased,
            "what the old hold left is no grant"
        );
        anew.settle(usd(4));
        budgets.quiet();
        assert_eq!(budgets.quiet(), [Quiet { account, settled: usd(4) }], "all but this is given back");
    }
}
