//! From the graph's heads to what a score says: two chances, the difficulty, lengths, familiarity.
//!
//! An item-response form ties the heads to models: one of ability t answers well with probability
//! sigmoid(easiness + softplus(slope)·t), where 0 is the small reference model and 1 the large one. Both chances are
//! then bent to agree with outcomes (Platt's line, fitted by training). The constants come with the graph.

use serde::Deserialize;

use crate::features::{DENSE, LOG_WORDS};

/// How many numbers the graph's heads give beside the domains.
pub(crate) const NUMBERS: usize = 5;
/// Predicted lengths are kept in this range, in tokens.
const LENGTHS: std::ops::RangeInclusive<f32> = 1.0..=16_384.0;

/// What the graph gives for one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heads {
    /// Logit of the small reference model's chance, before Platt's line.
    pub(crate) easiness: f32,
    /// Its softplus is what a unit of ability adds to the logit.
    pub(crate) slope: f32,
    /// Natural logarithm of the answer's median length in tokens.
    pub(crate) log_p50: f32,
    /// The same of the 90th percentile.
    pub(crate) log_p90: f32,
    /// A linear score that orders tasks by what a larger model gains.
    pub(crate) rank: f32,
    /// Logits of the domains.
    pub(crate) domains: Vec<f32>,
    /// Squared distance to the nearest cell of the training prompts.
    pub(crate) distance: f32,
    /// Share of the task's words that training did not keep.
    pub(crate) unknown: f32,
}

impl Heads {
    /// Takes over the graph's outputs; `None` when they have another shape.
    pub(crate) fn read(&mut self, heads: &[f32], distances: &[f32], unknown: f32) -> Option<()> {
        let (numbers, domains) = heads.split_at_checked(NUMBERS)?;
        let [easiness, slope, log_p50, log_p90, rank] = *numbers else { return None };
        (self.easiness, self.slope, self.log_p50, self.log_p90, self.rank) =
            (easiness, slope, log_p50, log_p90, rank);
        self.domains.clear();
        self.domains.extend_from_slice(domains);
        self.distance = distances.iter().copied().fold(f32::INFINITY, f32::min);
        self.unknown = unknown;
        Some(())
    }

    /// How likely the task is of one of the domains at these places.
    fn likely(&self, places: &[usize]) -> f32 {
        let highest = self.domains.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: &f32| (logit - highest).exp();
        let some: f32 = places.iter().filter_map(|place| self.domains.get(*place)).map(weight).sum();
        share(some / self.domains.iter().map(weight).sum::<f32>())
    }

    /// Place of the likeliest domain.
    fn domain(&self) -> usize {
        let likeliest = self.domains.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        likeliest.map_or(0, |(at, _)| at)
    }
}

/// What the heads come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Said {
    /// Place of the likeliest domain.
    pub(crate) domain: usize,
    /// Chance of the small reference model.
    pub(crate) p_small: f32,
    /// Chance of the large one, at least the small one's.
    pub(crate) p_large: f32,
    /// 0..=1, higher = needs the larger model more.
    pub(crate) difficulty: f32,
    /// The answer's median length, in tokens.
    pub(crate) p50: u32,
    /// The 90th percentile, at least the median.
    pub(crate) p90: u32,
    /// Whether the task looks like the training prompts.
    pub(crate) familiar: bool,
}

/// The constants of these formulas, from the graph's metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Links {
    platt: Platt,
    difficulty: Difficulty,
    /// Squared distance from the nearest cell that nearly all training prompts keep.
    far: f32,
    /// Share of unknown words that nearly all training prompts keep.
    unknown: f32,
}

/// `(slope, shift)` of both logits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Platt {
    small: [f32; 2],
    large: [f32; 2],
}

/// The logit of difficulty: a sum of weighted numbers and of bends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difficulty {
    bias: f32,
    /// Weight of the gap between both chances.
    gap: f32,
    /// Weight of the rank head.
    rank: f32,
    bends: Vec<Bend>,
}

/// `share · softplus(sharp·(x − from)) / sharp`: nothing below `from`, a line of slope `share` above it. Where it names
/// domains, it counts as far as the task is likely to be of one of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bend {
    of: Number,
    sharp: f32,
    from: f32,
    share: f32,
    /// Places of domains.
    domains: Option<Vec<usize>>,
}

/// What a bend looks at.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Number {
    Easiness,
    /// Between both chances.
    Gap,
    /// Natural logarithm of 1 + the task's words.
    Length,
}

impl Links {
    /// What the heads say of a task with these dense features.
    pub(crate) fn said(&self, heads: &Heads, dense: &[f32; DENSE]) -> Said {
        let bent = |[slope, shift]: [f32; 2], logit: f32| share(sigmoid(slope * logit + shift));
        let p_small = bent(self.platt.small, heads.easiness);
        let p_large = p_small.max(bent(self.platt.large, heads.easiness + softplus(heads.slope)));
        let tokens = |log: f32| log.exp().clamp(*LENGTHS.start(), *LENGTHS.end()).round() as u32;
        let p50 = tokens(heads.log_p50);
        Said {
            domain: heads.domain(),
            p_small,
            p_large,
            difficulty: share(sigmoid(self.difficulty.logit(heads, p_large - p_small, dense[LOG_WORDS]))),
            p50,
            p90: tokens(heads.log_p90).max(p50),
            familiar: heads.distance <= self.far && heads.unknown <= self.unknown,
        }
    }

