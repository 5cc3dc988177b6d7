//! Every series the gateway exports: name, kind, labels, help, buckets. Nothing is exported that is not here;
//! `docs/metrics.md` and the dashboards are checked against this list.

/// What a series measures with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution over fixed buckets.
    Histogram,
}

impl Kind {
    /// The word Prometheus uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One series.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// Name as exported; histograms add `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// What it measures with.
    pub kind: Kind,
    /// Label names.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
    /// Upper bounds of the buckets, for histograms.
    pub buckets: &'static [f64],
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Series {
    Series { name, kind: Kind::Counter, labels, help, buckets: &[] }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Series {
    Series { name, kind: Kind::Gauge, labels, help, buckets: &[] }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    buckets: &'static [f64],
) -> Series {
    Series { name, kind: Kind::Histogram, labels, help, buckets }
}

const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];
const SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84];
const FIRST_TOKEN: &[f64] =
    &[0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96];
const PER_TOKEN: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5];
const DIFFICULTY: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
const OVERHEAD: &[f64] = &[
    0.000_025, 0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.05, 0.2,
    1.0,
];
const SCORE: &[f64] =
    &[0.000_005, 0.000_01, 0.000_02, 0.000_04, 0.000_08, 0.000_16, 0.000_32, 0.000_64, 0.001_28, 0.005, 0.02];

const GEN_AI: &[&str] = &["gen_ai_request_model", "gen_ai_response_model", "gen_ai_operation_name"];

pub(super) const TOKEN_USAGE: Series = histogram(
    "gen_ai_client_token_usage",
    &["gen_ai_request_model", "gen_ai_response_model", "gen_ai_operation_name", "gen_ai_token_type"],
    "Tokens a request used, by type (input, output).",
    TOKENS,
);
pub(super) const OPERATION_DURATION: Series = histogram(
    "gen_ai_client_operation_duration_seconds",
    GEN_AI,
    "Time from receiving a request to its last byte, in seconds.",
    SECONDS,
);
pub(super) const TIME_TO_FIRST_TOKEN: Series = histogram(
    "gen_ai_server_time_to_first_token_seconds",
    GEN_AI,
    "Time from sending a request upstream to its first token, in seconds.",
    FIRST_TOKEN,
);
pub(super) const TIME_PER_OUTPUT_TOKEN: Series = histogram(
    "gen_ai_server_time_per_output_token_seconds",
    GEN_AI,
    "Mean time per output token after the first, in seconds.",
    PER_TOKEN,
);
pub(super) const REQUESTS: Series = counter(
    "tollgate_requests_total",
    &["route", "selected", "model", "status"],
    "Requests by route taken, model selected, model that served, and outcome.",
);
pub(super) const IN_FLIGHT: Series = gauge("tollgate_requests_in_flight", &[], "Requests being served now.");
pub(super) const FAIL_OPEN: Series = counter(
    "tollgate_fail_open_total",
    &["reason"],
    "Requests let through although a step could not be taken, by reason: `classifier` (decided without a score), `confidence` (an answer that `[escalate]` could not judge).",
);
pub(super) const COST: Series =
    counter("tollgate_cost_usd_total", &["model", "team"], "Money charged, in USD.");
pub(super) const SAVED: Series = counter(
    "tollgate_saved_usd_total",
    &["model", "team"],
    "Money saved against the baseline model, in USD, over the requests that cost less than it would have.",
);
pub(super) const EXTRA: Series = counter(
    "tollgate_extra_usd_total",
    &["model", "team"],
    "Money spent above the baseline model, in USD, over the requests that cost more than it would have.",
);
pub(super) const BUDGET_LIMIT: Series =
    gauge("tollgate_budget_limit_usd", &["budget"], "Limit of the budget in its current window, in USD.");
pub(super) const BUDGET_SETTLED: Series =
    gauge("tollgate_budget_settled_usd", &["budget"], "Money charged in the current window, in USD.");
pub(super) const BUDGET_HELD: Series =
    gauge("tollgate_budget_held_usd", &["budget"], "Money held by requests in flight, in USD.");
pub(super) const BUDGET_WARNINGS: Series = counter(
    "tollgate_budget_warnings_total",
    &["budget"],
    "Thresholds of `warn_at` reached, each once a window and counter.",
);
pub(super) const PRICE_OF_MONEY: Series = gauge(
    "tollgate_budget_price_of_money",
    &["budget"],
    "How dear money is to the objective for this budget; 0 while nothing presses.",
);
pub(super) const DIFFICULTY_SERIES: Series =
    histogram("tollgate_difficulty", &[], "Difficulty the classifier gave, 0 to 1.", DIFFICULTY);
