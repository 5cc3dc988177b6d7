//! The gateway's metrics: one typed method per event, so no name or label is spelled anywhere else.
//!
//! Every label value is bounded (`labels`); money is summed in nanodollars (`money`). Values that live
//! elsewhere (budgets, engines, ledger) are read at scrape time through [`Metrics::on_scrape`], so a scrape
//! never shows a stale figure.

mod engine;
mod labels;
mod money;
mod registrar;
pub mod series;
#[cfg(test)]
mod shipped;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder,
};
use tollgate_policies::Usd;

use crate::ledger::Source as Judge;
pub use engine::EngineGauge;
use labels::{FirstSeen, Known};
use money::MoneyCounter;
use registrar::Registrar;

/// Values of `reason` on `tollgate_fail_open_total`.
const FAIL_OPEN_REASONS: [&str; 2] = ["classifier", "confidence"];
/// Values of `reason` on `tollgate_fallbacks_total`.
const FALLBACK_REASONS: [&str; 7] =
    ["unreachable", "not_ready", "broken", "timeout", "busy", "status", "garbled"];
/// Values of `result` on `tollgate_shadow_requests_total`.
const ASKED_TWICE: [&str; 7] = ["same", "different", "judged", "incomparable", "no_budget", "busy", "failed"];
/// Teams that get a label of their own.
const TEAMS: usize = 200;

/// A request that has ended, as metrics see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done<'a> {
    /// `chat`, `text_completion`, `embeddings`, … (OpenTelemetry's operation names).
    pub operation: &'static str,
    /// `model` as the request wrote it.
    pub requested: &'a str,
    /// Rule name or `objective`; empty if no decision was made.
    pub route: &'a str,
    /// Model the decision chose; empty if none.
    pub selected: &'a str,
    /// Model that served; empty if none.
    pub model: &'a str,
    /// `ok`, `fallback`, `error`, `cancelled`, or the error's code; a fixed word, hence bounded.
    pub status: &'static str,
    /// Team charged.
    pub team: Option<&'a str>,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Completion tokens.
    pub output_tokens: u64,
    /// Money charged.
    pub cost: Usd,
    /// Baseline's cost less `cost`.
    pub saved: Usd,
    /// Time not spent waiting for engines.
    pub overhead: Duration,
    /// Sent upstream until first token.
    pub first_token: Option<Duration>,
    /// First token until last byte; `None` unless the answer was streamed.
    pub generation: Option<Duration>,
    /// Received until last byte.
    pub total: Duration,
}

/// A budget's figures at a scrape; for a budget with a counter per key, team, tag value or run, those of the
/// one nearest its limit.
#[derive(Debug, Clone, Copy)]
pub struct BudgetGauge<'a> {
    /// Budget name.
    pub budget: &'a str,
    /// Its limit.
    pub limit: Usd,
    /// Charged in the window.
    pub settled: Usd,
    /// Held in the window.
    pub held: Usd,
}

