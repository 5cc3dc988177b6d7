//! Pacing: each second the price of money moves by what was spent; each hour the daily shape of the traffic is read again.

use std::time::{Duration, Instant};

use tollgate_policies::{Pace, Shape};

use crate::app::App;
use crate::ledger::{LedgerError, Reader, now_ms};

/// Between two looks at the ledger for the shape of a day.
const LOOK_BACK: Duration = Duration::from_secs(3600);
/// How far back it looks: whole days, so that every hour counts alike.
const DAYS: u64 = 7;
const DAY_MS: u64 = 86_400_000;

/// What pacing knows of the traffic.
#[derive(Debug)]
pub struct Pacing {
    daily: Shape,
    read: Option<Instant>,
}

impl Default for Pacing {
    /// Nothing is known, so every hour is alike.
    fn default() -> Pacing {
        Pacing { daily: Shape::even(), read: None }
    }
}

impl Pacing {
    /// Moves the price of money in every paced budget.
    pub async fn tick(&mut self, app: &App) {
        let due = self.read.is_none_or(|read| read.elapsed() >= LOOK_BACK);
        if due && app.budgets.has_pace(Pace::Daily) {
            self.read = Some(Instant::now());
            match shape(app).await {
                Ok(shape) => self.daily = shape,
                Err(error) => tracing::warn!(%error, "the daily shape of the traffic could not be read"),
            }
        }
        app.budgets.pace(&self.daily, now_ms());
    }
}

/// The last days' requests by the hour of the day.
async fn shape(app: &App) -> Result<Shape, LedgerError> {
    let path = app.ledger.location().clone();
    // Up to the last full day ago: a day that has only begun would make its first hours count more.
    let today = now_ms() / DAY_MS * DAY_MS;
    let reading = tokio::task::spawn_blocking(move || {
        Reader::open(&path)?.hours(today.saturating_sub(DAYS * DAY_MS), today)
    });
    Ok(Shape::of(reading.await.map_err(|_| LedgerError::Closed)??))
}
