//! Pacing: the price of money of a budget, moved so that a window's money lasts for the window's requests.
//!
//! Dual descent with multiplicative steps (Balseiro, Lu, Mirrokni: *The Best of Many Worlds: Dual Mirror Descent for
//! Online Allocation Problems*, Operations Research 71, 2023): each request moves `ln λ` by `step · (cost / target − 1)`.
//! The target is what one of the requests still to come may cost, money left over requests expected; it is found afresh
//! at each update, so that what was spent too early is saved later. Updates count requests, not seconds: one price for
//! the whole window buys most quality, however unevenly its requests come.

use crate::money::Usd;
use serde::{Deserialize, Serialize};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A window's requests together may move `ln λ` by this much for each time they miss their target by all of it.
const GAIN: f64 = 40.0;
/// Money is spent a little ahead of the clock: what is left when the window ends has bought nothing.
const LEAD: f64 = 0.85;
/// The target, as a share of what a window's request has on average, is never taken for less.
const LEAST_TARGET: f64 = 0.01;
/// No request moves `ln λ` by more than this for each time it misses its target …
const MOST_STEP: f64 = 0.1;
/// … and no update by more than this.
const MOST_MOVE: f64 = 0.5;
/// Share of a window that has to be watched before anything is foretold from it.
const LEAST_WATCHED: f64 = 0.001;
/// Windows without a request after which a budget's counter begins anew.
const STALE_WINDOWS: u64 = 8;
/// How much of a window the window before counts for when requests are foretold.
const PRIOR_SHARE: f64 = 0.1;
/// The price of as much money as the target is `(eˣ − 1) · UNIT`, in quality: from 0 …
const UNIT: f64 = 0.01;
/// … to where it outweighs ten good answers.
const MOST_X: f64 = 6.9;

/// What a run's average step weighs, in quality, where a quarter of its money is left.
const RUN_WEIGHT: f64 = 0.05;
/// A run's money is never taken to be less than this share of it.
const LEAST_LEFT: f64 = 0.01;

/// How a budget's money is spread over its window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Pace {
    /// First come, first served.
    Off,
    /// As if requests came evenly by day and night.
    #[default]
    Even,
    /// By the hours of the day in which requests come, see [`Shape`].
    Daily,
}

/// How a day's requests are spread over its 24 hours in UTC.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shape {
    /// Share of a day's requests before each full hour, and 1 at the end.
    before: [f64; 25],
}

impl Shape {
    /// Every hour alike.
    pub fn even() -> Shape {
        Shape::of([1.0; 24])
    }

    /// From requests counted in each hour of the day. An hour without any counts a little: one may come.
    pub fn of(requests: [f64; 24]) -> Shape {
        let floor = requests.iter().sum::<f64>() / 24.0 * 0.02;
        let weight = |count: f64| count.max(floor).max(f64::MIN_POSITIVE);
        let all: f64 = requests.iter().map(|count| weight(*count)).sum();
        let mut before = [0.0; 25];
        for (hour, count) in requests.iter().enumerate() {
            before[hour + 1] = before[hour] + weight(*count) / all;
        }
        Shape { before }
    }

    /// Days' worth of requests from the start of Unix time until `ms`.
    fn days(&self, ms: u64) -> f64 {
        let (day, hour) = (ms / DAY_MS, (ms % DAY_MS / HOUR_MS) as usize);
        let within = (ms % HOUR_MS) as f64 / HOUR_MS as f64;
        day as f64 + self.before[hour] + within * (self.before[hour + 1] - self.before[hour])
    }

    /// Share of the window's requests that come before `now_ms`, 0 to 1.
    fn share(&self, (start_ms, end_ms): (u64, u64), now_ms: u64) -> f64 {
        let start = self.days(start_ms);
        ((self.days(now_ms) - start) / (self.days(end_ms) - start)).clamp(0.0, 1.0)
    }
}

