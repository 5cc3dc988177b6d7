//! How many prompt tokens each waiting prompt may have read in one step. Pure.
//!
//! Running answers wait while prompts are read, so a step reads only a part. The prompt with the least left goes first,
//! for a short one should not wait for a long one; yet the one that came first always has a quarter of the room, so that
//! no stream of short ones can starve it.

/// One in so many tokens is read for the oldest prompt, whatever else there is.
const OLDEST_SHARE: usize = 4;

/// A prompt that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    /// Tokens it has left to read.
    pub(super) left: usize,
    /// Tokens after which somebody can begin to write: its own, or less where another prompt waits for its beginning.
    pub(super) urgency: usize,
    /// Lower came earlier.
    pub(super) admission: u64,
}

/// Splits `room` tokens over the prompts: the result has the same order.
pub(super) fn shares(readers: &[Reader], room: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..readers.len()).collect();
    order.sort_by_key(|&reader| (readers[reader].urgency, readers[reader].admission));
    let oldest = order.iter().copied().min_by_key(|&reader| readers[reader].admission);
    let kept = oldest.map(|reader| (reader, room.div_ceil(OLDEST_SHARE)));
    let mut shares = vec![0; readers.len()];
    let mut room = room;
    for (reader, most) in kept.into_iter().chain(order.into_iter().map(|reader| (reader, usize::MAX))) {
        let granted = (readers[reader].left - shares[reader]).min(most).min(room);
        shares[reader] += granted;
        room -= granted;
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

    /// Prompts in the order they came, each with so much left.
    fn share(left: &[usize], room: usize) -> Vec<usize> {
        let readers =
            left.iter().zip(0..).map(|(&left, admission)| Reader { left, urgency: left, admission });
        shares(&readers.collect::<Vec<_>>(), room)
    }

    #[test]
    fn short_prompts_go_first_and_the_oldest_is_never_starved() {
        assert_eq!(share(&[4000, 20, 300], 128), [32, 20, 76]);
        assert_eq!(share(&[20, 4000, 300], 128), [20, 0, 108]);
        assert_eq!(share(&[10, 20], 128), [10, 20]);
        assert_eq!(share(&[4000], 128), [128]);
        assert_eq!(share(&[4000, 5, 5], 128), [118, 5, 5]);
        assert_eq!(share(&[5, 5, 5], 2).iter().sum::<usize>(), 2);
        assert_eq!(share(&[7, 7], 0), [0, 0]);
        assert!(share(&[], 10).is_empty());
    }

    #[test]
    fn a_prompt_that_others_wait_for_counts_as_the_shortest_of_them() {
        let long = Reader { left: 4000, urgency: 60, admission: 2 };
        let readers = [Reader { left: 500, urgency: 500, admission: 1 }, long];
        assert_eq!(shares(&readers, 100), [25, 75]);
    }

    #[test]
    fn common_prefixes() {
        assert_eq!(common_prefix(&[1, 2, 3], &[1, 2, 4, 5]), 2);
        assert_eq!(common_prefix(&[1, 2], &[1, 2, 3]), 2);
        assert_eq!(common_prefix::<u8>(&[], &[1]), 0);
    }
}
