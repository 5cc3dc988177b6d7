//! From labelled gaps to what a decision may tolerate: by wanted quality, by the most that may be lost, and the
//! difficulty that keeps its spread.

use super::Label;
use super::bound::allowed_gap;
use super::curve::interpolate;
use super::measure::Said;
use crate::quality::QualityTable;

/// Wanted shares of the large model's quality for which a gap is noted.
const SHARES: [f64; 14] = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995];
/// Shares that may be lost for which a gap is noted.
const LOSSES: [f64; 10] = [0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3];

/// The table that decisions use: the largest gap that kept each share on average, and that shows each loss.
///
/// `prompts` says which prompt each label is of: what was labelled again is no further evidence.
pub(crate) fn table(said: &[Said], labels: &[Label], prompts: &[usize]) -> QualityTable {
    let gap = |said: &Said| said.p_large - said.p_small;
    let cases = lost_of_prompts(said.iter().map(gap), labels, prompts);
    let mut losses: Vec<(f64, f64)> = Vec::new();
    for most in LOSSES {
        // What is shown for a smaller share is shown for a larger one.
        let before = losses.last().map(|last| last.1);
        let gap = allowed_gap(&cases, most).map(|gap| f64::from(gap).clamp(-1.0, 1.0));
        losses.extend(gap.into_iter().chain(before).reduce(f64::max).map(|gap| (most, gap)));
    }
    let kept = kept(said, labels, gap);
    // Six digits: a file gives back exactly what was written.
    let short =
        |points: Vec<(f64, f64)>| points.into_iter().map(|(share, gap)| (six(share), six(gap))).collect();
    QualityTable::with_losses(short(kept), short(losses)).unwrap_or_default()
}

/// For each prompt its gap and the share of its labels that are lost. Of one prompt all gaps are alike, for nothing that
/// was fitted to some of its labels says it of the others.
fn lost_of_prompts(gaps: impl Iterator<Item = f32>, labels: &[Label], prompts: &[usize]) -> Vec<(f32, f64)> {
    let mut sums = vec![(0.0, 0.0, 0.0); prompts.iter().max().map_or(0, |most| most + 1)];
    for ((gap, label), prompt) in gaps.zip(labels).zip(prompts) {
        let (of_gaps, lost, count) = &mut sums[*prompt];
        *of_gaps += f64::from(gap);
        *lost += f64::from(u8::from(label.large_ok && !label.small_ok));
        *count += 1.0;
    }
    sums.into_iter().map(|(gaps, lost, count)| ((gaps / count) as f32, lost / count)).collect()
}

fn six(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// `(share kept, gap)` on average over the labels; the shares that the small model keeps alone are left out.
fn kept(said: &[Said], labels: &[Label], gap: impl Fn(&Said) -> f32) -> Vec<(f64, f64)> {
    let mut cases: Vec<(f32, Label)> = said.iter().map(gap).zip(labels.iter().copied()).collect();
    cases.sort_by(|a, b| a.0.total_cmp(&b.0));
    let one = |good: bool| f64::from(u8::from(good));
    let large: f64 = cases.iter().map(|case| one(case.1.large_ok)).sum();
    let mut total = large;
    // Where many have one gap, as with stepped curves, a decision sends all of them or none.
    let mut kept = Vec::with_capacity(cases.len());
    for alike in cases.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq()) {
        total += alike.iter().map(|case| one(case.1.small_ok) - one(case.1.large_ok)).sum::<f64>();
        kept.push((total / large.max(1.0), alike[0].0));
    }
    let mut points: Vec<(f64, f64)> = Vec::new();
    let alone = kept.last().map_or(1.0, |last| last.0);
    // Below what the small model keeps alone any gap will do.
    for share in
        std::iter::once(alone.clamp(0.0, 0.99)).chain(SHARES.into_iter().filter(|share| *share > alone))
    {
        // The last place from which everything before it kept the share: a lucky dip later is not trusted.
        let place = kept.iter().position(|kept| kept.0 < share).map_or(kept.len(), |first| first);
        let allowed = if place == 0 { 0.0 } else { f64::from(kept[place - 1].1).clamp(0.0, 1.0) };
        let before = points.last().map_or(1.0, |point| point.1);
        if points.last().is_none_or(|point| share > point.0) {
            points.push((share, if points.is_empty() { 1.0 } else { allowed.min(before) }));
        }
    }
    points
}

/// `(order, difficulty)`: the new order on the old difficulties' spread, so that a policy's thresholds on
/// difficulty go on meaning the share of requests they meant.
pub(crate) fn difficulty(orders: &[f32], difficulties: &[f32]) -> Vec<(f32, f32)> {
    const KNOTS: usize = 33;
    let sorted = |values: &[f32]| {
        let mut values = values.to_vec();
        values.sort_by(f32::total_cmp);
        values
    };
    let (orders, difficulties) = (sorted(orders), sorted(difficulties));
    let quantile = |values: &[f32], nth: usize| values[nth * (values.len() - 1) / (KNOTS - 1)];
    let mut knots: Vec<(f32, f32)> = vec![(-1.0, 0.0)];
    for nth in 0..KNOTS {
        let knot = (quantile(&orders, nth), quantile(&difficulties, nth));
        if knots.last().is_some_and(|last| knot.0 > last.0 + 1e-5) {
            knots.push(knot);
        }
    }
    knots.push((knots.last().map_or(1.0, |last| last.0.max(0.999_99) + 1e-5), 1.0));
    // Strictly rising, so that no two orders become one difficulty.
    for at in 1..knots.len() {
        knots[at].1 = knots[at].1.max(knots[at - 1].1 + 1e-6);
    }
    knots
}

