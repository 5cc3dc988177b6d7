//! Measures how fast the engine reads and writes, and from that how much a step may read and how its time is shared.

use std::time::Duration;

/// Tokens that an answer is taken to have until the first has ended.
const FIRST_ANSWER: f64 = 128.0;
/// Weight of the newest step in an average.
const NEWEST: f64 = 0.1;
/// A step with fewer prompt tokens says little about the reading speed.
const TELLING_TOKENS: usize = 16;
/// Nor does one that spends less of its time on them.
const TELLING_SHARE: f64 = 0.2;
/// How long a step that reads as if alone may take: it bounds how late a cancelled request frees its slot, and how long answers hesitate
/// where more prompts wait than answers run.
const READING_STEP: Duration = Duration::from_millis(400);
/// How long a step may read while answers are being written, if writing takes no longer: it bounds their hesitation.
const MIXED_STEP: Duration = Duration::from_millis(120);
/// A step reads no fewer tokens beside answers: they cost two fifths more than in a large batch, but answers hesitate less.
const LEAST_READ: usize = 32;
/// Nor a step that reads as if alone: from here on tokens cost no less in larger batches.
const LEAST_READ_ALONE: usize = 128;

/// Running averages. A speed is 0 until measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    /// Tokens per second one answer gets.
    pub(super) written_per_second: f64,
    /// Prompt tokens per second.
    pub(super) read_per_second: f64,
    /// Seconds a request held its slot.
    served_seconds: f64,
    /// Seconds a token of an answer costs where nothing else is computed: writers share the weights that are read.
    token_seconds: f64,
    /// Seconds since an answer was last written for, where answers wait.
    stalled: f64,
}

impl Meter {
    /// Notes a step that read `read` prompt tokens (and guesses) and wrote `written` tokens in all for `writers` answers, while
    /// so many others waited for their adapter's turn.
    pub(super) fn step(
        &mut self,
        read: usize,
        (writers, waiting): (usize, usize),
        written: usize,
        took: Duration,
    ) {
        let seconds = took.as_secs_f64().max(1e-6);
        if writers == 0 {
            self.stalled = if waiting > 0 { self.stalled + seconds } else { 0.0 };
        } else {
            let each = written as f64 / (writers + waiting) as f64;
            average(&mut self.written_per_second, each / (seconds + std::mem::take(&mut self.stalled)));
            if read == 0 {
                average(&mut self.token_seconds, seconds / writers as f64);
            }
        }
        // What writing takes in the same step is no part of the reading speed; where it is nearly all, nothing is told.
        let reading = seconds - self.token_seconds * writers as f64;
        if read >= TELLING_TOKENS && reading > seconds * TELLING_SHARE {
            average(&mut self.read_per_second, read as f64 / reading);
        }
    }

    /// The share of a step's time that one token of an answer costs, and one of a prompt, in a step with so many of
    /// both: in proportion to what each takes where it is computed apart. All shares together are the whole.
    pub(super) fn token_shares(&self, writers: usize, read: usize) -> (f64, f64) {
        let known = self.token_seconds > 0.0 && self.read_per_second > 0.0;
        let (write, read_one) =
            if known { (self.token_seconds, 1.0 / self.read_per_second) } else { (1.0, 1.0) };
        let whole = write * writers as f64 + read_one * read as f64;
        if whole > 0.0 { (write / whole, read_one / whole) } else { (0.0, 0.0) }
    }

    /// Seconds that a request holds its slot, by the last ones; 0 where nothing is known.
    pub(super) fn service_seconds(&self) -> f64 {
        match (self.served_seconds > 0.0, self.written_per_second > 0.0) {
            (true, _) => self.served_seconds,
            (false, true) => FIRST_ANSWER / self.written_per_second,
            (false, false) => 0.0,
        }
    }

    /// Seconds that a request will go on to hold its slot, which it has held for `held` and in which at most so many prompt tokens
    /// are read and so many of its answer written: as long as others do, or, once it has held it for longer, as long again.
    pub(super) fn left(&self, held: Duration, unread: usize, unwritten: usize) -> f64 {
        let usual = self.service_seconds().max(held.as_secs_f64());
        if self.read_per_second <= 0.0 || self.written_per_second <= 0.0 {
            return usual;
        }
        usual.min(unread as f64 / self.read_per_second + unwritten as f64 / self.written_per_second)
    }

    /// Notes a request that held its slot for `held`.
    pub(super) fn served(&mut self, held: Duration) {
        average(&mut self.served_seconds, held.as_secs_f64());
    }

