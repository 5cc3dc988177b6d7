//! The posterior of one model's abilities, general and by domain, on a grid.
//!
//! Two levels: the general ability is normal around the configured one, each domain's normal around the general one (plus
//! what the configuration says it differs by), and an answer is good with the probability that the item-response line gives
//! for the domain's ability. Given the general ability the domains are independent, so sums over two grids are exact up to
//! the grid's step, and a domain that was seldom judged borrows from the others.

use crate::ability::Ability;
use crate::classify::DOMAINS;
use crate::objective::Line;

use super::Outcome;

/// Points of the grid, and the distance between two.
const POINTS: usize = 201;
const STEP: f64 = 0.05;
/// How far a model's general ability may be from the configured one: half the way between the reference models is one
/// standard deviation.
const GENERAL_DEVIATION: f64 = 0.5;
/// How far a domain's ability may be from the general one.
const DOMAIN_DEVIATION: f64 = 0.3;
/// Share of verdicts that are taken to be wrong, so that no single one decides.
const WRONG: f64 = 0.02;

type Grid = [f64; POINTS];

/// How likely a model's judged answers are, by the ability it might have in their domain.
pub(super) struct Likelihoods {
    prior: Ability,
    /// Logarithms, up to a constant; `None` where nothing was judged.
    domains: [Option<Grid>; DOMAINS.len()],
}

impl Likelihoods {
    /// Of these answers, which are all the model's, each with what its verdict counts.
    pub(super) fn of<'o>(prior: Ability, outcomes: impl Iterator<Item = (&'o Outcome, f64)>) -> Likelihoods {
        let mut all = Likelihoods { prior, domains: [None; DOMAINS.len()] };
        for (outcome, share) in outcomes {
            let Some(place) = DOMAINS.iter().position(|domain| *domain == outcome.choice.domain) else {
                continue;
            };
            let line = Line::through(outcome.choice.p_small, outcome.choice.p_large);
            let grid = all.domains[place].get_or_insert([0.0; POINTS]);
            for (at, sum) in grid.iter_mut().enumerate() {
                let said = WRONG + (1.0 - 2.0 * WRONG) * line.at(point(&prior, at));
                *sum += share * if outcome.good { said } else { 1.0 - said }.ln();
            }
        }
        all
    }

    /// Posterior means; domains that were never judged keep what the configuration says they differ by.
    pub(super) fn ability(&self) -> Ability {
        let general = Ability::from(round(self.general().0));
        DOMAINS.iter().enumerate().fold(general, |ability, (place, domain)| {
            let own = self.domains[place].is_some() || self.prior.own(domain).is_some();
            let with = || ability.with(domain, round(self.in_domain(domain).0));
            if own { with().unwrap_or(ability) } else { ability }
        })
    }

    /// Mean and standard deviation of the general ability.
    pub(super) fn general(&self) -> (f64, f64) {
        moments(&self.posterior(), |at| point(&self.prior, at))
    }

    /// Mean and standard deviation of a domain's ability.
    pub(super) fn in_domain(&self, domain: &str) -> (f64, f64) {
        let shift = self.prior.in_domain(domain) - self.prior.general();
        let grid =
            DOMAINS.iter().position(|known| *known == domain).and_then(|place| self.domains[place].as_ref());
        let mut whole = [0.0; POINTS];
        for (general, weight) in self.posterior().iter().enumerate() {
            let given = self.given(grid, point(&self.prior, general) + shift);
            let sum: f64 = given.iter().sum();
            if sum > 0.0 {
                whole.iter_mut().zip(given).for_each(|(to, from)| *to += weight * from / sum);
            }
        }
        moments(&whole, |at| point(&self.prior, at))
    }

    /// Posterior weights of the general ability.
    fn posterior(&self) -> Grid {
        let mut log: Grid = std::array::from_fn(|at| {
            let away = (point(&self.prior, at) - self.prior.general()) / GENERAL_DEVIATION;
            -0.5 * away * away
        });
        for (place, grid) in self.domains.iter().enumerate() {
            let Some(grid) = grid else { continue };
            let shift = self.prior.in_domain(DOMAINS[place]) - self.prior.general();
            for (at, log) in log.iter_mut().enumerate() {
                let sum: f64 = self.given(Some(grid), point(&self.prior, at) + shift).iter().sum();
                *log += sum.max(f64::MIN_POSITIVE).ln();
            }
        }
        weights(&log)
    }

    /// Weights of a domain's ability around `centre`, the answers' likelihood included.
    fn given(&self, grid: Option<&Grid>, centre: f64) -> Grid {
        // The same constant for every centre: only ratios count.
        let most = grid.map_or(0.0, |grid| grid.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        std::array::from_fn(|at| {
            let away = (point(&self.prior, at) - centre) / DOMAIN_DEVIATION;
            (grid.map_or(0.0, |grid| grid[at] - most) - 0.5 * away * away).exp()
        })
    }
}

fn point(prior: &Ability, at: usize) -> f64 {
    prior.general() + (at as f64 - (POINTS / 2) as f64) * STEP
}

/// Weights that sum to 1 from logarithms.
fn weights(log: &Grid) -> Grid {
    let most = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raw = log.map(|value| (value - most).exp());
    let sum: f64 = raw.iter().sum();
    raw.map(|value| value / sum)
}

fn moments(weights: &Grid, point: impl Fn(usize) -> f64) -> (f64, f64) {
    let sum: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let mean = weights.iter().enumerate().map(|(at, weight)| weight * point(at)).sum::<f64>() / sum;
    let square = |at: usize| (point(at) - mean) * (point(at) - mean);
    let variance = weights.iter().enumerate().map(|(at, weight)| weight * square(at)).sum::<f64>() / sum;
    (mean, variance.sqrt())
}

/// Abilities are written to files and read by people: four digits are more than they are known to.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
