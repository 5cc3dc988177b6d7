//! What a request needs, assembled once at start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tollgate_policies::{BudgetSpec, Budgets, Want};
use tollgate_router::{Catalog, Live, Scorer};

use crate::config::Policies;
use crate::content::Keep;
use crate::keys::{KeyWatch, Keys};
use crate::learn::Lessons;
use crate::leases::Leases;
use crate::ledger::{Ledger, LedgerError, now_ms};
use crate::metrics::{BudgetGauge, Metrics};
use crate::stick::Sticks;
use crate::tokens::TokenRatio;
use crate::upstream::Upstream;

/// Bounds on what is taken in.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest request body, bytes.
    pub body_bytes: usize,
    /// Requests served at once.
    pub in_flight: usize,
    /// Output tokens asked for where a request names no maximum.
    pub default_max_tokens: u64,
    /// Longest wait for a whole (not streamed) answer's body.
    pub answer_wait: Duration,
    /// Longest wait of a request for a budget with `on_exhausted = "queue"`.
    pub queue_wait: Duration,
}

/// Everything the request path works with.
#[derive(Debug)]
pub struct App {
    /// Models that can answer.
    pub catalog: Catalog,
    /// The engine of each model, in the catalogue's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What each model's tokenizer makes of a prompt, likewise.
    pub token_ratios: Vec<TokenRatio>,
    /// The classifier.
    pub scorer: Scorer,
    /// Policies in force.
    pub policies: ArcSwap<Policies>,
    /// Budgets of all of them.
    pub budgets: Arc<Budgets>,
    /// Holds and receipts.
    pub ledger: Ledger,
    /// What this gateway may spend of budgets that it shares.
    pub leases: Option<Leases>,
    /// Virtual keys.
    pub keys: Arc<Keys>,
    /// Keeps them as they are in the ledger.
    pub key_watch: KeyWatch,
    /// Series.
    pub metrics: Arc<Metrics>,
    /// Bounds.
    pub limits: Limits,
    /// Which traffic's texts are kept.
    pub keep_content: Keep,
    /// Hash of the catalogue's prices.
    pub price_version: String,
    /// What was learned from the traffic.
    pub lessons: Lessons,
    /// Decisions that hold for a turn or a run.
    pub sticks: Sticks,
    /// One permit a request being served.
    pub seats: Arc<Semaphore>,
    draining: AtomicBool,
}

/// The parts of an [`App`] that are made elsewhere.
#[derive(Debug)]
pub struct Parts {
    /// Models that can answer.
    pub catalog: Catalog,
    /// Every engine.
    pub engines: Vec<Arc<Upstream>>,
    /// The classifier.
    pub scorer: Scorer,
    /// Policies to begin with.
    pub policies: Policies,
    /// Holds and receipts.
    pub ledger: Ledger,
    /// Budgets of all policies.
    pub budgets: Arc<Budgets>,
    /// What this gateway may spend of budgets that it shares.
    pub leases: Option<Leases>,
    /// Virtual keys.
    pub keys: Arc<Keys>,
    /// Keeps them as they are in the ledger.
    pub key_watch: KeyWatch,
    /// Series.
    pub metrics: Arc<Metrics>,
    /// What was learned from the traffic.
    pub lessons: Lessons,
    /// Bounds.
    pub limits: Limits,
    /// Which traffic's texts are kept.
    pub keep_content: Keep,
}