    /// Whether the numbers are such that formulas with them make sense.
    pub(crate) fn is_sound(&self) -> bool {
        let bends = self.difficulty.bends.iter();
        let finite = |numbers: &[f32]| numbers.iter().all(|number| number.is_finite());
        finite(&self.platt.small)
            && finite(&self.platt.large)
            && finite(&[
                self.far,
                self.unknown,
                self.difficulty.bias,
                self.difficulty.gap,
                self.difficulty.rank,
            ])
            && bends
                .map(|bend| [bend.sharp, bend.from, bend.share])
                .all(|bend| finite(&bend) && bend[0] > 0.0)
    }
}

impl Difficulty {
    fn logit(&self, heads: &Heads, gap: f32, length: f32) -> f32 {
        let bend = |bend: &Bend| {
            let number = match bend.of {
                Number::Easiness => heads.easiness,
                Number::Gap => gap,
                Number::Length => length,
            };
            let likely = bend.domains.as_ref().map_or(1.0, |places| heads.likely(places));
            likely * bend.share * softplus(bend.sharp * (number - bend.from)) / bend.sharp
        };
        self.bias + self.gap * gap + self.rank * heads.rank + self.bends.iter().map(bend).sum::<f32>()
    }
}

fn share(value: f32) -> f32 {
    if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.5 }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// ln(1 + e^x), without overflow.
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links() -> Links {
        let links = r#"{"platt": {"small": [1, 0], "large": [1, 0]}, "far": 9, "unknown": 0.25,
            "difficulty": {"bias": -1, "gap": 4, "rank": 0.5, "bends": [
                {"of": "easiness", "sharp": 3, "from": 1.5, "share": -1},
                {"of": "length", "sharp": 2, "from": 3, "share": 1, "domains": [0, 2]}]}}"#;
        serde_json::from_str(links).unwrap()
    }

    fn heads() -> Heads {
        let mut heads = Heads::default();
        heads.read(&[0.0, 0.5, 3.0, 5.0, 0.2, 0.1, 0.9, 0.3], &[12.0, 4.0, 7.0], 0.2).unwrap();
        heads
    }

    #[test]
    fn outputs_of_another_shape_are_refused() {
        let mut heads = Heads::default();
        assert_eq!(heads.read(&[1.0; 4], &[1.0], 0.0), None);
        assert_eq!(heads.read(&[1.0; 9], &[], 0.0), Some(()));
        assert!(!links().said(&heads, &[0.0; DENSE]).familiar, "no distance is not a short one");
    }

    #[test]
    fn the_formulas_by_hand() {
        let heads = heads();
        let said = links().said(&heads, &[0.0; DENSE]);
        assert_eq!(said.domain, 1);
        let large = 1.0 / (1.0 + (-(0.5f32.exp() + 1.0).ln()).exp());
        assert!((said.p_small - 0.5).abs() < 1e-6 && (said.p_large - large).abs() < 1e-6, "{said:?}");
        assert_eq!((said.p50, said.p90), (20, 148));
        let likely = (0.1f32.exp() + 0.3f32.exp()) / (0.1f32.exp() + 0.9f32.exp() + 0.3f32.exp());
        let bends = -((-4.5f32).exp() + 1.0).ln() / 3.0 + likely * ((-6.0f32).exp() + 1.0).ln() / 2.0;
        let logit = -1.0 + 4.0 * (large - 0.5) + 0.5 * 0.2 + bends;
        assert!((said.difficulty - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6, "{said:?}");
        assert!(said.familiar);
    }

    #[test]
    fn far_or_unknown_is_not_familiar() {
        let familiar = |heads: Heads| links().said(&heads, &[0.0; DENSE]).familiar;
        assert!(!familiar(Heads { distance: 9.1, ..heads() }));
        assert!(!familiar(Heads { unknown: 0.3, ..heads() }));
    }

    #[test]
    fn constants_that_make_no_sense_are_found() {
        assert!(links().is_sound());
        let mut flat = links();
        flat.difficulty.bends[0].sharp = 0.0;
        assert!(!flat.is_sound());
        assert!(!Links { far: f32::NAN, ..links() }.is_sound());
    }

    proptest! {
        #[test]
        fn any_numbers_give_a_sound_score(numbers in prop::array::uniform5(any::<f32>()), length in any::<f32>()) {
            let [easiness, slope, log_p50, log_p90, rank] = numbers;
            let heads = Heads { easiness, slope, log_p50, log_p90, rank, ..heads() };
            let mut dense = [0.0; DENSE];
            dense[LOG_WORDS] = length;
            let said = links().said(&heads, &dense);
            for share in [said.p_small, said.p_large, said.difficulty] {
                prop_assert!((0.0..=1.0).contains(&share), "{said:?}");
            }
            prop_assert!(said.p_large >= said.p_small && said.p90 >= said.p50);
        }
    }
}
