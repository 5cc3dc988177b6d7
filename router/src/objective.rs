//! What a candidate is worth: `p(good) − λ·expected cost − μ·P(late)`, and its parts.
//!
//! Quality counts up to what was asked for and not beyond: a candidate whose expected loss against
//! the baseline is tolerated counts as if it were exactly at the tolerance, so among good-enough
//! candidates money and time decide, and the cheaper wins a tie. A candidate that is not good enough
//! keeps its own, lower p(good), and can win only when `λ` makes money dearer than the difference.

use std::cmp::Ordering;

use tollgate_policies::{Usage, Usd};

use crate::catalog::{Live, Model};
use crate::classify::Score;
use crate::decision::Needs;

/// λ never falls below this (quality per dollar), so that equal quality goes to the cheaper model
/// even when no budget is under pressure. At 0.01 it takes 100 dollars to outweigh a whole good answer.
pub(crate) const LEAST_PRICE_OF_MONEY: f64 = 0.01;
/// Speeds assumed until an engine was measured: a modest model on a few CPU cores.
const UNMEASURED_TOKENS_PER_SECOND: f64 = 20.0;
const UNMEASURED_PROMPT_TOKENS_PER_SECOND: f64 = 200.0;
/// Distance of the 90th percentile from the median of a normal distribution, in standard deviations.
const P90_DEVIATIONS: f64 = 1.2816;

/// Logits that a unit of ability is worth beyond the reference models.
const SLOPE_BEYOND: f64 = 1.0;

/// The line of logits through both reference models, by ability: 0 is the small one's, 1 the large one's.
///
/// Beyond them it goes on with one slope for every request. What sets the two apart on a request says nothing of a model
/// outside: of the 76 models with known outcomes none is far outside, and drawn on, a request's own slope makes near
/// certainties of noise (docs/router.md).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    small: f64,
    slope: f64,
}

impl Line {
    pub(crate) fn through(p_small: f32, p_large: f32) -> Line {
        let small = logit(f64::from(p_small));
        Line { small, slope: logit(f64::from(p_large)) - small }
    }

    /// Probability that a model of this ability answers well.
    pub(crate) fn at(&self, ability: f64) -> f64 {
        let between = ability.clamp(0.0, 1.0);
        sigmoid(self.small + between * self.slope + (ability - between) * SLOPE_BEYOND)
    }
}

/// Probability that a model of this ability answers well, on the line through both references.
pub(crate) fn p_good(p_small: f32, p_large: f32, ability: f64) -> f64 {
    Line::through(p_small, p_large).at(ability)
}

fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-4, 1.0 - 1e-4);
    (p / (1.0 - p)).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// How many tokens the answer will have: log-normal through the predicted P50 and P90.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerLength {
    median: f64,
    spread: f64,
}

impl AnswerLength {
    pub(crate) fn of(score: &Score) -> AnswerLength {
        let median = f64::from(score.output.p50.max(1));
        let p90 = f64::from(score.output.p90).max(median);
        AnswerLength { median, spread: (p90 / median).ln() / P90_DEVIATIONS }
    }

    /// Expected tokens when the answer is cut at `cap`; the mean is never taken above the cap. None where there is no answer.
    pub(crate) fn expected(&self, cap: u64) -> u64 {
        if cap == 0 {
            return 0;
        }
        let mean = self.median * (self.spread * self.spread / 2.0).exp();
        (mean.min(cap as f64)).round().max(1.0) as u64
    }

    /// The typical answer, where a single figure is wanted.
    pub(crate) fn median(&self) -> u64 {
        self.median.round() as u64
    }

    /// Probability that the answer needs more than `tokens`.
    fn exceeds(&self, tokens: f64) -> f64 {
        if tokens <= 0.0 {
            return 1.0;
        }
        if self.spread <= 0.0 {
            return f64::from(u8::from(self.median > tokens));
        }
        // A logistic curve stands in for the normal tail: within 0.01 everywhere, and monotone.
        1.0 - sigmoid(1.702 * (tokens / self.median).ln() / self.spread)
    }
}

/// Predicted times of one candidate, from live measurements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    wait_ms: f64,
    prompt_ms: f64,
    token_ms: f64,
}