impl App {
    /// Puts the parts together. Every model's engine must be among `engines`, which the configuration ensures; a
    /// model without one is left out.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<App> {
        let engine_of = |name: &str| parts.engines.iter().find(|engine| engine.name() == name).cloned();
        let (models, upstreams): (Vec<_>, Vec<_>) = parts
            .catalog
            .models()
            .iter()
            .filter_map(|model| Some((model.clone(), engine_of(&model.engine)?)))
            .unzip();
        let app = Arc::new(App {
            price_version: price_version(&models),
            catalog: Catalog::new(models),
            token_ratios: upstreams.iter().map(|_| TokenRatio::default()).collect(),
            upstreams,
            scorer: parts.scorer,
            budgets: parts.budgets,
            leases: parts.leases,
            policies: ArcSwap::from_pointee(parts.policies),
            ledger: parts.ledger,
            keys: parts.keys,
            key_watch: parts.key_watch,
            metrics: parts.metrics,
            limits: parts.limits,
            keep_content: parts.keep_content,
            lessons: parts.lessons,
            sticks: Sticks::default(),
            seats: Arc::new(Semaphore::new(parts.limits.in_flight)),
            draining: AtomicBool::new(false),
        });
        app.name_labels();
        app.show_gauges(parts.engines);
        app
    }

    /// Puts other policies in force; what was spent stays.
    pub fn replace_policies(&self, policies: Policies) {
        self.budgets.replace_specs(budgets_of(&policies));
        self.policies.store(Arc::new(policies));
        self.name_labels();
    }

    /// Leases what is wanted of shared budgets; when it returns, the budgets have what could be had.
    ///
    /// # Errors
    /// [`LedgerError::Stalled`] while nothing can be leased.
    pub async fn lease(&self, wants: Vec<Want>) -> Result<(), LedgerError> {
        match &self.leases {
            Some(leases) => leases.ask(wants).await,
            None => Ok(()),
        }
    }

    /// How every model's engine is doing, in the catalogue's order.
    #[must_use]
    pub fn live(&self) -> Vec<Live> {
        let each = self.upstreams.iter().zip(&self.token_ratios);
        each.map(|(upstream, ratio)| Live { token_ratio: ratio.get(), ..upstream.live() }).collect()
    }

    /// Takes no more requests from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway is shutting down.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Tells the metrics which names may be label values.
    fn name_labels(&self) {
        let policies = self.policies.load();
        let models = || self.catalog.models().iter().map(|model| model.name.as_str());
        self.metrics.know_models(models());
        let auto = policies.named.keys().map(|name| format!("auto:{name}"));
        self.metrics.know_requested(models().map(str::to_owned).chain(["auto".to_owned()]).chain(auto));
        let rules = policies.named.values().flat_map(|policy| &policy.rules).map(|rule| rule.name.clone());
        self.metrics.know_routes(rules.chain(["objective".to_owned(), "pinned".to_owned()]));
        self.metrics
            .policies(policies.named.values().map(|policy| (policy.name.as_str(), policy.sha.as_str())));
    }

    fn show_gauges(&self, engines: Vec<Arc<Upstream>>) {
        let (budgets, ledger, keys) =
            (Arc::clone(&self.budgets), self.ledger.clone(), Arc::clone(&self.keys));
        self.metrics.on_scrape(move |metrics| {
            for engine in &engines {
                metrics.engine(engine.name(), &engine.gauge());
            }
            metrics.ledger(ledger.rows(), ledger.is_writable());
            metrics.expect_teams(keys.teams().iter().map(String::as_str));
            show_budgets(metrics, &budgets);
        });
    }
}

/// Of a budget with several counters, the one nearest its limit is shown.
fn show_budgets(metrics: &Metrics, budgets: &Budgets) {
    let mut states = budgets.snapshot(now_ms());
    states.sort_by_key(|state| (state.budget.clone(), state.settled.saturating_add(state.held)));
    metrics.reset_budgets();
    for state in &states {
        let (limit, settled, held) = (state.limit, state.settled, state.held);
        metrics.budget(BudgetGauge { budget: &state.budget, limit, settled, held });
        metrics.price_of_money(&state.budget, state.price_of_money);
    }
}

/// The budgets of every policy, whichever decides: a limit is a limit. Of two with one name the default policy's
/// counts, then the first by the policies' names.
pub(crate) fn budgets_of(policies: &Policies) -> Vec<Arc<BudgetSpec>> {
    let mut budgets: Vec<Arc<BudgetSpec>> = policies.default.budgets.clone();
    for budget in policies.named.values().flat_map(|policy| &policy.budgets) {
        if !budgets.iter().any(|known| known.name == budget.name) {
            budgets.push(Arc::clone(budget));
        }
    }
    budgets
}

fn price_version(models: &[tollgate_router::Model]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for model in models {
        hash.update(format!("{}={:?}\n", model.name, model.price));
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
