//! Any order of steps on budgets, against a second book kept from the outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{NO_TAGS, spec};
use super::*;
use crate::money::Usd;

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        team: u8,
        run: bool,
        amount: i64,
    },
    /// In hundredths of what is held: more than 100 is a bound that was wrong.
    Settle {
        hold: usize,
        share: u8,
    },
    /// The same request needs more: a fallback beside what was lost.
    Raise {
        hold: usize,
        more: i64,
    },
    Release {
        hold: usize,
    },
    Drop {
        hold: usize,
    },
    Wait {
        minutes: u64,
    },
    /// The clock is set back.
    Back {
        minutes: u64,
    },
    /// The process dies: what was settled is known, and what was held is settled in full.
    Crash,
    /// Pacing looks.
    Pace,
    Reload {
        limits: [i64; 3],
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u8..3, any::<bool>(), 0i64..600).prop_map(|(team, run, amount)| Step::Reserve { team, run, amount }),
        3 => (any::<usize>(), 0u8..=110).prop_map(|(hold, share)| Step::Settle { hold, share }),
        1 => (any::<usize>(), 0i64..300).prop_map(|(hold, more)| Step::Raise { hold, more }),
        1 => any::<usize>().prop_map(|hold| Step::Release { hold }),
        1 => any::<usize>().prop_map(|hold| Step::Drop { hold }),
        1 => (1u64..2_000).prop_map(|minutes| Step::Wait { minutes }),
        1 => (1u64..200).prop_map(|minutes| Step::Back { minutes }),
        1 => Just(Step::Crash),
        1 => Just(Step::Pace),
        1 => prop::array::uniform3(0i64..1_500).prop_map(|limits| Step::Reload { limits }),
    ]
}

fn three(limits: [i64; 3]) -> Vec<Arc<BudgetSpec>> {
    let [all, teams, runs] = limits.map(Usd::from_nanos);
    vec![
        spec("all", Scope::Global, all, Window::Hour),
        spec("teams", Scope::Team(Subject::Each), teams, Window::Day),
        spec("runs", Scope::Run, runs, Window::Run),
    ]
}

/// What every account must hold, by a second book kept from the outside.
type Book = BTreeMap<AccountId, (i64, i64)>;

fn agrees(budgets: &Budgets, book: &Book, now: u64) -> Result<(), TestCaseError> {
    for account in budgets.snapshot(now) {
        let AccountState { budget, subject, window_start_ms, .. } = account.clone();
        let kept = book.get(&AccountId { budget, subject, window_start_ms }).copied().unwrap_or_default();
        prop_assert_eq!((account.settled.nanos(), account.held.nanos()), kept, "{:?}", account);
    }
    Ok(())
}

/// 400, or `TOLLGATE_CASES`: `make fuzz` takes more.
fn cases() -> u32 {
    std::env::var("TOLLGATE_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn nothing_is_ever_overspent_lost_or_counted_twice(steps in prop::collection::vec(step(), 1..120)) {
        let mut limits = [1_000, 700, 500];
        let mut budgets = Budgets::new(three(limits));
        let (mut now, mut holds, mut book) = (0u64, Vec::<Hold>::new(), Book::new());
        for step in steps {
            let mut end = |hold: &Hold, settled: i64| {
                for id in hold.accounts() {
                    let kept = book.get_mut(id).unwrap();
                    *kept = (kept.0 + settled, kept.1 - hold.amount().nanos());
                }
            };
            match step {
                Step::Reserve { team, run, amount } => {
                    let name = format!("team-{team}");
                    let who = Spender { key: None, team: Some(&name), tags: &NO_TAGS, run: run.then_some("r"), learning: None };
                    let room = budgets.remaining(&who, now).unwrap().remaining;
                    match budgets.reserve(&who, Usd::from_nanos(amount), now) {
                        Ok(hold) => {
                            for id in hold.accounts() {
                                let kept = book.entry(id.clone()).or_default();
                                kept.1 += amount;
                                let limit = limits[["all", "teams", "runs"].iter().position(|n| *n == id.budget).unwrap()];
                                // Nothing fits a limit that was lowered below what is spent, except what is free too.
                                prop_assert!(kept.0 + kept.1 <= limit);
                            }
                            holds.push(hold);
                        }
                        Err(refusal) => {
                            prop_assert!(refusal.settled.nanos() + refusal.held.nanos() + amount > refusal.limit.nanos());
                            prop_assert!(room < Usd::from_nanos(amount) || amount == 0);
                        }
                    }
                }
                Step::Settle { hold, share } if !holds.is_empty() => {
                    let hold = holds.swap_remove(hold % holds.len());
                    let actual = hold.amount().nanos() * i64::from(share) / 100;
                    end(&hold, actual);
                    hold.settle(Usd::from_nanos(actual));
                }
                Step::Release { hold } if !holds.is_empty() => {
                    let hold = holds.swap_remove(hold % holds.len());
                    end(&hold, 0);
                    hold.release();
                }
                Step::Drop { hold } if !holds.is_empty() => {
                    let hold = holds.swap_remove(hold % holds.len());
                    end(&hold, 0);
                    drop(hold);
                }
                Step::Raise { hold, more } if !holds.is_empty() => {
                    let place = hold % holds.len();
                    let hold = &mut holds[place];
                    let wanted = hold.amount().nanos() + more;
                    // Holds of one request stay in the accounts they were made in, so its limits then are those of today.
                    if hold.raise(Usd::from_nanos(wanted), now).is_ok() {
                        for id in hold.accounts() {
                            let kept = book.get_mut(id).unwrap();
                            kept.1 += more;
                            let limit = limits[["all", "teams", "runs"].iter().position(|n| *n == id.budget).unwrap()];
                            prop_assert!(more == 0 || kept.0 + kept.1 <= limit);
                        }
                    } else {
                        prop_assert_eq!(hold.amount().nanos(), wanted - more);
                    }
                }
                Step::Wait { minutes } => now += minutes * 60_000,
                Step::Back { minutes } => now = now.saturating_sub(minutes * 60_000),
                Step::Pace => budgets.pace(&Shape::even(), now),
                Step::Crash => {
                    budgets = Budgets::new(three(limits));
                    holds.drain(..).for_each(std::mem::forget);
                    for (id, kept) in &mut book {
                        *kept = (kept.0 + kept.1, 0);
                        budgets.restore(&id.budget, &id.subject, id.window_start_ms, Usd::from_nanos(kept.0));
                    }
                }
                Step::Reload { limits: new } => {
                    limits = new;
                    budgets.replace_specs(three(limits));
                }
                _ => {}
            }
            agrees(&budgets, &book, now)?;
        }
        drop(holds);
        prop_assert!(budgets.snapshot(now).iter().all(|account| account.held == Usd::ZERO));
    }
}
