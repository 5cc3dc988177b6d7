use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::money::Usd;

const HOUR: u64 = 3_600_000;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

pub(super) fn spec(name: &str, scope: Scope, limit: Usd, window: Window) -> Arc<BudgetSpec> {
    let (name, on_exhausted, warn_at) = (name.to_owned(), OnExhausted::Reject, vec![0.5, 0.8]);
    Arc::new(BudgetSpec { name, scope, limit, window, on_exhausted, warn_at, pace: Pace::Even })
}

fn daily(name: &str, limit: &str) -> Arc<BudgetSpec> {
    spec(name, Scope::Global, usd(limit), Window::Day)
}

fn each_team(limit: &str) -> Arc<BudgetSpec> {
    spec("teams", Scope::Team(Subject::Each), usd(limit), Window::Day)
}

pub(super) static NO_TAGS: BTreeMap<String, String> = BTreeMap::new();

fn team(team: &str) -> Spender<'_> {
    Spender { key: None, team: Some(team), tags: &NO_TAGS, run: None, learning: None }
}

const NOBODY: Spender<'static> = Spender { key: None, team: None, tags: &NO_TAGS, run: None, learning: None };

#[test]
fn a_hold_counts_until_it_ends_and_then_only_what_was_spent() {
    let budgets = Budgets::new(vec![daily("all", "1")]);
    let hold = budgets.reserve(&NOBODY, usd("0.8"), 0).unwrap();
    let refusal = budgets.reserve(&NOBODY, usd("0.3"), 0).unwrap_err();
    assert_eq!((refusal.kind, refusal.remaining()), (RefusalKind::HeldInFlight, usd("0.2")));
    hold.settle(usd("0.1"));
    let left = budgets.remaining(&NOBODY, 0).unwrap();
    assert_eq!((left.settled, left.held, left.remaining), (usd("0.1"), Usd::ZERO, usd("0.9")));
    assert_eq!(left.resets_at_ms, Some(24 * HOUR));
    drop(budgets.reserve(&NOBODY, usd("0.9"), 0).unwrap());
    budgets.reserve(&NOBODY, usd("0.9"), 0).unwrap().release();
    assert_eq!(budgets.remaining(&NOBODY, 0).unwrap().remaining, usd("0.9"));
}

#[test]
fn the_whole_limit_may_be_spent_and_no_nanodollar_more() {
    let budgets = Budgets::new(vec![daily("all", "1")]);
    budgets.reserve(&NOBODY, usd("1"), 0).unwrap().settle(usd("1"));
    assert_eq!(budgets.reserve(&NOBODY, Usd::from_nanos(1), 0).unwrap_err().kind, RefusalKind::Exhausted);
    // What is free still runs.
    budgets.reserve(&NOBODY, Usd::ZERO, 0).unwrap().settle(Usd::ZERO);
}

#[test]
fn a_hold_is_raised_in_all_its_accounts_or_in_none() {
    let budgets = Budgets::new(vec![each_team("1"), daily("all", "1.5")]);
    let mut search = budgets.reserve(&team("search"), usd("0.4"), 0).unwrap();
    let ads = budgets.reserve(&team("ads"), usd("0.7"), 0).unwrap();
    // Only the difference has to fit: 0.4 of the 1.5 are left.
    let refusal = search.raise(usd("0.9"), 0).unwrap_err();
    assert_eq!((refusal.budget.as_str(), refusal.needed, search.amount()), ("all", usd("0.5"), usd("0.4")));
    assert_eq!(budgets.remaining(&team("search"), 0).unwrap().remaining, usd("0.4"));
    search.raise(usd("0.8"), 0).unwrap();
    search.raise(usd("0.2"), 0).unwrap();
    assert_eq!((search.amount(), budgets.remaining(&NOBODY, 0).unwrap().remaining), (usd("0.8"), Usd::ZERO));
    ads.release();
    assert_eq!(search.raise(usd("1.1"), 0).unwrap_err().budget, "teams");
    // A budget taken out of force has no say any more, and the hold still ends where it began.
    budgets.replace_specs(vec![daily("all", "1.5")]);
    search.raise(usd("1.2"), 25 * HOUR).unwrap();
    search.settle(usd("1.1"));
    let left = budgets.remaining(&NOBODY, 0).unwrap();
    assert_eq!((left.settled, left.held), (usd("1.1"), Usd::ZERO));
    assert_eq!(budgets.remaining(&NOBODY, 25 * HOUR).unwrap().settled, Usd::ZERO);
}