/// The difficulty of an order.
pub(crate) fn difficulty_of(knots: &[(f32, f32)], order: f32) -> f32 {
    interpolate(knots, order).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::shuffle::Shuffle;

    /// Labels whose chance of being lost is their gap.
    fn labelled(count: usize, seed: u64) -> (Vec<Said>, Vec<Label>) {
        let mut chance = Shuffle::new(seed);
        let case = |_| {
            let gap = chance.unit() * 0.6;
            let said = Said { order: gap, p_small: 0.9 - gap, p_large: 0.9 };
            let large_ok = chance.unit() < 0.9;
            (said, Label { small_ok: large_ok && chance.unit() > gap / 0.9, large_ok })
        };
        (0..count).map(case).unzip()
    }

    /// Every label is of a prompt of its own.
    fn each(labels: &[Label]) -> Vec<usize> {
        (0..labels.len()).collect()
    }

    #[test]
    fn labels_given_again_bound_no_more() {
        let (said, labels) = labelled(300, 5);
        let once = table(&said, &labels, &each(&labels));
        let again = |of: usize| (0..10 * of).map(|at| at % of).collect::<Vec<usize>>();
        let places = again(said.len());
        let (said, labels): (Vec<Said>, Vec<Label>) =
            places.iter().map(|at| (said[*at], labels[*at])).unzip();
        let repeated = table(&said, &labels, &places);
        for most in [0.05, 0.1, 0.15, 0.2, 0.3] {
            assert_eq!(repeated.gap_for_loss(most), once.gap_for_loss(most), "{most}");
        }
        let taken_for_more = table(&said, &labels, &each(&labels));
        assert!(taken_for_more.gap_for_loss(0.15) > once.gap_for_loss(0.15), "or the test shows nothing");
    }

    #[test]
    fn the_tolerated_gap_keeps_the_wanted_share_on_other_labels() {
        let (said, labels) = labelled(4_000, 5);
        let table = table(&said, &labels, &each(&labels));
        let (said, labels) = labelled(4_000, 6);
        for wanted in [0.8, 0.9, 0.95, 0.98] {
            let gap = table.tolerated_gap(wanted) as f32;
            let small = |said: &Said| said.p_large - said.p_small <= gap;
            let right = said
                .iter()
                .zip(&labels)
                .filter(|(said, label)| if small(said) { label.small_ok } else { label.large_ok })
                .count();
            let kept = right as f64 / labels.iter().filter(|label| label.large_ok).count() as f64;
            assert!((kept - wanted).abs() < 0.02, "{wanted}: kept {kept} at {gap}");
        }
    }

    #[test]
    fn what_has_one_gap_is_sent_together() {
        // At one gap nothing is lost, at the other half of it; those that are not lost happen to come first.
        let said = |gap: f32| Said { order: gap, p_small: 0.9 - gap, p_large: 0.9 };
        let (said, labels): (Vec<Said>, Vec<Label>) = (0..200)
            .map(|at| {
                let gap = if at < 100 { 0.1 } else { 0.3 };
                (said(gap), Label { small_ok: at < 150, large_ok: true })
            })
            .unzip();
        let table = table(&said, &labels, &each(&labels));
        for wanted in [0.9, 0.95, 0.99] {
            let gap = table.tolerated_gap(wanted);
            assert!(gap < 0.3, "{wanted}: all that have {gap} keep 0.75");
        }
        assert!(table.tolerated_gap(0.95) >= 0.1 - 1e-6);
    }

    #[test]
    fn losses_are_bounded_below_their_average() {
        let (said, labels) = labelled(4_000, 5);
        let table = table(&said, &labels, &each(&labels));
        // Lost on average below a gap g: g / 2. The bound must stay under, and near.
        let gap = table.gap_for_loss(0.1).unwrap();
        assert!(gap < 0.2 && gap > 0.14, "{gap}");
        let tighter = table.gap_for_loss(0.075).unwrap();
        assert!(tighter < gap && tighter < 0.15, "{tighter}");
        assert!(table.gap_for_loss(0.001).is_none(), "less than any that was noted");
    }

    #[test]
    fn difficulty_keeps_its_spread_and_takes_the_order() {
        let orders: Vec<f32> = (0..200).map(|at| -0.2 + at as f32 / 400.0).collect();
        let old: Vec<f32> = (0..200).map(|at| (at * 83 % 200) as f32 / 250.0).collect();
        let knots = difficulty(&orders, &old);
        let new: Vec<f32> = orders.iter().map(|order| difficulty_of(&knots, *order)).collect();
        assert!(new.windows(2).all(|pair| pair[0] < pair[1]));
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean(&new) - mean(&old)).abs() < 0.02);
        assert!(difficulty_of(&knots, -2.0) >= 0.0 && difficulty_of(&knots, 2.0) <= 1.0);
        assert!(difficulty_of(&difficulty(&[0.1; 50], &[0.3; 50]), 0.1).is_finite(), "all alike");
    }
}
