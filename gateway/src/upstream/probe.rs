//! Active health: a server of the OpenAI dialect is asked every few seconds whether it answers and how busy it is.
//!
//! It answers as long as `GET /v1/models` gets any answer that is no server error: a key that may not list models is no
//! illness. Three silent looks in a row make it down, one answer makes it up. Figures are read where the server offers
//! them (`scrape`); where it does not, it is asked for them again only once a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use parking_lot::Mutex;
use tollgate_engine::Stats;
use tollgate_engine::supervisor::Address;

use super::scrape::{Reading, Source};
use super::{Link, Upstream};

/// For an answer to one look.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many looks without an answer make a server down.
const SILENT: u32 = 3;
/// Until a server without figures is asked for them again.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Most that is read of an answer.
const ANSWER: usize = 4 << 20;

/// What is known of one server.
#[derive(Debug)]
pub(super) struct Probe {
    /// Up to and including `/v1`; `None` for one that a process of Tollgate's serves.
    base_url: Option<String>,
    every: Duration,
    missed: AtomicU32,
    figures: Mutex<Figures>,
    /// One for each request that this gateway has there, and one of its own.
    sent: Arc<()>,
}

/// A request's place among those that were sent to a server, as long as it lives.
#[derive(Debug, Clone)]
pub(super) struct Sent(#[expect(dead_code, reason = "it is there to be counted")] Arc<()>);

#[derive(Debug, Default)]
struct Figures {
    stats: Stats,
    source: Option<Source>,
    last: Option<Reading>,
    asked: Option<Instant>,
    /// Requests that this gateway had there when it was asked.
    sent: usize,
}

impl Probe {
    pub(super) fn new(base_url: Option<&str>, every: Duration) -> Probe {
        let base_url = base_url.map(str::to_owned);
        let (missed, figures) = (AtomicU32::new(0), Mutex::default());
        Probe { base_url, every, missed, figures, sent: Arc::default() }
    }

    /// Counts a request as sent for as long as the answer lives.
    pub(super) fn send(&self) -> Sent {
        Sent(Arc::clone(&self.sent))
    }

    fn sent(&self) -> usize {
        Arc::strong_count(&self.sent) - 1
    }

    /// Whether the server answered lately; assumed until it was asked.
    pub(super) fn answers(&self) -> bool {
        self.missed.load(Ordering::Relaxed) < SILENT
    }

    pub(super) fn stats(&self) -> Stats {
        self.figures.lock().stats
    }

    /// The figures with the requests that this gateway has sent since it asked for them, or had answered. A server without
    /// figures is not taken to be full.
    pub(super) fn load(&self) -> Stats {
        let figures = self.figures.lock();
        let count = |requests: usize| i64::try_from(requests).unwrap_or(i64::MAX);
        figures.stats.with_more(count(self.sent()) - count(figures.sent))
    }
}

impl Upstream {
    /// Looks at the server for as long as the gateway runs.
    pub async fn look(self: Arc<Upstream>) {
        let Some(probe) = &self.probe else { return };
        loop {
            self.look_once(probe).await;
            // Jitter, so that several gateways do not ask at the same moment.
            let share = 0.8 + 0.4 * rand::random::<f64>();
            tokio::time::sleep(probe.every.mul_f64(share)).await;
        }
    }

    async fn look_once(&self, probe: &Probe) {
        let Some(base) = self.base(probe) else {
            probe.figures.lock().stats = Stats::default();
            return;
        };
        // A process of Tollgate's is looked after by its supervisor.
        if self.worker().is_none() {
            let answered = match self.get(&format!("{base}/models")).await {
                Some((status, _)) => !status.is_server_error(),
                None => false,
            };
            let before = if answered {
                probe.missed.swap(0, Ordering::Relaxed)
            } else {
                probe.missed.fetch_add(1, Ordering::Relaxed)
            };
            if answered && before >= SILENT {
                tracing::info!(engine = self.name, "the server answers again");
            } else if !answered && before + 1 == SILENT {
                tracing::warn!(
                    engine = self.name,
                    "the server does not answer and is left alone until it does"
                );
            }
            if !answered {
                probe.figures.lock().stats = Stats::default();
                return;
            }
        }
        self.read_figures(probe, base.trim_end_matches("/v1")).await;
    }

    /// Up to and including `/v1`, while there is a server.
    fn base(&self, probe: &Probe) -> Option<String> {
        match (&probe.base_url, self.worker().and_then(|worker| worker.address())) {
            (Some(base), _) => Some(base.clone()),
            (None, Some(Address::Tcp(address))) => Some(format!("http://{address}/v1")),
            (None, _) => None,
        }
    }

    async fn read_figures(&self, probe: &Probe, root: &str) {
        let known = {
            let figures = probe.figures.lock();
            if figures.source.is_none() && figures.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN) {
                return;
            }
            figures.source
        };
        let sources = known.map_or(Source::ALL.to_vec(), |source| vec![source]);
        let sent = probe.sent();
        let mut found = None;
        for source in sources {
            if let Some((StatusCode::OK, body)) = self.get(&format!("{root}{}", source.path())).await
                && let Some(reading) = source.read(&body)
            {
                found = Some((source, reading));
                break;
            }
        }
        let mut figures = probe.figures.lock();
        (figures.asked, figures.sent) = (Some(Instant::now()), sent);
        figures.source = found.as_ref().map(|(source, _)| *source);
        figures.stats = match (&found, &figures.last) {
            (Some((_, now)), last) => now.stats(last.as_ref(), &figures.stats),
            (None, _) => Stats::default(),
        };
        figures.last = found.map(|(_, reading)| reading);
    }

    /// One question; `None` where no answer came.
    async fn get(&self, url: &str) -> Option<(StatusCode, Bytes)> {
        let Link::Tcp(client) = &self.link else { return None };
        let mut request = Request::get(url.parse::<Uri>().ok()?);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = request.body(Full::default()).ok()?;
        let asked = async {
            let response = client.here().request(request).await.ok()?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER).collect().await.ok()?;
            Some((status, body.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_since_the_last_look_is_counted_once() {
        let probe = Probe::new(None, Duration::from_secs(1));
        let before = probe.send();
        let stats = Stats { active: 1, slots: 2, service_seconds: 4.0, ..Stats::default() };
        *probe.figures.lock() = Figures { stats, sent: probe.sent(), ..Figures::default() };
        assert_eq!(probe.load().ahead(), 0, "the one that the server told of");
        let since = [probe.send(), probe.send()];
        let load = probe.load();
        assert_eq!((load.active, load.queue_depth, load.ahead()), (2, 1, 2));
        assert!((load.predicted_wait_seconds - 4.0).abs() < 1e-9, "two turns of two at once");
        assert_eq!(probe.stats(), stats, "what is shown is what the server said");
        drop((before, since));
        assert_eq!(probe.load().active, 0);
    }

    #[test]
    fn a_server_that_tells_no_slots_is_full_only_where_some_wait_there() {
        let probe = Probe::new(None, Duration::from_secs(1));
        let sent: Vec<Sent> = (0..9).map(|_| probe.send()).collect();
        assert_eq!(probe.load().ahead(), 0);
        let waiting = b"vllm:num_requests_running 3\nvllm:num_requests_waiting 2\n";
        let stats = Source::Metrics.read(waiting).unwrap().stats(None, &Stats::default());
        *probe.figures.lock() = Figures { stats, sent: 5, ..Figures::default() };
        assert_eq!(probe.load().ahead(), 7, "one of three that run, two that wait, four sent since");
        drop(sent);
    }
}