#[test]
fn all_matching_budgets_or_none() {
    let budgets = Budgets::new(vec![each_team("1"), daily("all", "1.5")]);
    let held = budgets.reserve(&team("search"), usd("1"), 0).unwrap();
    assert_eq!(held.accounts().len(), 2);
    let refusal = budgets.reserve(&team("ads"), usd("0.6"), 0).unwrap_err();
    assert_eq!(refusal.budget, "all");
    // The refused request left nothing behind in its team's counter.
    assert_eq!(budgets.remaining(&team("ads"), 0).unwrap().remaining, usd("0.5"));
    assert!(budgets.snapshot(0).iter().all(|account| account.subject != "ads"));
}

#[test]
fn the_refusal_told_is_the_one_that_waiting_cannot_help() {
    let budgets = Budgets::new(vec![daily("held", "1"), each_team("0.5")]);
    budgets.reserve(&team("a"), usd("0.5"), 0).unwrap().settle(usd("0.5"));
    let _held = budgets.reserve(&team("b"), usd("0.5"), 0).unwrap();
    let refusal = budgets.reserve(&team("a"), usd("0.1"), 0).unwrap_err();
    assert_eq!((refusal.budget.as_str(), refusal.subject.as_str()), ("teams", "a"));
    insta::assert_snapshot!(refusal, @r#"budget "teams" of "a" is spent: limit 0.500000 USD, settled 0.500000, held by requests in flight 0.000000, needed 0.100000, resets at 1970-01-02T00:00:00Z"#);
}

#[test]
fn everyone_has_a_counter_of_their_own_and_nobody_has_none() {
    let budgets = Budgets::new(vec![each_team("1")]);
    budgets.reserve(&team("a"), usd("1"), 0).unwrap().settle(usd("1"));
    assert!(budgets.reserve(&team("a"), usd("1"), 0).is_err());
    assert!(budgets.reserve(&team("b"), usd("1"), 0).is_ok());
    for outside in [NOBODY, team("")] {
        assert!(budgets.reserve(&outside, usd("9"), 0).unwrap().accounts().is_empty());
        assert_eq!(budgets.remaining(&outside, 0), None);
    }
}

#[test]
fn scopes_match_what_they_name() {
    let tags = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
    let who = Spender { key: Some("ci"), team: Some("search"), tags: &tags, run: Some("r1"), learning: None };
    let tag = |value| Scope::Tag { name: "env".to_owned(), value };
    let named = |name: &str| Subject::Named(name.to_owned());
    for (scope, subject) in [
        (Scope::Global, Some("")),
        (Scope::Key(named("ci")), Some("ci")),
        (Scope::Key(named("cd")), None),
        (Scope::Team(Subject::Each), Some("search")),
        (tag(named("prod")), Some("prod")),
        (tag(named("dev")), None),
        (tag(Subject::Each), Some("prod")),
        (Scope::Tag { name: "other".to_owned(), value: Subject::Each }, None),
        (Scope::Run, Some("r1")),
    ] {
        let spec = spec("x", scope.clone(), usd("1"), Window::Day);
        assert_eq!(spec.subject(&who), subject, "{scope:?}");
    }
}

#[test]
fn a_window_starts_from_zero_and_late_money_stays_where_it_was_held() {
    let budgets = Budgets::new(vec![spec("hourly", Scope::Global, usd("1"), Window::Hour)]);
    let late = budgets.reserve(&NOBODY, usd("0.9"), HOUR - 1).unwrap();
    assert_eq!(late.accounts()[0].window_start_ms, 0);
    budgets.reserve(&NOBODY, usd("1"), HOUR).unwrap().settle(usd("1"));
    late.settle(usd("0.9"));
    let states = budgets.snapshot(HOUR);
    assert_eq!(states.len(), 1);
    assert_eq!((states[0].window_start_ms, states[0].settled, states[0].warned), (HOUR, usd("1"), Some(0.8)));
}

#[test]
fn a_reload_changes_limits_and_forgets_nothing() {
    let budgets = Budgets::new(vec![daily("all", "2")]);
    budgets.reserve(&NOBODY, usd("1.5"), 0).unwrap().settle(usd("1.5"));
    let open = budgets.reserve(&NOBODY, usd("0.5"), 0).unwrap();
    budgets.replace_specs(vec![daily("all", "1")]);
    assert_eq!(budgets.remaining(&NOBODY, 0).unwrap().remaining, Usd::ZERO);
    budgets.replace_specs(vec![]);
    assert!(budgets.reserve(&NOBODY, usd("9"), 0).is_ok());
    open.settle(usd("0.5"));
    budgets.replace_specs(vec![daily("all", "3")]);
    assert_eq!(budgets.remaining(&NOBODY, 0).unwrap().remaining, usd("1"));
}

#[test]
fn two_budgets_of_one_name_share_a_counter_and_both_bind() {
    let budgets = Budgets::new(vec![daily("all", "2"), daily("all", "1")]);
    let hold = budgets.reserve(&NOBODY, usd("1"), 0).unwrap();
    assert_eq!(hold.accounts().len(), 1);
    assert!(budgets.reserve(&NOBODY, usd("0.1"), 0).is_err());
    hold.settle(usd("0.4"));
    assert_eq!(budgets.remaining(&NOBODY, 0).unwrap().remaining, usd("0.6"));
}

#[test]
fn spending_known_from_the_ledger_counts() {
    let budgets = Budgets::new(vec![each_team("1")]);
    budgets.restore("teams", "a", 0, usd("0.7"));
    budgets.restore("teams", "a", 0, usd("0.2"));
    budgets.restore("gone", "", 0, usd("5"));
    assert_eq!(budgets.remaining(&team("a"), 0).unwrap().remaining, usd("0.1"));
}

#[test]
fn counters_nobody_needs_are_forgotten_and_open_holds_never() {
    let each_run = spec("runs", Scope::Run, usd("1"), Window::Run);
    let budgets = Budgets::new(vec![each_run, each_team("1")]);
    let spend = |run: &str, at| {
        let who = Spender { key: None, team: Some(run), tags: &NO_TAGS, run: Some(run), learning: None };
        budgets.reserve(&who, usd("0.5"), at).unwrap()
    };
    let open = spend("open", 0);
    (0..3_000).for_each(|run| spend(&format!("old-{run}"), 0).settle(usd("0.5")));
    let later = 8 * 24 * HOUR;
    (0..3_000).for_each(|run| spend(&format!("new-{run}"), later).settle(usd("0.5")));
    let accounts = budgets.snapshot(later);
    assert!(accounts.iter().all(|account| !account.subject.starts_with("old-")));
    assert_eq!(accounts.iter().filter(|account| account.subject.starts_with("new-")).count(), 6_000);
    assert_eq!(accounts.iter().filter(|account| account.held == usd("0.5")).count(), 2);
    open.settle(usd("0.5"));
}

#[test]
fn restored_runs_are_not_forgotten_by_the_first_request_of_a_start() {
    let budgets = Budgets::new(vec![spec("runs", Scope::Run, usd("1"), Window::Run)]);
    let runs: Vec<String> = (0..2_000).map(|run| format!("run-{run}")).collect();
    runs.iter().for_each(|run| budgets.restore("runs", run, 0, usd("1")));
    fn of(run: &str) -> Spender<'_> {
        Spender { run: Some(run), ..NOBODY }
    }
    let start = 400 * 24 * HOUR;
    budgets.reserve(&of("first"), usd("1"), start).unwrap().settle(usd("1"));
    assert!(runs.iter().all(|run| budgets.reserve(&of(run), usd("1"), start).is_err()), "spent already");
    // A week later they are idle as any other.
    let later = start + 8 * 24 * HOUR;
    (0..4_000).for_each(|run| drop(budgets.reserve(&of(&format!("new-{run}")), usd("1"), later).unwrap()));
    assert!(budgets.reserve(&of("run-7"), usd("1"), later).is_ok());
}