type Source = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Every series, registered.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    in_flight: IntGauge,
    fail_open: IntCounterVec,
    cost: MoneyCounter,
    saved: MoneyCounter,
    extra: MoneyCounter,
    budget_limit: GaugeVec,
    budget_settled: GaugeVec,
    budget_held: GaugeVec,
    price_of_money: GaugeVec,
    difficulty: Histogram,
    overhead: Histogram,
    score: Histogram,
    escalations: IntCounter,
    fallbacks: IntCounterVec,
    engine_up: GaugeVec,
    engine_state: GaugeVec,
    engine_queue_depth: GaugeVec,
    engine_tokens_per_second: GaugeVec,
    engine_kv_used_ratio: GaugeVec,
    engine_wait: GaugeVec,
    engine_restarts: IntCounterVec,
    ledger_rows: IntCounter,
    ledger_writable: IntGauge,
    policy_info: GaugeVec,
    reload_failures: IntCounter,
    asked_twice: IntCounterVec,
    outcomes: IntCounterVec,
    promotions: IntCounter,
    budget_warnings: IntCounterVec,
    token_usage: HistogramVec,
    operation_duration: HistogramVec,
    first_token: HistogramVec,
    per_output_token: HistogramVec,
    models: Known,
    requested: Known,
    routes: Known,
    teams: FirstSeen,
    /// Read before each scrape; the lock also keeps two scrapes from adding one rise twice.
    sources: Mutex<Vec<Source>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All series at zero.
    ///
    /// # Errors
    /// A `prometheus` error if two series had one name, which the tests rule out.
    pub fn new() -> prometheus::Result<Arc<Metrics>> {
        let registry = Registry::new();
        let new = Registrar(&registry);
        let metrics = Arc::new(Metrics {
            requests: new.counters(&series::REQUESTS)?,
            in_flight: new.int_gauge(&series::IN_FLIGHT)?,
            fail_open: new.counters(&series::FAIL_OPEN)?,
            cost: new.money(&series::COST)?,
            saved: new.money(&series::SAVED)?,
            extra: new.money(&series::EXTRA)?,
            budget_limit: new.gauges(&series::BUDGET_LIMIT)?,
            budget_settled: new.gauges(&series::BUDGET_SETTLED)?,
            budget_held: new.gauges(&series::BUDGET_HELD)?,
            price_of_money: new.gauges(&series::PRICE_OF_MONEY)?,
            difficulty: new.histogram(&series::DIFFICULTY_SERIES)?,
            overhead: new.histogram(&series::OVERHEAD_SERIES)?,
            score: new.histogram(&series::SCORE_SERIES)?,
            escalations: new.counter(&series::ESCALATIONS)?,
            fallbacks: new.counters(&series::FALLBACKS)?,
            engine_up: new.gauges(&series::ENGINE_UP)?,
            engine_state: new.gauges(&series::ENGINE_STATE)?,
            engine_queue_depth: new.gauges(&series::ENGINE_QUEUE_DEPTH)?,
            engine_tokens_per_second: new.gauges(&series::ENGINE_TOKENS_PER_SECOND)?,
            engine_kv_used_ratio: new.gauges(&series::ENGINE_KV_USED_RATIO)?,
            engine_wait: new.gauges(&series::ENGINE_WAIT)?,
            engine_restarts: new.counters(&series::ENGINE_RESTARTS)?,
            ledger_rows: new.counter(&series::LEDGER_ROWS)?,
            ledger_writable: new.int_gauge(&series::LEDGER_WRITABLE)?,
            policy_info: new.gauges(&series::POLICY_INFO)?,
            reload_failures: new.counter(&series::RELOAD_FAILURES)?,
            asked_twice: new.counters(&series::SHADOW_REQUESTS)?,
            outcomes: new.counters(&series::OUTCOMES)?,
            promotions: new.counter(&series::PROMOTIONS)?,
            budget_warnings: new.counters(&series::BUDGET_WARNINGS)?,
            token_usage: new.histograms(&series::TOKEN_USAGE)?,
            operation_duration: new.histograms(&series::OPERATION_DURATION)?,
            first_token: new.histograms(&series::TIME_TO_FIRST_TOKEN)?,
            per_output_token: new.histograms(&series::TIME_PER_OUTPUT_TOKEN)?,
            models: Known::default(),
            requested: Known::default(),
            routes: Known::default(),
            teams: FirstSeen::new(TEAMS),
            sources: Mutex::new(Vec::new()),
            registry,
        });
        // A series that appears with its first event hides that event from `rate`.
        FAIL_OPEN_REASONS.iter().for_each(|reason| drop(metrics.fail_open.with_label_values(&[reason])));
        FALLBACK_REASONS.iter().for_each(|reason| drop(metrics.fallbacks.with_label_values(&[reason])));
        ASKED_TWICE.iter().for_each(|result| drop(metrics.asked_twice.with_label_values(&[result])));
        Ok(metrics)
    }

    /// Catalogue names that may be label values.
    pub fn know_models<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        self.models.replace(names.into_iter().map(str::to_owned));
    }

    /// `model` values a request may write (`auto`, `auto:NAME`, catalogue names) that may be label values.
    pub fn know_requested(&self, names: impl IntoIterator<Item = String>) {
        self.requested.replace(names);
    }

    /// Teams that will spend, at scrape time. Their sums are there from then on, at zero: a series that appears with
    /// its first event hides that event from `increase`, and money must not go missing on a dashboard.
    pub fn expect_teams<'a>(&self, teams: impl IntoIterator<Item = &'a str>) {
        let models = self.models.all();
        for team in teams.into_iter().map(Some).chain([None]) {
            let team = self.teams.bound(team);
            for counter in [&self.cost, &self.saved, &self.extra] {
                models.iter().for_each(|model| counter.add(&[model, team], Usd::ZERO));
            }
        }
    }

    /// Routes that may be label values: rule names, `objective`, …
    pub fn know_routes(&self, names: impl IntoIterator<Item = String>) {
        self.routes.replace(names);
    }

    /// The policies in force, by name and hash.
    pub fn policies<'a>(&self, in_force: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.policy_info.reset();
        for (name, sha) in in_force {
            self.policy_info.with_label_values(&[name, sha]).set(1.0);
        }
    }

    /// A reload was refused.
    pub fn reload_failed(&self) {
        self.reload_failures.inc();
    }

    /// A request came in; [`Metrics::done`] ends it.
    pub fn begun(&self) {
        self.in_flight.inc();
    }

    /// A request that [`Metrics::begun`] has ended, however it did.
    pub fn ended(&self) {
        self.in_flight.dec();
    }

    /// A request was scored.
    pub fn scored(&self, difficulty: f64, took: Duration) {
        self.difficulty.observe(difficulty);
        self.score.observe(took.as_secs_f64());
    }

    /// A step was skipped because it failed, and the request let through.
    pub fn failed_open(&self, reason: &'static str) {
        self.fail_open.with_label_values(&[reason]).inc();
    }

    /// A request moved to another model than the one selected.
    pub fn fell_back(&self, reason: &'static str) {
        self.fallbacks.with_label_values(&[reason]).inc();
    }

    /// A model failed after it took a request, and may have been paid for it.
    pub fn lost(&self, model: &str, team: Option<&str>, cost: Usd) {
        let money = [self.models.bound(model), self.teams.bound(team)];
        self.cost.add(&money, cost);
        self.extra.add(&money, cost);
    }

    /// A budget reached one of its thresholds.
    pub fn budget_warned(&self, budget: &str) {
        self.budget_warnings.with_label_values(&[budget]).inc();
    }

    /// A request drawn to be asked twice came to this.
    pub fn asked_twice(&self, result: &'static str) {
        self.asked_twice.with_label_values(&[result]).inc();
    }

    /// An answer was judged.
    pub fn judged(&self, source: Judge, good: bool) {
        self.outcomes.with_label_values(&[source.as_str(), if good { "good" } else { "bad" }]).inc();
    }

    /// Abilities learned were put in force.
    pub fn promoted(&self) {
        self.promotions.inc();
    }

    /// An answer begun on one model was moved to a better one.
    pub fn escalated(&self) {
        self.escalations.inc();
    }

    /// A request ended.
    pub fn done(&self, done: &Done<'_>) {
        let (selected, model) = (self.models.bound(done.selected), self.models.bound(done.model));
        let route = self.routes.bound(done.route);
        self.requests.with_label_values(&[route, selected, model, done.status]).inc();
        self.overhead.observe(done.overhead.as_secs_f64());
        let request_model = self.requested.bound(done.requested);
        let who = [request_model, model, done.operation];
        self.operation_duration.with_label_values(&who).observe(done.total.as_secs_f64());
        if done.model.is_empty() {
            return;
        }
        let money = [model, self.teams.bound(done.team)];
        self.cost.add(&money, done.cost);
        self.saved.add(&money, done.saved);
        self.extra.add(&money, Usd::ZERO.saturating_sub(done.saved));
        for (kind, tokens) in [("input", done.input_tokens), ("output", done.output_tokens)] {
            let labels = [request_model, model, done.operation, kind];
            self.token_usage.with_label_values(&labels).observe(tokens as f64);
        }
        if let Some(first_token) = done.first_token {
            self.first_token.with_label_values(&who).observe(first_token.as_secs_f64());
        }
        if let Some(generation) = done.generation.filter(|_| done.output_tokens > 1) {
            let per_token = generation.as_secs_f64() / (done.output_tokens - 1) as f64;
            self.per_output_token.with_label_values(&who).observe(per_token);
        }
    }

    /// A budget's figures, at scrape time.
    pub fn budget(&self, now: BudgetGauge<'_>) {
        let labels = [now.budget];
        self.budget_limit.with_label_values(&labels).set(now.limit.as_f64());
        self.budget_settled.with_label_values(&labels).set(now.settled.as_f64());
        self.budget_held.with_label_values(&labels).set(now.held.as_f64());
    }

    /// How dear money is for a budget, at scrape time.
    pub fn price_of_money(&self, budget: &str, price: f64) {
        self.price_of_money.with_label_values(&[budget]).set(price);
    }

    /// Forgets budgets that are no longer in force, before [`Metrics::budget`] reports those that are.
    pub fn reset_budgets(&self) {
        for gauge in [&self.budget_limit, &self.budget_settled, &self.budget_held, &self.price_of_money] {
            gauge.reset();
        }
    }

    /// The ledger's figures, at scrape time.
    pub fn ledger(&self, rows: u64, writable: bool) {
        raise_to(&self.ledger_rows, rows);
        self.ledger_writable.set(i64::from(writable));
    }

    /// Adds something to read before each scrape.
    pub fn on_scrape(&self, source: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.sources.lock().push(Box::new(source));
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// A `prometheus` error if the text cannot be encoded.
    pub fn render(&self) -> prometheus::Result<String> {
        let sources = self.sources.lock();
        sources.iter().for_each(|source| source(self));
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        drop(sources);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The `content-type` of [`Metrics::render`]'s text.
    #[must_use]
    pub fn content_type() -> &'static str {
        prometheus::TEXT_FORMAT
    }
}

/// Brings a counter up to a total kept elsewhere; a smaller total (a replaced engine) leaves it.
fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