    /// Prompt tokens the next step may read beside so many answers, for so many prompts. Where more wait to be answered than are being
    /// answered, as when many come at once, it reads as if alone: all are served sooner, and small batches cost more.
    pub(super) fn reading_room(&self, writers: usize, readers: usize, batch: usize) -> usize {
        let (limit, least) = if readers > writers {
            (READING_STEP.as_secs_f64(), LEAST_READ_ALONE)
        } else {
            (MIXED_STEP.as_secs_f64().max(self.token_seconds * writers as f64), LEAST_READ)
        };
        let room = (self.read_per_second * limit) as usize;
        // Whole multiples keep the matrix kernels' tiles full.
        (room / LEAST_READ * LEAST_READ).max(least).min(batch.max(LEAST_READ))
    }
}

fn average(value: &mut f64, newest: f64) {
    *value = if *value == 0.0 { newest } else { *value + NEWEST * (newest - *value) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_follow_what_is_measured() {
        let mut meter = Meter::default();
        meter.step(100, (0, 0), 0, Duration::from_millis(200));
        meter.step(0, (2, 0), 2, Duration::from_millis(20));
        assert!((meter.read_per_second - 500.0).abs() < 1e-6);
        assert!((meter.written_per_second - 50.0).abs() < 1e-6);
        for _ in 0..100 {
            meter.step(4, (1, 0), 1, Duration::from_millis(40));
        }
        assert!((meter.read_per_second - 500.0).abs() < 1e-6, "few tokens say nothing");
        assert!((meter.written_per_second - 25.0).abs() < 0.1);
    }

    #[test]
    fn an_answer_is_as_fast_as_its_adapters_turns_let_it_be() {
        let mut meter = Meter::default();
        for _ in 0..100 {
            meter.step(0, (1, 1), 1, Duration::from_millis(20));
        }
        assert!((meter.written_per_second - 25.0).abs() < 1e-6, "each gets every other step");
        let mut meter = Meter::default();
        for _ in 0..100 {
            meter.step(50, (0, 1), 0, Duration::from_millis(80));
            meter.step(0, (1, 0), 1, Duration::from_millis(20));
        }
        assert!(
            (meter.written_per_second - 10.0).abs() < 1e-6,
            "another adapter's prompt is read in between"
        );
        assert!((meter.token_seconds - 0.02).abs() < 1e-9, "which is no part of what a token costs");
    }

    #[test]
    fn what_has_run_for_long_is_taken_to_go_on_as_far_as_it_may() {
        let mut meter = Meter::default();
        let left = |meter: &Meter, seconds, unwritten| meter.left(Duration::from_secs(seconds), 0, unwritten);
        assert!(meter.service_seconds().abs() < 1e-9, "nothing is known");
        meter.step(100, (0, 0), 0, Duration::from_millis(200));
        meter.step(0, (1, 0), 1, Duration::from_millis(100));
        assert!((meter.service_seconds() - 12.8).abs() < 1e-9, "an answer at the speed that is known");
        meter.served(Duration::from_secs(4));
        assert!((left(&meter, 1, 100) - 4.0).abs() < 1e-9, "as others do");
        assert!((left(&meter, 9, 1_000) - 9.0).abs() < 1e-9, "as long again");
        assert!((left(&meter, 9, 20) - 2.0).abs() < 1e-9, "no more than it may write");
        assert!((meter.left(Duration::ZERO, 1_000, 10) - 3.0).abs() < 1e-9, "with its prompt");
    }

    #[test]
    fn time_is_shared_by_what_each_token_costs_apart() {
        let mut meter = Meter::default();
        assert_eq!(meter.token_shares(1, 3), (0.25, 0.25), "until measured, evenly");
        meter.step(100, (0, 0), 0, Duration::from_secs(1));
        meter.step(0, (2, 0), 2, Duration::from_millis(80));
        let (write, read) = meter.token_shares(2, 32);
        assert!((write / read - 4.0).abs() < 1e-9, "40 ms against 10 ms");
        assert!((write * 2.0 + read * 32.0 - 1.0).abs() < 1e-9, "nothing is lost");
    }

    #[test]
    fn a_step_reads_less_while_answers_run() {
        let mut meter = Meter::default();
        assert_eq!(meter.reading_room(0, 1, 512), LEAST_READ_ALONE);
        assert_eq!(meter.reading_room(1, 1, 512), LEAST_READ);
        assert_eq!(meter.reading_room(0, 1, 64), 64, "never more than a batch");
        meter.step(1000, (0, 0), 0, Duration::from_secs(1));
        assert_eq!(meter.reading_room(0, 1, 512), 384);
        assert_eq!(meter.reading_room(1, 1, 512), 96);
        assert_eq!(meter.reading_room(3, 5, 512), 384, "more wait than are answered");
        meter.step(0, (8, 0), 8, Duration::from_millis(240));
        assert_eq!(meter.reading_room(8, 1, 512), 224, "as long as writing takes");
        meter.step(224, (8, 0), 8, Duration::from_millis(464));
        assert!((meter.read_per_second - 1000.0).abs() < 1.0, "what was written meanwhile does not count");
        meter.read_per_second = 1e6;
        assert_eq!(meter.reading_room(1, 1, 512), 512);
    }
}