/// The price of money of an agent run, of which nobody knows how long it will be: 0 until half of its money is spent, then rising
/// without bound as the rest goes. At a tenth left, what a step of the run costs on average outweighs a fifth of a good answer.
pub(super) fn run_price(limit: Usd, settled: Usd, requests: u64) -> f64 {
    let (limit, settled) = (limit.as_f64(), settled.as_f64());
    let left = (limit - settled).max(limit * LEAST_LEFT);
    if requests == 0 || settled <= 0.0 || left <= 0.0 {
        return 0.0;
    }
    let weight = RUN_WEIGHT * (limit * 0.5 / left - 1.0).max(0.0);
    weight * requests as f64 / settled
}

/// Where a budget's counter stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) limit: Usd,
    pub(super) settled: Usd,
    /// Spent by other gateways that share the budget.
    pub(super) elsewhere: Usd,
    /// Holds that ended in this window.
    pub(super) requests: u64,
    /// Holds that are open.
    pub(super) in_flight: u32,
    /// From when to when, Unix milliseconds.
    pub(super) window: (u64, u64),
}

/// What stays of a budget's pacing when its process ends, so that the next one does not begin with money that has no price.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptPace {
    /// The budget.
    pub budget: String,
    /// Whose counter.
    pub subject: String,
    /// The window it was in, Unix milliseconds.
    pub window: (u64, u64),
    /// `ln` of the price of as much money as the target, before its unit: the controller's state.
    pub x: f64,
    /// Requests that a whole window was foretold to have.
    pub requests: f64,
}

impl KeptPace {
    /// Whether it is sound, and not too old to be worth anything.
    pub(super) fn is_usable(&self, now_ms: u64) -> bool {
        let (start, end) = self.window;
        start < end
            && self.x.is_finite()
            && self.requests.is_finite()
            && self.requests > 0.0
            && !is_stale(self.window, now_ms)
    }
}

fn is_stale((start, end): (u64, u64), now_ms: u64) -> bool {
    now_ms > end.saturating_add((end - start).saturating_mul(STALE_WINDOWS))
}

/// The controller of one budget's counter, kept from window to window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    window: (u64, u64),
    /// Share of the window that had passed, and requests that had ended, when it was first looked at.
    since: (f64, u64),
    /// Requests ended and money spent at the last look.
    seen: (u64, Usd),
    /// Requests of a whole window, as the last one had them.
    before: Option<f64>,
    /// Requests of this one, as foretold at the last look.
    foretold: Option<f64>,
    x: f64,
    /// `x` as the window's requests had it, summed over them.
    sum: f64,
    price: f64,
}

impl Pacer {
    /// A controller of a counter that stands there: money has no price yet.
    pub(super) fn new(at: &Position, shape: &Shape, now_ms: u64) -> Pacer {
        Pacer {
            window: at.window,
            since: (shape.share(at.window, now_ms), at.requests),
            seen: (at.requests, at.settled),
            before: None,
            foretold: None,
            x: 0.0,
            sum: 0.0,
            price: 0.0,
        }
    }

    /// A controller that goes on where an earlier process left off.
    pub(super) fn resumed(kept: &KeptPace, at: &Position, shape: &Shape, now_ms: u64) -> Pacer {
        Pacer { before: Some(kept.requests), x: kept.x.clamp(0.0, MOST_X), ..Pacer::new(at, shape, now_ms) }
    }

    /// What a later process goes on with; `None` while nothing was foretold.
    pub(super) fn keep(&self, (budget, subject): &(String, String)) -> Option<KeptPace> {
        let requests = self.foretold.or(self.before)?;
        Some(KeptPace {
            budget: budget.clone(),
            subject: subject.clone(),
            window: self.window,
            x: self.x,
            requests,
        })
    }

    /// λ, in quality per dollar.
    pub(super) fn price(&self) -> f64 {
        self.price
    }

    /// Whether nothing came for so many windows that what was learned is worth nothing.
    pub(super) fn is_stale(&self, now_ms: u64) -> bool {
        is_stale(self.window, now_ms)
    }

