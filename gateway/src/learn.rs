//! Learning from one's own traffic: answers are judged, and what that says of the models' abilities is tried before it
//! counts.
//!
//! `feedback` and `shadow` put verdicts into the ledger; [`study`] makes abilities of them and tries them against those
//! in force; [`Lessons`] holds what was put in force. Nothing of it is on the critical path.

mod compare;
mod errand;
mod judge;
mod shadow;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tollgate_policies::Policy;
use tollgate_router::{Abilities, Catalog, Learner, Outcome, RouterId, Trial};

use crate::app::App;
use crate::ledger::{Judged, LedgerError, Location, Promotion, Reader, Source, now_ms};

pub use shadow::{Answered, Shadow};

/// Requests asked twice at the same time; more are not asked twice, for their users' engines are busy enough.
const AT_ONCE: usize = 2;
/// Judged answers looked at.
const NEWEST: usize = 20_000;

/// What was learned, as far as it is in force.
#[derive(Debug)]
pub struct Lessons {
    slots: Arc<Semaphore>,
    answered: mpsc::Sender<Answered>,
    judged: AtomicU64,
    learned: ArcSwapOption<Learned>,
}

/// A catalogue with abilities that were learned, and the router that they were learned under.
#[derive(Debug)]
struct Learned {
    router: RouterId,
    catalog: Arc<Catalog>,
}

impl Lessons {
    /// No lessons yet, and what [`ask_twice`] works on.
    #[must_use]
    pub fn new() -> (Lessons, mpsc::Receiver<Answered>) {
        let (answered, to_ask) = mpsc::channel(AT_ONCE);
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        (Lessons { slots, answered, judged: AtomicU64::new(0), learned: ArcSwapOption::empty() }, to_ask)
    }

    /// Hands an answer over to be compared. There is room for as many as there are slots.
    fn learn_from(&self, answered: Answered) {
        if self.answered.try_send(answered).is_err() {
            tracing::debug!("not asked twice: the gateway is stopping");
        }
    }

    /// Leave to ask twice, if not too many do.
    fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Verdicts taken since the start.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.judged.load(Ordering::Relaxed)
    }

    /// The catalogue with the abilities put in force, if any were, for what this router said: chances by another, or by
    /// none where the classifier failed, lie on another line.
    #[must_use]
    pub fn catalog(&self, router: Option<RouterId>) -> Option<Arc<Catalog>> {
        let learned = self.learned.load();
        let learned = learned.as_ref().filter(|learned| Some(learned.router) == router)?;
        Some(Arc::clone(&learned.catalog))
    }
}

/// Asks twice what there is to ask, until it is dropped; what is under way then is charged as estimated.
pub async fn ask_twice(mut to_ask: mpsc::Receiver<Answered>) {
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            answered = to_ask.recv() => match answered {
                Some(answered) => drop(asking.spawn(answered.learn())),
                None => break,
            },
            Some(_) = asking.join_next(), if !asking.is_empty() => {}
        }
    }
}

impl App {
    /// Takes verdicts: into the ledger, then into the metrics.
    ///
    /// # Errors
    /// [`LedgerError`] if they cannot be written now.
    pub async fn learn(&self, verdicts: Vec<Judged>) -> Result<(), LedgerError> {
        for judged in verdicts {
            let (source, good) = (judged.source, judged.good);
            self.ledger.judge(judged).await?;
            self.metrics.judged(source, good);
            self.lessons.judged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The abilities in force for policies that take what was learned.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        let learned = self.lessons.catalog(Some(self.scorer.router()));
        learned.map_or_else(|| abilities(&self.catalog), |catalog| abilities(&catalog))
    }

    /// Puts abilities in force that were learned under this router.
    fn put_in_force(&self, router: RouterId, abilities: &Abilities) {
        let models = self.catalog.models().iter().cloned().map(|mut model| {
            if let Some(ability) = abilities.get(&model.name) {
                model.ability = *ability;
            }
            model
        });
        let catalog = Arc::new(Catalog::new(models.collect()));
        self.lessons.learned.store(Some(Arc::new(Learned { router, catalog })));
    }

    /// Puts back in force what was promoted under the router of now, unless the configured abilities were changed since,
    /// and says what of the ledger is of other routers. At the start, and when another calibration is in force.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn recall(&self) -> Result<(), LedgerError> {
        let router = self.scorer.router();
        let ledger = Reader::open(self.ledger.location())?;
        match ledger.promotion(router)? {
            Some(promotion) if promotion.configured == abilities(&self.catalog) => {
                tracing::info!(%router, "abilities learned before are in force again");
                self.put_in_force(router, &promotion.abilities);
            }
            Some(_) => tracing::info!(
                "the configured abilities were changed, so those learned before no longer count"
            ),
            None => {}
        }
        let promotions = ledger.promotions_besides(router)?;
        let verdicts = if self.some_policy(|policy| policy.learn.is_some()) {
            Verdicts::read(&ledger, router)?.left_out
        } else {
            0
        };
        if promotions > 0 || verdicts > 0 {
            tracing::info!(
                %router,
                promotions,
                verdicts,
                "left out: learned under another router (its graph or calibration), where abilities mean something else"
            );
        }
        Ok(())
    }