#[test]
fn threads_together_never_pass_a_limit() {
    let budgets = Budgets::new(vec![each_team("0.1"), daily("all", "0.15")]);
    let watch = |budgets: &Budgets| {
        for account in budgets.snapshot(0) {
            assert!(account.settled.saturating_add(account.held) <= account.limit, "{account:?}");
        }
    };
    std::thread::scope(|scope| {
        for worker in 0..8u64 {
            let budgets = &budgets;
            scope.spawn(move || {
                for turn in 0..2_000u64 {
                    let name = if (worker + turn) % 2 == 0 { "a" } else { "b" };
                    let amount = Usd::from_nanos(1 + i64::try_from(turn * 7_919 % 50_000_000).unwrap());
                    match budgets.reserve(&team(name), amount, 0) {
                        Ok(hold) if turn % 3 == 0 => hold.settle(Usd::from_nanos(hold_share(amount))),
                        Ok(hold) if turn % 3 == 1 => hold.release(),
                        Ok(hold) => drop(hold),
                        Err(refusal) => assert!(refusal.needed > refusal.remaining()),
                    }
                    watch(budgets);
                }
            });
        }
    });
    watch(&budgets);
    assert!(budgets.snapshot(0).iter().all(|account| account.held == Usd::ZERO));
    assert!(budgets.remaining(&team("a"), 0).unwrap().settled > Usd::ZERO);
}

fn hold_share(amount: Usd) -> i64 {
    amount.nanos() / 100
}