    /// Moves the price by what was spent since the last look.
    pub(super) fn update(&mut self, at: &Position, shape: &Shape, now_ms: u64) {
        if at.window != self.window {
            self.roll(at.window);
        }
        let done = shape.share(at.window, now_ms);
        let Some(expected) = self.expected(at, done) else { return };
        self.foretold = Some(expected);
        let (ended, spent) =
            (at.requests.saturating_sub(self.seen.0), at.settled.saturating_sub(self.seen.1).as_f64());
        self.seen = (at.requests, at.settled);
        let fair = at.limit.as_f64() / expected;
        let each = at.settled.as_f64() / at.requests.max(1) as f64;
        // Of what is left, others take their share of requests to come as they did of those before.
        let (own, others) = (at.settled.as_f64(), at.elsewhere.as_f64());
        let share = if others > 0.0 { own / (own + others) } else { 1.0 };
        let left = (at.limit.as_f64() - own - others) * share - each * f64::from(at.in_flight);
        let to_come = (expected * (1.0 - done) * LEAD).max(1.0);
        let target = (left / to_come).max(fair * LEAST_TARGET);
        if target <= 0.0 {
            return;
        }
        let missed = spent / target - ended as f64;
        let step = (GAIN / expected).min(MOST_STEP);
        self.x = (self.x + (step * missed).clamp(-MOST_MOVE, MOST_MOVE)).clamp(0.0, MOST_X);
        self.sum += self.x * ended as f64;
        // In units of the target, so that the price answers at once when more requests come than were foretold.
        self.price = self.x.exp_m1() * UNIT / target;
    }

    /// Requests of the whole window, as far as they can be foretold.
    fn expected(&self, at: &Position, done: f64) -> Option<f64> {
        let known = at.requests.saturating_sub(self.since.1) + u64::from(at.in_flight);
        let weight = if self.before.is_some() { PRIOR_SHARE } else { 0.0 };
        let prior = self.before.unwrap_or_default() * weight;
        let watched = weight + done - self.since.0;
        let expected = (prior + known as f64) / watched;
        (watched >= LEAST_WATCHED && expected > 0.0).then_some(expected)
    }