impl Pace {
    pub(crate) fn of(live: &Live, prompt_tokens: u64, length: &AnswerLength) -> Pace {
        let speed = |measured: f64, assumed: f64| if measured > 0.0 { measured } else { assumed };
        let token_ms = 1000.0 / speed(live.tokens_per_second, UNMEASURED_TOKENS_PER_SECOND);
        let prompt_ms = prompt_tokens as f64 * 1000.0
            / speed(live.prompt_tokens_per_second, UNMEASURED_PROMPT_TOKENS_PER_SECOND);
        // Where the engine does not say, those before it are taken for requests like this one, served `slots` at a time.
        let service_ms = prompt_ms + token_ms * length.median;
        let queued_ms = match live.wait_ms {
            0 => f64::from(live.queue_depth) / f64::from(live.slots.max(1)) * service_ms,
            told => told as f64,
        };
        let wait_ms = live.ready_ms as f64 + queued_ms;
        Pace { wait_ms, prompt_ms, token_ms }
    }

    pub(crate) fn first_token_ms(&self) -> f64 {
        self.wait_ms + self.prompt_ms + self.token_ms
    }

    pub(crate) fn latency_ms(&self, output_tokens: u64) -> f64 {
        self.wait_ms + self.prompt_ms + self.token_ms * output_tokens as f64
    }

    /// Engine time without the wait, for models paid by the hour.
    pub(crate) fn engine_us(&self, output_tokens: u64) -> u64 {
        ((self.prompt_ms + self.token_ms * output_tokens as f64) * 1000.0) as u64
    }

    pub(crate) fn p_late(&self, deadline_ms: Option<u64>, length: &AnswerLength, cap: u64) -> f64 {
        let Some(deadline_ms) = deadline_ms else { return 0.0 };
        let left_ms = deadline_ms as f64 - self.wait_ms - self.prompt_ms;
        let tokens = left_ms / self.token_ms;
        if tokens >= cap as f64 { 0.0 } else { length.exceeds(tokens) }
    }
}

/// Expected cost of an answer of `output_tokens`.
pub(crate) fn expected_cost(model: &Model, needs: &Needs<'_>, pace: &Pace, output_tokens: u64) -> Usd {
    model.price.cost(&Usage {
        prompt_tokens: needs.prompt_tokens,
        cached_tokens: 0,
        completion_tokens: output_tokens,
        reasoning_tokens: 0,
        engine_us: pace.engine_us(output_tokens),
        cache_write_tokens: 0,
        cache_write_1h_tokens: 0,
        service_tier: needs.service_tier,
    })
}

/// The most an answer of at most `cap` tokens can cost: what a reservation must hold.
pub(crate) fn worst_cost(
    model: &Model,
    needs: &Needs<'_>,
    live: &Live,
    length: &AnswerLength,
    cap: u64,
) -> Usd {
    /// A loaded engine may run this much slower than last measured.
    const SLOWDOWN: u64 = 4;
    let prompt = needs.prompt_tokens_upper.saturating_add(needs.parts.saturating_mul(model.part_tokens));
    let pace = Pace::of(live, prompt, length);
    let engine_us = pace.engine_us(cap).saturating_mul(SLOWDOWN);
    model.price.worst_case(prompt, cap, engine_us, needs.service_tier)
}

/// The p(good) that is good enough: the baseline's, less the gap tolerated. The gap was measured against the large reference model, so
/// of a baseline that is good less often than it, the same share is given up and not the same number of points: else whatever such a
/// baseline seldom manages could go to a model that never does.
pub(crate) fn good_enough(baseline_good: f64, reference_good: f64, gap: f64) -> f64 {
    let share =
        if gap > 0.0 && reference_good > 0.0 { (baseline_good / reference_good).min(1.0) } else { 1.0 };
    baseline_good - gap * share
}

/// Quality that counts: no more than what is asked for, see the module's text.
pub(crate) fn counted_quality(p_good: f64, asked: f64) -> f64 {
    p_good.min(asked)
}

/// The objective itself.
pub(crate) fn utility(counted: f64, cost: Usd, p_late: f64, price_of_money: f64, latency_weight: f64) -> f64 {
    counted - price_of_money.max(LEAST_PRICE_OF_MONEY) * cost.as_f64() - latency_weight * p_late
}

/// Whether a bound on losses puts a candidate behind the baseline: it is less able, and nobody has shown that so large a gap
/// keeps the bound. Ability tells what is below, for at a single request chances may be equal, or the other way round.
pub(crate) fn breaks_bound(
    (p_good, ability): (f64, f64),
    (baseline_good, baseline_ability): (f64, f64),
    reference_good: f64,
    bound: Option<f64>,
) -> bool {
    let shown = |gap| p_good >= good_enough(baseline_good, reference_good, gap);
    ability < baseline_ability && bound.is_some_and(|gap| !shown(gap))
}

/// What candidates are ranked by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worth {
    /// Whether it would break a bound, which no money outweighs.
    pub(crate) breaks_bound: bool,
    pub(crate) utility: f64,
    pub(crate) cost: Usd,
    pub(crate) p_good: f64,
}

