//! When requests come, and which.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tollgate_router::Score;

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;
/// Requests of an ordinary day.
const REQUESTS: f64 = 20_000.0;

/// A prompt with what both models made of it, the small one first.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) score: Score,
    pub(crate) tokens: u64,
    pub(crate) tokens_upper: u64,
    pub(crate) good: [bool; 2],
    /// Prompt and completion tokens.
    pub(crate) used: [(u64, u64); 2],
}

/// A kind of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Steady,
    Office,
    Bursty,
    Drifting,
    Shock,
}

pub(crate) const SCENARIOS: [Scenario; 5] = [
    Scenario { name: "steady", kind: Kind::Steady },
    Scenario { name: "office hours", kind: Kind::Office },
    Scenario { name: "bursty", kind: Kind::Bursty },
    Scenario { name: "drifting", kind: Kind::Drifting },
    Scenario { name: "price shock", kind: Kind::Shock },
];

/// One request: when, which prompt, and how many times its usual price the large model costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at_ms: u64,
    pub(crate) prompt: usize,
    pub(crate) price: u64,
}

/// The requests of one day, in order.
pub(crate) fn day(scenario: Scenario, prompts: &[Prompt], day: u64) -> Vec<Arrival> {
    let mut rng = StdRng::seed_from_u64(day + 1);
    let start = day * DAY_MS;
    let rates: Vec<f64> = rates(scenario.kind, &mut rng);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let by_gap = by_gap(prompts);
    let (mut arrivals, mut at) = (Vec::new(), 0.0);
    loop {
        // Thinning (Lewis and Shedler, 1979): candidates at the highest rate, kept by the rate of their minute.
        at += -(1.0 - rng.random::<f64>()).ln() * DAY_MS as f64 / (REQUESTS * most / mean);
        if at >= DAY_MS as f64 {
            return arrivals;
        }
        let ms = at as u64;
        if rng.random::<f64>() * most > rates[(ms / 60_000) as usize] {
            continue;
        }
        let prompt = match scenario.kind {
            // From mostly prompts on which the models differ little to mostly those on which they differ much.
            Kind::Drifting if rng.random::<f64>() < 0.7 => {
                let around = at / DAY_MS as f64 + (rng.random::<f64>() - 0.5) * 0.4;
                by_gap[((around.clamp(0.0, 0.999)) * prompts.len() as f64) as usize]
            }
            _ => rng.random_range(0..prompts.len()),
        };
        let price = if scenario.kind == Kind::Shock && ms >= 10 * HOUR_MS { 3 } else { 1 };
        arrivals.push(Arrival { at_ms: start + ms, prompt, price });
    }
}

/// How many requests come in each minute, relative to each other.
fn rates(kind: Kind, rng: &mut StdRng) -> Vec<f64> {
    let mut rates = vec![1.0; 24 * 60];
    match kind {
        Kind::Steady | Kind::Shock => {}
        Kind::Office => rates.iter_mut().enumerate().for_each(|(minute, rate)| {
            *rate = if (8 * 60..18 * 60).contains(&minute) { 1.0 } else { 0.05 };
        }),
        Kind::Bursty => {
            rates.iter_mut().for_each(|rate| *rate = 0.3);
            for _ in 0..10 {
                let (begin, long) = (rng.random_range(0..24 * 60 - 40), rng.random_range(10..40));
                rates[begin..begin + long]
                    .iter_mut()
                    .for_each(|rate| *rate += 5.0 + 10.0 * rng.random::<f64>());
            }
        }
        Kind::Drifting => rates.iter_mut().enumerate().for_each(|(minute, rate)| {
            *rate = 0.5 + minute as f64 / (24.0 * 60.0);
        }),
    }
    rates
}

/// Places of the prompts, those first on which both models do alike.
fn by_gap(prompts: &[Prompt]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..prompts.len()).collect();
    let gap = |place: &usize| prompts[*place].score.p_large - prompts[*place].score.p_small;
    places.sort_by(|one, other| gap(one).total_cmp(&gap(other)));
    places
}
