//! Sums over what became of requests: one side of a comparison, and two of them side by side.

use std::collections::BTreeMap;

use serde::Serialize;
use tollgate_policies::Usd;

use super::Outcome;

/// 97.5 % of a normal distribution lie below this many standard deviations.
const DEVIATIONS: f64 = 1.96;

/// Requests under one policy, or as recorded.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Side {
    /// The policy's file, or `recorded`.
    pub name: String,
    /// Requests answered.
    pub answered: u64,
    /// Requests refused.
    pub refused: u64,
    /// Money spent.
    pub cost_usd: Usd,
    /// Good answers expected.
    pub good: f64,
    /// Requests refused for want of money, by budget.
    pub breaches: BTreeMap<String, u64>,
    /// Requests answered by each model.
    pub models: BTreeMap<String, u64>,
    /// Time to the end of the answer: half of the requests take no longer, milliseconds.
    pub p50_ms: f64,
    /// The same for 95 %.
    pub p95_ms: f64,
    #[serde(skip)]
    latencies: Vec<f32>,
}

impl Side {
    /// A side without requests.
    #[must_use]
    pub fn new(name: &str) -> Side {
        Side { name: name.to_owned(), ..Side::default() }
    }

    fn take(&mut self, outcome: &Outcome) {
        match &outcome.model {
            None => {
                self.refused += 1;
                if let Some(budget) = &outcome.short_of {
                    *self.breaches.entry(budget.clone()).or_default() += 1;
                }
            }
            Some(model) => {
                self.answered += 1;
                self.cost_usd = self.cost_usd.saturating_add(outcome.cost);
                self.good += outcome.p_good;
                *self.models.entry(model.clone()).or_default() += 1;
                self.latencies.push(outcome.latency_ms as f32);
            }
        }
    }

    fn finish(&mut self) {
        let mut percentile = |share: f64| {
            let last = self.latencies.len().checked_sub(1)?;
            let place = (last as f64 * share).round() as usize;
            Some(f64::from(*self.latencies.select_nth_unstable_by(place, f32::total_cmp).1))
        };
        (self.p50_ms, self.p95_ms) = (percentile(0.5).unwrap_or(0.0), percentile(0.95).unwrap_or(0.0));
    }
}

/// The requests of one group, side by side.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Line {
    /// A value for each dimension asked for; `None` where a request has none.
    pub group: Vec<Option<String>>,
    /// Requests.
    pub requests: u64,
    /// Answered by another model, or by one where it was refused, or the other way round.
    pub moved: u64,
    /// Refused on the second side.
    pub refused: u64,
    /// Spent on both sides.
    pub cost_usd: [Usd; 2],
    /// Good answers expected on both sides.
    pub good: [f64; 2],
}

/// An estimate with the interval that holds it with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Two sides of the same requests.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// What is compared with.
    pub before: Side,
    /// What is compared.
    pub after: Side,
    /// Requests whose model differs.
    pub moved: u64,
    /// Receipts that could not be replayed: they do not say what was asked.
    pub skipped: u64,
    /// By what was asked for.
    pub lines: Vec<Line>,
    #[serde(skip)]
    groups: BTreeMap<Vec<Option<String>>, Line>,
    #[serde(skip)]
    variance: f64,
}

impl Pair {
    /// Two sides without requests.
    #[must_use]
    pub fn new(before: &str, after: &str) -> Pair {
        Pair {
            before: Side::new(before),
            after: Side::new(after),
            moved: 0,
            skipped: 0,
            lines: Vec::new(),
            groups: BTreeMap::new(),
            variance: 0.0,
        }
    }

    /// Takes one request's two outcomes, with the group it is in.
    pub fn take(&mut self, group: Vec<Option<String>>, before: &Outcome, after: &Outcome) {
        self.before.take(before);
        self.after.take(after);
        let moved = u64::from(before.model != after.model);
        self.moved += moved;
        if moved > 0 {
            // Of a request that keeps its model both sides have the same answer.
            let noise = |outcome: &Outcome| outcome.p_good * (1.0 - outcome.p_good);
            self.variance += noise(before) + noise(after);
        }
        let line = self.groups.entry(group).or_default();
        line.requests += 1;
        line.moved += moved;
        line.refused += u64::from(after.model.is_none());
        for (place, outcome) in [before, after].into_iter().enumerate() {
            line.cost_usd[place] = line.cost_usd[place].saturating_add(outcome.cost);
            line.good[place] += outcome.p_good;
        }
    }

    /// Requests that were compared.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.before.answered + self.before.refused
    }

    /// Ends the comparison: percentiles, and lines with the dearest first.
    pub fn finish(&mut self) {
        self.before.finish();
        self.after.finish();
        let groups = std::mem::take(&mut self.groups);
        self.lines = groups.into_iter().map(|(group, line)| Line { group, ..line }).collect();
        self.lines.sort_by_key(|line| std::cmp::Reverse(line.cost_usd[0].max(line.cost_usd[1])));
    }

    /// Good answers of the second side for one of the first, as the router's probabilities have it. The interval is the luck of so many
    /// requests, not what the probabilities may be wrong by.
    #[must_use]
    pub fn quality(&self) -> Interval {
        let of = |good: f64| if self.before.good > 0.0 { good / self.before.good } else { 1.0 };
        let spread = DEVIATIONS * self.variance.sqrt();
        let good = self.after.good;
        Interval { value: of(good), low: of(good - spread), high: of(good + spread) }
    }
}
