//! How far the small model may be trusted, with a guarantee: exact binomial bounds on what is lost.
//!
//! A gap is allowed when, of the labelled prompts at or below it, so few were lost (the small model failed
//! and the large one did not) that their true share is at most `most` with the stated confidence. Gaps are
//! tried from a start upwards and the first that cannot be shown ends it (fixed-sequence testing), so trying
//! many costs no confidence. Few labels lie at the smallest gaps, and a handful can fail to show what hundreds
//! would, so there are a few starts, which share the doubt. It holds for traffic like the labels.

/// Confidence of every bound.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// Steps in which gaps are tried.
const STEP: f32 = 0.01;
/// Each of these shares of the labels, those of the smallest gaps, is a start; fixed, so that no outcome chooses.
const STARTS: [f64; 4] = [0.05, 0.1, 0.25, 0.5];

/// The Clopper-Pearson upper bound: the largest share that makes `events` of `count` or fewer as unlikely as
/// `1 - confidence`.
pub(crate) fn upper(events: usize, count: usize, confidence: f64) -> f64 {
    if events >= count {
        return 1.0;
    }
    let (mut low, mut high) = (events as f64 / count as f64, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if at_most(events, count, middle) > 1.0 - confidence { low = middle } else { high = middle }
    }
    high
}

/// Probability of at most `events` of `count`, each of probability `p`; summed in logarithms, largest first.
fn at_most(events: usize, count: usize, p: f64) -> f64 {
    if p >= 1.0 {
        return 0.0;
    }
    let odds = (p / (1.0 - p)).ln();
    let mut term = count as f64 * (1.0 - p).ln();
    let mut sum = term;
    for nth in 0..events {
        term += ((count - nth) as f64 / (nth + 1) as f64).ln() + odds;
        let (most, least) = if term > sum { (term, sum) } else { (sum, term) };
        sum = most + (least - most).exp().ln_1p();
    }
    sum.exp()
}

/// The largest gap for which at most a share `most` of those at or below it is lost; `None` if none can be shown.
///
/// `cases` are `(gap, lost)` of prompts; of one that was labelled more than once `lost` is a share. What is lost of them
/// together is rounded up: shares vary less than ones and noughts of the same mean, so the bound holds for them too.
pub(crate) fn allowed_gap(cases: &[(f32, f64)], most: f64) -> Option<f32> {
    let mut sorted = cases.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let confidence = 1.0 - (1.0 - CONFIDENCE) / STARTS.len() as f64;
    let from = |share: f64| climb(&sorted, (share * sorted.len() as f64) as usize, most, confidence);
    STARTS.into_iter().filter_map(from).reduce(f32::max)
}

/// The last gap, going up from the one that takes in `start` cases, that still shows it.
fn climb(sorted: &[(f32, f64)], start: usize, most: f64, confidence: f64) -> Option<f32> {
    let (first, last) = (sorted.get(start)?.0, sorted.last()?.0);
    let (mut taken, mut lost, mut allowed) = (0, 0.0, None);
    let mut gap = (first / STEP).ceil() * STEP;
    loop {
        while let Some(case) = sorted.get(taken).filter(|case| case.0 <= gap) {
            lost += case.1;
            taken += 1;
        }
        // Shares that come to a whole must not be more of it by their rounding.
        let events = (lost - 1e-9f64).ceil().max(0.0) as usize;
        if upper(events, taken, confidence) > most {
            return allowed;
        }
        allowed = Some(gap);
        if gap > last {
            return allowed;
        }
        gap += STEP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::shuffle::Shuffle;

    #[test]
    fn bounds_are_those_of_the_tables() {
        // One-sided 95 % Clopper-Pearson bounds, as printed in statistical tables.
        for (events, count, bound) in
            [(0, 59, 0.0495), (0, 299, 0.00997), (1, 20, 0.2161), (5, 100, 0.1023), (50, 500, 0.1247)]
        {
            let found = upper(events, count, 0.95);
            assert!((found - bound).abs() < 6e-4, "{events} of {count}: {found}");
        }
        assert!((upper(3, 3, 0.95) - 1.0).abs() < 1e-12);
        let large = upper(1_000, 10_000, 0.95);
        assert!(large > 0.1 && large < 0.106, "no underflow: {large}");
    }

    #[test]
    fn nothing_is_shown_by_too_few() {
        let cases: Vec<(f32, f64)> = (0..40).map(|at| (at as f32 / 40.0, 0.0)).collect();
        assert_eq!(allowed_gap(&cases, 0.01), None);
        assert!(allowed_gap(&cases, 0.5).is_some());
    }

    /// The promise itself: over 200 sets of labels, the true loss at the allowed gap is above what was allowed in
    /// about one of twenty at most (19 of 200 is the 99.5 % quantile of one in twenty).
    #[test]
    fn the_bound_holds_for_95_of_100_sets_of_labels() {
        // Gaps are even in 0..1 and lost with probability 0.02 + 0.4 gap²; so this is lost on average up to a gap:
        let truth = |gap: f64| 0.02 + 0.4 * gap.min(1.0).powi(2) / 3.0;
        for (most, useful) in [(0.05, 0.1), (0.10, 0.4)] {
            let (mut broken, mut allowed) = (0, 0.0);
            for set in 0..200 {
                let mut chance = Shuffle::new(set);
                let cases: Vec<(f32, f64)> = (0..1_500)
                    .map(|_| chance.unit())
                    .collect::<Vec<f32>>()
                    .into_iter()
                    .map(|gap| (gap, f64::from(u8::from(chance.unit() < 0.02 + 0.4 * gap * gap))))
                    .collect();
                // Where nothing can be shown nothing is sent, and nothing lost.
                if let Some(gap) = allowed_gap(&cases, most).map(f64::from) {
                    broken += usize::from(truth(gap) > most);
                    allowed += gap / 200.0;
                }
            }
            assert!(broken <= 19, "{most}: broken by {broken} of 200");
            assert!(allowed > useful, "{most}: a bound that allows nothing is no use: {allowed}");
        }
    }
}