    /// Another window begins. What was right for the last one's requests is the best guess for this one's; where its end
    /// found the money short or left over says little.
    fn roll(&mut self, window: (u64, u64)) {
        let (watched, requests) = (1.0 - self.since.0, self.seen.0.saturating_sub(self.since.1) as f64);
        if watched >= PRIOR_SHARE {
            self.before = Some(requests / watched);
        }
        if requests > 0.0 {
            self.x = self.sum / requests;
        }
        *self = Pacer { window, since: (0.0, 0), seen: (0, Usd::ZERO), sum: 0.0, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Window;

    #[test]
    fn an_even_day_passes_by_the_clock() {
        let window = (Window::Day.start_ms(0), Window::Day.end_ms(0).unwrap());
        assert!((Shape::even().share(window, 6 * HOUR_MS) - 0.25).abs() < 1e-9);
        let month = (Window::Month.start_ms(0), Window::Month.end_ms(0).unwrap());
        assert!((Shape::even().share(month, 31 * DAY_MS / 2) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_daily_shape_passes_by_its_requests() {
        let office = std::array::from_fn(|hour| if (9..17).contains(&hour) { 50.0 } else { 0.0 });
        let shape = Shape::of(office);
        let day = |hour: u64| shape.share((0, DAY_MS), hour * HOUR_MS);
        assert!(day(9) < 0.02 && (day(13) - 0.5).abs() < 0.02 && day(17) > 0.98);
        assert!((shape.share((0, 7 * DAY_MS), 3 * DAY_MS) - 3.0 / 7.0).abs() < 1e-9);
        // Nothing known is nothing assumed.
        assert_eq!(Shape::of([0.0; 24]), Shape::even());
    }

    /// A day of even requests that each cost what `cost` makes of the price: the price at noon, and what was spent.
    fn day(pacer: &mut Option<Pacer>, day: u64, requests: u64, cost: impl Fn(f64) -> f64) -> (f64, f64) {
        let (shape, window) = (Shape::even(), (day * DAY_MS, (day + 1) * DAY_MS));
        let limit = Usd::from_nanos(1_000_000_000);
        let mut at =
            Position { limit, settled: Usd::ZERO, elsewhere: Usd::ZERO, requests: 0, in_flight: 0, window };
        let mut noon = 0.0;
        for request in 0..requests {
            let now = window.0 + DAY_MS / requests * request;
            let pacer = pacer.get_or_insert_with(|| Pacer::new(&at, &shape, now));
            pacer.update(&at, &shape, now);
            if request == requests / 2 {
                noon = pacer.price();
            }
            at.settled = at.settled.saturating_add(Usd::from_nanos((cost(pacer.price()) * 1e9) as i64));
            at.requests += 1;
        }
        (noon, at.settled.as_f64())
    }

    #[test]
    fn money_that_is_enough_has_no_price() {
        let mut pacer = None;
        for today in 0..3 {
            let (noon, spent) = day(&mut pacer, today, 1_000, |_| 0.0005);
            assert!(noon.abs() < 1e-9 && (spent - 0.5).abs() < 1e-6);
        }
    }

    #[test]
    fn the_price_settles_where_the_money_lasts_and_stays_there_overnight() {
        // Demand: 4 cents a request for free, less as money gets dear. A dollar pays 100 requests of a cent, which is what
        // they ask for at a price of 150.
        let demand = |price: f64| 0.04 / (1.0 + price / 50.0);
        let mut pacer = None;
        let days: Vec<(f64, f64)> = (0..3).map(|today| day(&mut pacer, today, 100, demand)).collect();
        for (noon, spent) in &days[1..] {
            assert!((0.98..1.01).contains(spent) && (100.0..200.0).contains(noon), "{days:?}");
        }
    }

    #[test]
    fn a_process_that_begins_goes_on_where_the_last_one_left_off() {
        let demand = |price: f64| 0.04 / (1.0 + price / 50.0);
        let mut pacer = None;
        for today in 0..2 {
            day(&mut pacer, today, 100, demand);
        }
        let before = pacer.unwrap();
        let kept = before.keep(&("purse".to_owned(), String::new())).unwrap();
        let now = DAY_MS + DAY_MS / 2;
        let at = Position {
            limit: Usd::from_nanos(1_000_000_000),
            settled: Usd::from_nanos(500_000_000),
            elsewhere: Usd::ZERO,
            requests: 0,
            in_flight: 0,
            window: (DAY_MS, 2 * DAY_MS),
        };
        let mut after = Pacer::resumed(&kept, &at, &Shape::even(), now);
        after.update(&at, &Shape::even(), now);
        assert!((100.0..200.0).contains(&after.price()), "{after:?}, before {before:?}");
        assert!(kept.is_usable(now) && !kept.is_usable(20 * DAY_MS));
        assert!(!KeptPace { x: f64::NAN, ..kept.clone() }.is_usable(now));
        assert!(!KeptPace { window: (5, 5), ..kept }.is_usable(now));
    }

    #[test]
    fn a_runs_money_gets_dear_as_it_goes() {
        let usd = |cents: i64| Usd::from_nanos(cents * 10_000_000);
        let price = |spent| run_price(usd(100), usd(spent), 10);
        assert!(price(0).abs() < 1e-12 && price(50).abs() < 1e-12);
        // At 90 of 100 cents in ten steps a step costs 9 cents, which then weighs a fifth of an answer.
        assert!((price(90) * 0.09 - 0.2).abs() < 1e-9 && price(75) < price(90) && price(90) < price(99));
        assert!(price(100).is_finite() && price(120).is_finite());
    }

    #[test]
    fn a_counter_taken_over_in_the_middle_of_a_window_is_foretold_by_its_rest() {
        let window = (0, DAY_MS);
        let mut at = Position {
            limit: Usd::from_nanos(10),
            settled: Usd::from_nanos(5),
            elsewhere: Usd::ZERO,
            requests: 0,
            in_flight: 0,
            window,
        };
        let pacer = Pacer::new(&at, &Shape::even(), DAY_MS / 2);
        at.requests = 100;
        let expected = pacer.expected(&at, 0.75).unwrap();
        assert!((expected - 400.0).abs() < 1e-9, "100 in a quarter of the window");
        assert_eq!(pacer.expected(&at, 0.5), None, "too early to tell");
    }
}
