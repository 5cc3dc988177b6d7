//! How many prompt tokens each waiting prompt may have read in one step. Pure.
//!
//! Running answers wait while prompts are read, so a step reads only a part; and a short prompt should not wait for a
//! long one, so the room is shared evenly and what a short one leaves goes to the longer ones.

/// Splits `room` tokens over prompts that still have `left` tokens to read: the result has the same order.
pub(super) fn shares(left: &[usize], room: usize) -> Vec<usize> {
    let mut by_length: Vec<usize> = (0..left.len()).collect();
    by_length.sort_by_key(|&prompt| left[prompt]);
    let mut shares = vec![0; left.len()];
    let mut room = room;
    for (served, &prompt) in by_length.iter().enumerate() {
        let fair = room.div_ceil(left.len() - served);
        shares[prompt] = left[prompt].min(fair).min(room);
        room -= shares[prompt];
    }
    shares
}

/// How many tokens of two texts agree from the beginning.
pub(super) fn common_prefix<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_prompts_are_served_whole_and_long_ones_share_the_rest() {
        assert_eq!(shares(&[4000, 20, 300], 128), [54, 20, 54]);
        assert_eq!(shares(&[10, 20], 128), [10, 20]);
        assert_eq!(shares(&[4000], 128), [128]);
        assert_eq!(shares(&[5, 5, 5], 2).iter().sum::<usize>(), 2);
        assert_eq!(shares(&[7, 7], 0), [0, 0]);
        assert!(shares(&[], 10).is_empty());
    }

    #[test]
    fn common_prefixes() {
        assert_eq!(common_prefix(&[1, 2, 3], &[1, 2, 4, 5]), 2);
        assert_eq!(common_prefix(&[1, 2], &[1, 2, 3]), 2);
        assert_eq!(common_prefix::<u8>(&[], &[1]), 0);
    }
}
