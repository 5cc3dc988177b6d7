//! How much worse a model may be expected to do before it is no longer good enough.
//!
//! Training replays "send a prompt to the small model when the expected loss is at most `gap`" on
//! prompts the graph had not seen, and notes which share of the large model's quality each gap kept.
//! The table travels in the graph's metadata. So a wanted quality of 0.95 keeps 95 % on average over
//! prompts like the training ones; it says nothing about a single request.

use serde::{Deserialize, Serialize};

/// Kept share of quality → largest tolerated gap, from training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityTable {
    /// `(kept share, tolerated gap)`: shares rise, gaps fall.
    points: Vec<(f64, f64)>,
    /// `(share lost, tolerated gap)`, both rising; only a calibration has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    losses: Vec<(f64, f64)>,
}

/// The gap where nothing is asked: any model will do.
pub(crate) const ANY_GAP: f64 = 1.0;

impl QualityTable {
    /// A table of `(kept share, tolerated gap)`; `None` unless there are two or more points, shares
    /// rise and gaps do not, and all lie in 0..=1.
    pub fn new(points: Vec<(f64, f64)>) -> Option<QualityTable> {
        let inside = |value: f64| (0.0..=1.0).contains(&value);
        let ordered = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 >= pair[1].1);
        let valid =
            points.len() >= 2 && ordered && points.iter().all(|(share, gap)| inside(*share) && inside(*gap));
        valid.then_some(QualityTable { points, losses: Vec::new() })
    }

    /// The same with gaps that bound what is lost, as `(share lost, tolerated gap)`; `None` unless both rise and
    /// shares lie in 0..=1 and gaps in -1..=1.
    pub fn with_losses(points: Vec<(f64, f64)>, losses: Vec<(f64, f64)>) -> Option<QualityTable> {
        let ordered = losses.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let inside =
            losses.iter().all(|(most, gap)| (0.0..=1.0).contains(most) && (-1.0..=1.0).contains(gap));
        let table = QualityTable::new(points)?;
        (ordered && inside).then_some(QualityTable { losses, ..table })
    }

    /// The largest gap at which at most this share of the requests sent to the small model is lost (fails, where the
    /// large one would not have), with 95 % confidence; `None` where no calibration shows as little.
    pub fn gap_for_loss(&self, most: f64) -> Option<f64> {
        let above = self.losses.partition_point(|(share, _)| *share <= most);
        self.losses[..above].last().map(|(_, gap)| *gap)
    }

    /// Whether bounds on losses are known at all.
    pub fn bounds_losses(&self) -> bool {
        !self.losses.is_empty()
    }

    /// Whether a deserialised table is one that [`QualityTable::with_losses`] would make.
    pub(crate) fn is_sound(&self) -> bool {
        QualityTable::with_losses(self.points.clone(), self.losses.clone()).is_some()
    }

    /// The largest tolerated gap for a wanted share of the baseline's quality.
    ///
    /// Never rises with `quality`; 1 tolerates nothing, and below the table's first share anything goes.
    pub fn tolerated_gap(&self, quality: f64) -> f64 {
        let last = self.points[self.points.len() - 1];
        if quality >= 1.0 || quality.is_nan() {
            return 0.0;
        }
        if quality < self.points[0].0 {
            return ANY_GAP;
        }
        let above = self.points.partition_point(|(share, _)| *share <= quality);
        let (low, high) = match self.points.get(above) {
            Some(high) => (self.points[above - 1], *high),
            None => (last, (1.0, 0.0)),
        };
        low.1 + (high.1 - low.1) * (quality - low.0) / (high.0 - low.0)
    }
}

impl Default for QualityTable {
    /// One point lost for one point of gap: what to assume when nothing was measured.
    fn default() -> QualityTable {
        QualityTable { points: vec![(0.0, 1.0), (1.0, 0.0)], losses: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn interpolates_and_ends_at_nothing() {
        let table = QualityTable::new(vec![(0.8, 0.6), (0.9, 0.4)]).unwrap();
        for (quality, gap) in
            [(0.5, 1.0), (0.8, 0.6), (0.85, 0.5), (0.9, 0.4), (0.95, 0.2), (1.0, 0.0), (f64::NAN, 0.0)]
        {
            assert!((table.tolerated_gap(quality) - gap).abs() < 1e-9, "{quality}");
        }
    }

    #[test]
    fn refuses_a_table_that_is_not_one() {
        assert!(QualityTable::new(vec![(0.5, 0.5)]).is_none());
        assert!(QualityTable::new(vec![(0.5, 0.5), (0.5, 0.4)]).is_none());
        assert!(QualityTable::new(vec![(0.5, 0.5), (0.6, 0.6)]).is_none());
        assert!(QualityTable::new(vec![(0.5, 1.5), (0.6, 0.6)]).is_none());
    }

    proptest! {
        #[test]
        fn tolerance_never_rises_with_quality(a in 0.0..1.1f64, b in 0.0..1.1f64) {
            let table = QualityTable::new(vec![(0.6, 0.9), (0.8, 0.3), (0.99, 0.05)]).unwrap();
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(table.tolerated_gap(low) >= table.tolerated_gap(high));
        }
    }
}
