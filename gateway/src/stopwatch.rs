//! Where one request's time goes: in the gateway, or waiting for engines.

use std::time::{Duration, Instant};

/// Runs from a request's arrival to its receipt.
#[derive(Debug)]
pub struct Stopwatch {
    began: Instant,
    sent: Option<Instant>,
    first_token: Option<Instant>,
    /// Time spent waiting for engines, waits that are over.
    waited: Duration,
    /// Since when an engine is being waited for.
    waiting: Option<Instant>,
}

impl Stopwatch {
    /// Of a request that came in at this time.
    #[must_use]
    pub fn new(began: Instant) -> Stopwatch {
        Stopwatch { began, sent: None, first_token: None, waited: Duration::ZERO, waiting: None }
    }

    /// From now on money may be spent.
    pub fn sending(&mut self) {
        self.sent = Some(Instant::now());
        self.wait();
    }

    /// Nothing came of what was sent; returns how long it had.
    pub fn failed(&mut self) -> Duration {
        self.sent.take().map_or(Duration::ZERO, |sent| sent.elapsed())
    }

    /// When the engine that has the request got it.
    #[must_use]
    pub fn sent(&self) -> Option<Instant> {
        self.sent
    }

    /// Nothing came of what was sent last, but what was sent to another engine at this time is still there.
    pub fn back_to(&mut self, sent: Option<Instant>) {
        self.sent = sent;
    }

    /// From now on the engine is waited for: what passes is its time, not the gateway's.
    pub fn wait(&mut self) {
        self.waiting = Some(Instant::now());
    }

    /// The engine was waited for until now.
    pub fn answered(&mut self) {
        self.waited = self.upstream();
        self.waiting = None;
    }

    /// Text has come.
    pub fn token(&mut self) {
        self.first_token.get_or_insert_with(Instant::now);
    }

    /// Whether an engine has the request.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// Since the engine that has the request got it.
    #[must_use]
    pub fn since_sent(&self) -> Duration {
        self.sent.map_or(Duration::ZERO, |sent| sent.elapsed())
    }

    /// Since the request came in.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.began.elapsed()
    }

    /// Time spent waiting for engines so far.
    #[must_use]
    pub fn upstream(&self) -> Duration {
        self.waited + self.waiting.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Time in the gateway so far, not waiting for engines.
    #[must_use]
    pub fn overhead(&self) -> Duration {
        self.total().saturating_sub(self.upstream())
    }

    /// From sending to the first text.
    #[must_use]
    pub fn time_to_first_token(&self) -> Option<Duration> {
        Some(self.first_token?.saturating_duration_since(self.sent?))
    }

    /// Since the first text.
    #[must_use]
    pub fn generation(&self) -> Option<Duration> {
        self.first_token.map(|first| first.elapsed())
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
