//! Scores of tasks seen lately: the steps of an agent's turn ask again and again about the same task.
//!
//! A score depends on nothing but the task's passages and the calibration in force, so a remembered one is the one
//! that would be computed. Tasks are told apart by a 64-bit keyed hash (SipHash with a key of this process, so
//! that nobody can make two prompts collide); with N tasks remembered a false hit has odds of N in 2^64.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use crate::classify::Score;
use crate::task::Task;

/// Which task, under which calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    era: u64,
    task: u64,
}

/// The scores.
pub(crate) struct Memo {
    scores: Cache<Key, Score>,
    hash: RandomState,
    /// Counts the calibrations: what was scored under an earlier one is never found again.
    era: AtomicU64,
}

impl Memo {
    /// Room for so many tasks.
    pub(crate) fn new(tasks: usize) -> Memo {
        Memo { scores: Cache::new(tasks), hash: RandomState::new(), era: AtomicU64::new(0) }
    }

    /// What a task's score is remembered by. Taken before it is scored, so that a calibration that changes meanwhile
    /// leaves the score with the old one.
    pub(crate) fn key(&self, task: &Task<'_>) -> Key {
        let era = self.era.load(Ordering::Acquire);
        let mut hasher = self.hash.build_hasher();
        for passage in task.passages() {
            hasher.write_usize(passage.text.len());
            hasher.write(passage.text.as_bytes());
            hasher.write_u32(passage.weight.to_bits());
            hasher.write_u8(u8::from(passage.counted));
        }
        Key { era, task: hasher.finish() }
    }

    pub(crate) fn recall(&self, key: &Key) -> Option<Score> {
        self.scores.get(key)
    }

    pub(crate) fn remember(&self, key: Key, score: &Score) {
        self.scores.insert(key, score.clone());
    }

    /// Another calibration is in force from now on.
    pub(crate) fn forget(&self) {
        self.era.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_found_for_its_task_until_the_calibration_changes() {
        let memo = Memo::new(16);
        let (task, other) = (Task::prompt("Name a river."), Task::prompt("Name a river"));
        let key = memo.key(&task);
        assert!(memo.recall(&key).is_none());
        memo.remember(key, &Score { difficulty: 0.25, ..Score::default() });
        assert!(memo.recall(&memo.key(&task)).is_some_and(|score| (score.difficulty - 0.25).abs() < 1e-6));
        assert!(memo.recall(&memo.key(&other)).is_none());
        memo.forget();
        assert!(memo.recall(&memo.key(&task)).is_none());
    }
}
