//! A day of requests through the router and a budget.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use tollgate::reserve::afford;
use tollgate_policies::{
    BudgetSpec, Budgets, Hold, OnExhausted, Pace, PerToken, Policy, Price, Scope, Shape, Spender, Usage, Usd,
    Window,
};
use tollgate_router::{Catalog, Decision, Live, Model, Needs, decide};

use crate::traffic::{Arrival, Prompt};

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;
/// As the gateway looks.
const TICK_MS: u64 = 1_000;
/// How long an answer takes: a second, and the demo's decoding speed.
const MS_PER_TOKEN: u64 = 30;

/// What all days have in common.
pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) catalog: Catalog,
    pub(crate) prompts: Vec<Prompt>,
}

/// What a budget does about its limit.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) name: &'static str,
    pace: Pace,
    on_exhausted: OnExhausted,
}

impl Rules {
    pub(crate) const FREE: Rules = Rules { name: "free", pace: Pace::Off, on_exhausted: OnExhausted::Reject };
    pub(crate) const CUT_OFF: Rules = Rules { name: "cut-off", ..Rules::FREE };
    pub(crate) const DOWNGRADE: Rules =
        Rules { name: "downgrade", pace: Pace::Off, on_exhausted: OnExhausted::Downgrade };
    pub(crate) const PACED: Rules = Rules { name: "paced", pace: Pace::Even, ..Rules::DOWNGRADE };
    pub(crate) const PACED_DAILY: Rules =
        Rules { name: "paced, daily", pace: Pace::Daily, ..Rules::DOWNGRADE };
}

/// What came of a day.
#[derive(Default)]
pub(crate) struct Day {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) spent: Usd,
    /// Good answers, as expected and as graded; a refused request has none.
    pub(crate) expected: f64,
    pub(crate) graded: f64,
    /// Spent by the end of each tenth of an hour, USD.
    pub(crate) curve: Vec<f64>,
    /// The price of money then.
    pub(crate) prices: Vec<f64>,
}

/// Days that follow each other under the same rules.
pub(crate) struct Run<'w> {
    world: &'w World,
    budgets: Arc<Budgets>,
    /// Requests by the hour, of all days so far.
    hours: [f64; 24],
    tags: BTreeMap<String, String>,
}

/// Answers under way: when they end, and which of `open` they are.
type Ends = BinaryHeap<Reverse<(u64, usize)>>;

impl<'w> Run<'w> {
    pub(crate) fn new(world: &'w World, rules: Rules, limit: Usd) -> Run<'w> {
        let budget = BudgetSpec {
            name: "day".to_owned(),
            scope: Scope::Global,
            limit,
            window: Window::Day,
            on_exhausted: rules.on_exhausted,
            warn_at: Vec::new(),
            pace: rules.pace,
        };
        Run { world, budgets: Budgets::new(vec![Arc::new(budget)]), hours: [0.0; 24], tags: BTreeMap::new() }
    }

    /// One day, midnight to midnight, with nothing left in flight at its end.
    pub(crate) fn day(&mut self, day: u64, arrivals: &[Arrival]) -> Day {
        let (start, mut done) = (day * DAY_MS, Day::default());
        let shape = Shape::of(self.hours);
        let (mut open, mut ends): (Vec<Option<(Hold, Usd)>>, Ends) = (Vec::new(), Ends::new());
        let mut tick = start;
        for arrival in arrivals {
            while tick <= arrival.at_ms {
                settle(&mut open, &mut ends, tick, &mut done);
                self.budgets.pace(&shape, tick);
                if (tick - start) % (HOUR_MS / 10) == 0 {
                    done.curve.push(done.spent.as_f64());
                    done.prices.push(self.budgets.price_of_money(&self.spender(), tick));
                }
                tick += TICK_MS;
            }
            settle(&mut open, &mut ends, arrival.at_ms, &mut done);
            done.requests += 1;
            self.hours[((arrival.at_ms - start) / HOUR_MS) as usize] += 1.0;
            let prompt = &self.world.prompts[arrival.prompt];
            let Some((decision, hold)) = self.reserve(prompt, arrival) else {
                done.refused += 1;
                continue;
            };
            let place = decision.ranked[0];
            let (prompt_tokens, wanted) = prompt.used[place];
            let completion_tokens = wanted.min(decision.verdicts[place].output_cap);
            let usage = Usage { prompt_tokens, completion_tokens, ..Usage::default() };
            let cost = self.catalog(arrival.price).models()[place].price.cost(&usage);
            // An answer that money cut short is taken for a bad one.
            let whole = f64::from(u8::from(completion_tokens == wanted));
            done.expected += whole * decision.verdicts[place].p_good;
            done.graded += whole * f64::from(u8::from(prompt.good[place]));
            ends.push(Reverse((arrival.at_ms + 1_000 + completion_tokens * MS_PER_TOKEN, open.len())));
            open.push(Some((hold, cost)));
        }
        settle(&mut open, &mut ends, u64::MAX, &mut done);
        done.curve.push(done.spent.as_f64());
        done
    }

    /// As the gateway does: decide, hold the worst case, decide again for what is left.
    fn reserve(&self, prompt: &Prompt, arrival: &Arrival) -> Option<(Decision, Hold)> {
        let catalog = self.catalog(arrival.price);
        let decide = |affordable| self.decide(prompt, &catalog, arrival.at_ms, affordable);
        let worst = |decision: &Decision| decision.verdicts[decision.ranked[0]].worst_cost;
        let again = |left| decide(Some(left));
        afford(&self.budgets, &self.spender(), arrival.at_ms, decide(None)?, worst, again, |_| {}).ok()
    }

    fn decide(
        &self,
        prompt: &Prompt,
        catalog: &Catalog,
        now_ms: u64,
        affordable: Option<Usd>,
    ) -> Option<Decision> {
        let needs = Needs {
            prompt_tokens: prompt.tokens,
            prompt_tokens_upper: prompt.tokens_upper,
            max_tokens: Some(1024),
            affordable,
            ..Needs::default()
        };
        let facts = prompt.score.facts(prompt.tokens, &self.tags, self.world.policy.objective.quality);
        let live = [Live { tokens_per_second: 30.0, prompt_tokens_per_second: 500.0, ..Live::default() }; 2];
        let price = self.budgets.price_of_money(&self.spender(), now_ms);
        decide(&self.world.policy, catalog, &live, &prompt.score, &facts, &needs, price).ok()
    }

    /// The catalogue with the large model at this many times its price.
    fn catalog(&self, times: u64) -> Catalog {
        let dearer = |model: &Model| {
            let mut model = model.clone();
            if let (Price::Tokens(price), true) = (&mut model.price, model.name == self.world.policy.baseline)
            {
                let rates = &mut price.rates;
                rates.input = PerToken::from_picos(rates.input.picos() * times);
                rates.output = PerToken::from_picos(rates.output.picos() * times);
            }
            model
        };
        Catalog::new(self.world.catalog.models().iter().map(dearer).collect())
    }

    fn spender(&self) -> Spender<'_> {
        Spender { key: None, team: None, tags: &self.tags, run: None, learning: None }
    }
}

/// Settles what has ended by now.
fn settle(open: &mut [Option<(Hold, Usd)>], ends: &mut Ends, now_ms: u64, done: &mut Day) {
    while let Some(Reverse((at, place))) = ends.peek().copied()
        && at <= now_ms
    {
        ends.pop();
        if let Some((hold, cost)) = open[place].take() {
            hold.settle(cost);
            done.spent = done.spent.saturating_add(cost);
        }
    }
}