    fn some_policy(&self, wanted: impl Fn(&Policy) -> bool) -> bool {
        self.policies.load().named.values().any(|policy| wanted(policy))
    }

    /// Studies the verdicts, if some policy wants what is learned in force; abilities that win their trial are put there.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read or written.
    pub async fn review(&self) -> Result<(), LedgerError> {
        if !self.some_policy(|policy| policy.learn.as_ref().is_some_and(|learn| learn.promote)) {
            return Ok(());
        }
        let router = self.scorer.router();
        let (path, configured, in_force) =
            (self.ledger.location().clone(), abilities(&self.catalog), self.abilities());
        let mine = configured.clone();
        let studying = tokio::task::spawn_blocking(move || study(&path, router, mine, &in_force));
        let study = studying.await.map_err(|_| LedgerError::Closed)??;
        if !study.trial.promotes() {
            return Ok(());
        }
        let trial = serde_json::to_string(&study.trial)?;
        let (verdicts, left_out) = (study.outcomes, study.left_out);
        tracing::info!(
            %router, verdicts, left_out, trial,
            "abilities learned are better than those in force, and replace them"
        );
        self.put_in_force(router, &study.proposal);
        self.metrics.promoted();
        let abilities = study.proposal;
        self.ledger.promote(Promotion { at_ms: now_ms(), router, configured, abilities, trial }).await
    }
}

/// The abilities of a catalogue's models.
#[must_use]
pub fn abilities(catalog: &Catalog) -> Abilities {
    catalog.models().iter().map(|model| (model.name.clone(), model.ability)).collect()
}

/// The ledger's verdicts that can be learned from under one router.
struct Verdicts {
    outcomes: Vec<Outcome>,
    /// Verdicts on decisions of other routers: their chances would be read as this one's.
    left_out: usize,
}

impl Verdicts {
    fn read(ledger: &Reader, router: RouterId) -> Result<Verdicts, LedgerError> {
        let mut verdicts = Verdicts { outcomes: Vec::new(), left_out: 0 };
        for judged in ledger.judged(NEWEST)? {
            let Judged { request_id: request, model, source, good, propensity, choice, .. } = judged;
            let Some(choice) = choice else { continue };
            let asked_twice = source != Source::Feedback;
            if choice.router == Some(router) {
                verdicts.outcomes.push(Outcome { request, choice, model, good, propensity, asked_twice });
            } else {
                verdicts.left_out += 1;
            }
        }
        Ok(verdicts)
    }
}

/// What the verdicts say.
#[derive(Debug, Serialize)]
pub struct Study {
    /// Verdicts that could be learned from.
    pub outcomes: usize,
    /// Verdicts that could not, for they are on decisions of another router.
    pub left_out: usize,
    /// The abilities they speak for.
    pub proposal: Abilities,
    /// How these do against those in force, on verdicts they were not made from.
    pub trial: Trial,
    /// The learner itself, for what it knows of each model.
    #[serde(skip)]
    pub learner: Learner,
}

/// Makes abilities of the ledger's verdicts on what this router decided, beginning at the configured ones, and tries them
/// against those in force. Blocking, for a fraction of a second where there are some thousand.
///
/// # Errors
/// [`LedgerError`] if the ledger cannot be read.
pub fn study(
    ledger: &Location,
    router: RouterId,
    configured: Abilities,
    in_force: &Abilities,
) -> Result<Study, LedgerError> {
    let Verdicts { outcomes, left_out } = Verdicts::read(&Reader::open(ledger)?, router)?;
    let mut learner = Learner::new(configured);
    let count = outcomes.len();
    outcomes.into_iter().for_each(|outcome| learner.learn(outcome));
    let (proposal, trial) = (learner.proposal(), learner.trial(in_force));
    Ok(Study { outcomes: count, left_out, proposal, trial, learner })
}