pub(super) const OVERHEAD_SERIES: Series = histogram(
    "tollgate_overhead_seconds",
    &[],
    "Time a request spent in the gateway and not waiting for an engine, in seconds.",
    OVERHEAD,
);
pub(super) const SCORE_SERIES: Series =
    histogram("tollgate_score_seconds", &[], "Time to score one request, in seconds.", SCORE);
pub(super) const ESCALATIONS: Series =
    counter("tollgate_escalations_total", &[], "Answers begun on one model and moved up to a better one.");
pub(super) const FALLBACKS: Series = counter(
    "tollgate_fallbacks_total",
    &["reason"],
    "Requests served by another model than the one selected, by reason.",
);
pub(super) const ENGINE_UP: Series = gauge(
    "tollgate_engine_up",
    &["engine"],
    "1 while requests can be sent to the engine (one that they start included), else 0.",
);
pub(super) const ENGINE_STATE: Series = gauge(
    "tollgate_engine_state",
    &["engine", "state"],
    "1 for the state the engine is in: `stopped` (nobody needs it), `starting`, `up`, `draining` (finishes what it has, then stops), `down` (died, will be started again), `failed` (does not start).",
);
pub(super) const ENGINE_QUEUE_DEPTH: Series =
    gauge("tollgate_engine_queue_depth", &["engine"], "Requests waiting in the engine.");
pub(super) const ENGINE_WAIT: Series = gauge(
    "tollgate_engine_wait_seconds",
    &["engine"],
    "Time one more request would wait for a slot by the engine's own word, in seconds; 0 where it says nothing.",
);
pub(super) const ENGINE_TOKENS_PER_SECOND: Series =
    gauge("tollgate_engine_tokens_per_second", &["engine"], "Decoding speed last seen, tokens a second.");
pub(super) const ENGINE_KV_USED_RATIO: Series =
    gauge("tollgate_engine_kv_used_ratio", &["engine"], "Share of the engine's KV cache in use, 0 to 1.");
pub(super) const ENGINE_RESTARTS: Series =
    counter("tollgate_engine_restarts_total", &["engine"], "Times the engine was started again.");
pub(super) const LEDGER_ROWS: Series =
    counter("tollgate_ledger_rows_total", &[], "Receipts in the ledger, those of earlier runs included.");
pub(super) const LEDGER_WRITABLE: Series =
    gauge("tollgate_ledger_writable", &[], "1 while the ledger can be written, else 0.");
pub(super) const POLICY_INFO: Series =
    gauge("tollgate_policy_info", &["name", "sha"], "1 for each policy in force, by the hash of its text.");
pub(super) const RELOAD_FAILURES: Series = counter(
    "tollgate_policy_reload_failures_total",
    &[],
    "Reloads refused because a policy file or the calibration was wrong; what was in force stayed.",
);
pub(super) const SHADOW_REQUESTS: Series = counter(
    "tollgate_shadow_requests_total",
    &["result"],
    "Requests drawn to be asked of the baseline too, by what came of it.",
);
pub(super) const OUTCOMES: Series =
    counter("tollgate_outcomes_total", &["source", "verdict"], "Answers judged, by who judged them.");
pub(super) const PROMOTIONS: Series =
    counter("tollgate_promotions_total", &[], "Times that abilities learned were put in force.");

/// Every series, in the order of `docs/metrics.md`.
pub const ALL: &[Series] = &[
    REQUESTS,
    IN_FLIGHT,
    COST,
    SAVED,
    EXTRA,
    BUDGET_LIMIT,
    BUDGET_SETTLED,
    BUDGET_HELD,
    BUDGET_WARNINGS,
    PRICE_OF_MONEY,
    DIFFICULTY_SERIES,
    OVERHEAD_SERIES,
    SCORE_SERIES,
    FAIL_OPEN,
    FALLBACKS,
    ESCALATIONS,
    ENGINE_UP,
    ENGINE_STATE,
    ENGINE_QUEUE_DEPTH,
    ENGINE_WAIT,
    ENGINE_TOKENS_PER_SECOND,
    ENGINE_KV_USED_RATIO,
    ENGINE_RESTARTS,
    LEDGER_ROWS,
    LEDGER_WRITABLE,
    POLICY_INFO,
    RELOAD_FAILURES,
    SHADOW_REQUESTS,
    OUTCOMES,
    PROMOTIONS,
    TOKEN_USAGE,
    OPERATION_DURATION,
    TIME_TO_FIRST_TOKEN,
    TIME_PER_OUTPUT_TOKEN,
];
