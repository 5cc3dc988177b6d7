//! N-grams that occur several times become one that weighs more, but not as much more.
//!
//! The squares of the weights are added: ten times the same word weigh as three. Else what a pasted document says over
//! and over would drown the question below it. Long texts repeat many words, so fewer table rows are read, too.

/// Where each row was met first: open addressing, reused from text to text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merger {
    /// 1 + place in the list; 0 = free. A power of two long, at most half full.
    slots: Vec<u32>,
}

impl Merger {
    /// Brings together what has the same id; the order of first occurrences stays.
    pub(crate) fn merge(&mut self, ids: &mut Vec<i32>, weights: &mut Vec<f32>) {
        let bits = (ids.len() * 2).next_power_of_two().trailing_zeros().max(4);
        self.slots.clear();
        self.slots.resize(1 << bits, 0);
        let mut kept = 0;
        for at in 0..ids.len() {
            let (id, weight) = (ids[at], weights[at]);
            // Fibonacci hashing: the top bits of the product with 2^32 over the golden ratio.
            let mut slot = (id.cast_unsigned().wrapping_mul(0x9E37_79B9) >> (32 - bits)) as usize;
            loop {
                match self.slots[slot] {
                    0 => {
                        (ids[kept], weights[kept]) = (id, weight);
                        kept += 1;
                        self.slots[slot] = kept as u32;
                        break;
                    }
                    place if ids[place as usize - 1] == id => {
                        let all = &mut weights[place as usize - 1];
                        *all = (*all * *all + weight * weight).sqrt();
                        break;
                    }
                    _ => slot = (slot + 1) & (self.slots.len() - 1),
                }
            }
        }
        ids.truncate(kept);
        weights.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn merged(ids: &[i32], weights: &[f32]) -> Vec<(i32, f32)> {
        let (mut ids, mut weights) = (ids.to_vec(), weights.to_vec());
        let mut merger = Merger { slots: vec![7; 3] };
        merger.merge(&mut ids, &mut weights);
        ids.into_iter().zip(weights).collect()
    }

    #[test]
    fn equal_ids_become_one_where_they_came_first() {
        assert_eq!(
            merged(&[5, 9, 5, 0, 9, 5], &[2.0, 3.0, 3.0, 1.0, 4.0, 6.0]),
            [(5, 7.0), (9, 5.0), (0, 1.0)]
        );
        assert_eq!(merged(&[], &[]), []);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(ids in prop::collection::vec(0i32..300, 0..900)) {
            let mut wanted = BTreeMap::new();
            ids.iter().for_each(|id| *wanted.entry(*id).or_insert(0) += 1);
            let found = merged(&ids, &vec![1.0; ids.len()]);
            prop_assert_eq!(found.len(), wanted.len());
            for (id, weight) in found {
                prop_assert_eq!((weight * weight).round() as i32, wanted[&id]);
            }
        }
    }
}
