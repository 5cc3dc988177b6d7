//! The pacing controllers of all budgets, by budget and subject, for windows follow each other; and what an earlier process knew of
//! those that have had no request since.

use std::collections::HashMap;

use crate::budget::Budgets;
use crate::budget::accounts::State;
use crate::budget::pace::{KeptPace, Pace, Pacer, Position, Shape};

/// A budget and whose counter it is.
pub(super) type Owner = (String, String);

/// All controllers.
#[derive(Default)]
pub(super) struct Pacers {
    live: HashMap<Owner, Pacer>,
    kept: HashMap<Owner, KeptPace>,
}

impl Pacers {
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// λ of a counter, in quality per dollar; 0 for one that was not looked at.
    pub(super) fn price(&self, owner: &Owner) -> f64 {
        self.live.get(owner).map_or(0.0, Pacer::price)
    }

    /// What a later process goes on with, in a fixed order.
    pub(super) fn keep(&self) -> Vec<KeptPace> {
        let known = self.live.iter().filter_map(|(owner, pacer)| pacer.keep(owner));
        let mut paces: Vec<KeptPace> = known.chain(self.kept.values().cloned()).collect();
        paces.sort_by(|a, b| (&a.budget, &a.subject).cmp(&(&b.budget, &b.subject)));
        paces
    }

    /// Takes up what an earlier process kept.
    pub(super) fn resume(&mut self, kept: Vec<KeptPace>, now_ms: u64) {
        let usable = kept.into_iter().filter(|kept| kept.is_usable(now_ms));
        self.kept = usable.map(|kept| ((kept.budget.clone(), kept.subject.clone()), kept)).collect();
    }

    /// Forgets what is not paced any more, and what nothing came for in a long time.
    pub(super) fn retain(&mut self, paced: impl Fn(&str) -> bool, now_ms: u64) {
        self.live.retain(|(budget, _), pacer| paced(budget) && !pacer.is_stale(now_ms));
        self.kept.retain(|(budget, _), kept| paced(budget) && kept.is_usable(now_ms));
    }

    /// Moves a counter's price by what was spent since the last look.
    pub(super) fn update(&mut self, owner: Owner, at: &Position, shape: &Shape, now_ms: u64) {
        let begin = |owner: &Owner| match self.kept.remove(owner) {
            Some(kept) => Pacer::resumed(&kept, at, shape, now_ms),
            None => Pacer::new(at, shape, now_ms),
        };
        self.live.entry(owner).or_insert_with_key(begin).update(at, shape, now_ms);
    }
}

impl Budgets {
    /// Whether some budget spreads its money so.
    pub fn has_pace(&self, pace: Pace) -> bool {
        self.state.lock().specs.iter().any(|spec| spec.pace == pace)
    }

    /// Moves the price of money in every paced budget by what was spent since the last time; `daily` is how a day's
    /// requests are spread. For a timer: nothing about it has to be exact in time.
    pub fn pace(&self, daily: &Shape, now_ms: u64) {
        self.state.lock().pace(daily, now_ms);
    }

    /// What pacing knows, for a later process.
    pub fn paces(&self) -> Vec<KeptPace> {
        self.state.lock().pacers.keep()
    }

    /// Goes on pacing where an earlier process left off; before the first request, and after [`Budgets::restore`].
    pub fn resume_paces(&self, kept: Vec<KeptPace>, now_ms: u64) {
        let mut state = self.state.lock();
        state.pacers.resume(kept, now_ms);
        state.accounts.values_mut().for_each(|account| account.fresh = true);
    }
}

impl State {
    fn pace(&mut self, daily: &Shape, now_ms: u64) {
        let even = Shape::even();
        let mut pacers = std::mem::take(&mut self.pacers);
        let paced = |name: &str| self.specs.iter().any(|spec| spec.name == name && spec.pace != Pace::Off);
        pacers.retain(paced, now_ms);
        for (id, account) in &mut self.accounts {
            if !std::mem::take(&mut account.fresh) {
                continue;
            }
            let Some(spec) = self.specs.iter().find(|spec| spec.name == id.budget) else { continue };
            let shape = match spec.pace {
                Pace::Off => continue,
                Pace::Even => &even,
                Pace::Daily => daily,
            };
            let Some(end) = spec.window.end_ms(now_ms) else { continue };
            if id.window_start_ms != spec.window.start_ms(now_ms) {
                continue;
            }
            let at = Position {
                limit: spec.limit,
                settled: account.settled,
                elsewhere: account.elsewhere.settled,
                requests: account.requests,
                in_flight: account.holds,
                window: (id.window_start_ms, end),
            };
            let owner = (id.budget.clone(), id.subject.clone());
            pacers.update(owner, &at, shape, now_ms);
        }
        self.pacers = pacers;
    }
}
