//! Pacing: each second the price of money moves by what was spent; each hour the daily shape of the traffic is read again. What is
//! known lies in a small file of the data directory, so that a gateway that is started again does not begin with money that has no price.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tollgate_policies::{Budgets, KeptPace, Pace, Shape};

use crate::app::App;
use crate::ledger::{LedgerError, Reader, now_ms};

/// Between two looks at the ledger for the shape of a day.
const LOOK_BACK: Duration = Duration::from_secs(3600);
/// How far back it looks: whole days, so that every hour counts alike.
const DAYS: u64 = 7;
const DAY_MS: u64 = 86_400_000;
/// Between two writes of what is known.
const KEEP: Duration = Duration::from_secs(10);
/// The file's name.
const FILE: &str = "pacing.json";

/// What pacing knows of the traffic.
#[derive(Debug)]
pub struct Pacing {
    daily: Shape,
    read: Option<Instant>,
    path: PathBuf,
    kept: Vec<KeptPace>,
    written: Instant,
    writing: JoinSet<io::Result<()>>,
}

impl Pacing {
    /// Goes on where the gateway on this data directory left off, if there was one. Of the day nothing is known yet: every hour is alike.
    #[must_use]
    pub fn resume(data_dir: &Path, budgets: &Budgets) -> Pacing {
        let path = data_dir.join(FILE);
        let kept = read(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the prices of money are found anew");
            Vec::new()
        });
        budgets.resume_paces(kept.clone(), now_ms());
        let (daily, writing) = (Shape::even(), JoinSet::new());
        Pacing { daily, read: None, path, kept, written: Instant::now(), writing }
    }

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
        self.keep(app);
    }

    /// Writes what is known, now and then, beside what else goes on.
    fn keep(&mut self, app: &App) {
        if let Some(Ok(Err(error))) = self.writing.try_join_next() {
            tracing::warn!(path = %self.path.display(), %error, "the prices of money could not be kept");
        }
        if self.written.elapsed() < KEEP || !self.writing.is_empty() {
            return;
        }
        self.written = Instant::now();
        let paces = app.budgets.paces();
        if paces != self.kept {
            self.kept.clone_from(&paces);
            let path = self.path.clone();
            self.writing.spawn_blocking(move || write(&path, &paces));
        }
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

fn read(path: &Path) -> io::Result<Vec<KeptPace>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// All or nothing: a crash leaves the old file or the new one.
fn write(path: &Path, paces: &[KeptPace]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("json.new");
    std::fs::write(&new, serde_json::to_vec(paces)?)?;
    std::fs::rename(&new, path)
}