impl Worth {
    /// Best first: those that keep the bound, then utility, then the lower cost, then the higher p(good); those alike stay in the catalogue's order.
    pub(crate) fn before(&self, other: &Worth) -> Ordering {
        let utility = other.utility.total_cmp(&self.utility);
        let bound = self.breaks_bound.cmp(&other.breaks_bound);
        bound.then(utility).then(self.cost.cmp(&other.cost)).then(other.p_good.total_cmp(&self.p_good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::OutputTokens;
    use proptest::prelude::*;

    fn score(p_small: f32, p_large: f32) -> Score {
        Score { p_small, p_large, output: OutputTokens { p50: 100, p90: 300 }, ..Score::default() }
    }

    #[test]
    fn ability_runs_through_both_references() {
        let score = score(0.4, 0.8);
        assert!((p_good(score.p_small, score.p_large, 0.0) - 0.4).abs() < 1e-6);
        assert!((p_good(score.p_small, score.p_large, 1.0) - 0.8).abs() < 1e-6);
        let middle = p_good(score.p_small, score.p_large, 0.5);
        assert!(middle > 0.4 && middle < 0.8);
        assert!(
            p_good(score.p_small, score.p_large, 1.5) > 0.8
                && p_good(score.p_small, score.p_large, -0.5) < 0.4
        );
    }

    #[test]
    fn beyond_the_references_every_request_has_the_same_slope() {
        let logit_at = |large, ability| logit(p_good(0.4, large, ability));
        for large in [0.4, 0.5, 0.95] {
            assert!((logit_at(large, -2.0) - logit(0.4) + 2.0).abs() < 1e-6);
            assert!((logit_at(large, 2.5) - logit(f64::from(large)) - 1.5).abs() < 1e-6);
        }
    }

    #[test]
    fn lateness_grows_as_the_deadline_nears() {
        let length = AnswerLength::of(&score(0.5, 0.5));
        let live = Live { tokens_per_second: 50.0, prompt_tokens_per_second: 1000.0, ..Live::default() };
        let pace = Pace::of(&live, 100, &length);
        let late = |deadline| pace.p_late(Some(deadline), &length, 10_000);
        assert!(pace.p_late(None, &length, 10_000).abs() < 1e-12);
        assert!((late(2_100) - 0.5).abs() < 1e-6, "the median answer is ready at 2.1 s");
        assert!(late(50) > 0.999 && late(6_100) < 0.12 && late(6_100) > 0.08);
        assert!(pace.p_late(Some(2_200), &length, 100).abs() < 1e-12, "an answer cut in time is not late");
    }

    #[test]
    fn a_queue_delays_by_whole_answers() {
        let length = AnswerLength::of(&score(0.5, 0.5));
        let live = Live { tokens_per_second: 50.0, prompt_tokens_per_second: 1000.0, ..Live::default() };
        let busy = Live { queue_depth: 4, slots: 2, ..live };
        let (idle, busy) = (Pace::of(&live, 100, &length), Pace::of(&busy, 100, &length));
        assert!((busy.latency_ms(100) - idle.latency_ms(100) - 2.0 * 2_100.0).abs() < 1e-6);
        let told = Live { queue_depth: 4, slots: 2, wait_ms: 9_000, ..live };
        let told = Pace::of(&told, 100, &length);
        assert!(
            (told.first_token_ms() - idle.first_token_ms() - 9_000.0).abs() < 1e-6,
            "its own word counts"
        );
        assert!(told.p_late(Some(9_500), &length, 10_000) > 0.9);
    }

    #[test]
    fn an_engine_that_must_be_started_is_late_by_that() {
        let length = AnswerLength::of(&score(0.5, 0.5));
        let up = Live { tokens_per_second: 50.0, prompt_tokens_per_second: 1000.0, ..Live::default() };
        let stopped = Live { ready_ms: 5_000, ..up };
        let (up, stopped) = (Pace::of(&up, 100, &length), Pace::of(&stopped, 100, &length));
        assert!((stopped.first_token_ms() - up.first_token_ms() - 5_000.0).abs() < 1e-6);
        assert!(stopped.p_late(Some(6_000), &length, 10_000) > up.p_late(Some(6_000), &length, 10_000));
        assert_eq!(stopped.engine_us(10), up.engine_us(10), "a start is not the request's work");
    }

    proptest! {
        #[test]
        fn probabilities_stay_probabilities(small in 0.0f32..=1.0, large in 0.0f32..=1.0, ability in -3.0..3.0f64) {
            let p = p_good(small, large, ability);
            prop_assert!((0.0..=1.0).contains(&p));
        }
    }
}
