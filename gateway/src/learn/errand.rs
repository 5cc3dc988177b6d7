//! One call that the gateway makes to learn something: held, sent, settled and on record as any other, but on nobody's
//! account and within a budget of its own. Of the request that it is made for it has the class of service that its body
//! asks for, and neither key, team, tags, run nor deadline.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tollgate_policies::{Hold, Policy, Price, ServiceTier, Spender, Usage, Usd};
use tollgate_router::Model;

use crate::app::App;
use crate::dispatch::read_whole;
use crate::ledger::{Account, End, HoldRow, LedgerError, Receipt, ReceiptStatus, Timings, now_ms};
use crate::operation::Operation;
use crate::stopwatch::{micros, millis};
use crate::upstream::Turn;
use crate::wire::openai::Answer;

/// A call to make.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) policy: &'a Policy,
    /// The request that it is made for.
    pub(super) request: &'a str,
    /// `shadow` or `judge`: the route of its receipt, and the end of its id.
    pub(super) purpose: &'static str,
    /// Place of the model asked.
    pub(super) place: usize,
    /// The chat body, with that model's name in it.
    pub(super) body: Bytes,
    /// The class of service that the body asks for.
    pub(super) service_tier: Option<ServiceTier>,
    /// The most it can cost.
    pub(super) worst: Usd,
    /// What it is expected to cost.
    pub(super) expected: Usd,
}

/// Why nothing came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The learning budget, or a global one, has no room.
    NoBudget,
    /// The ledger or the engine failed.
    Failed,
}

/// A call's hold and the beginning of its receipt. Dropped before the call has ended (the gateway stops), it is charged as
/// estimated: the engine may have answered.
struct Open<'a> {
    app: &'a App,
    price: &'a Price,
    expected: Usd,
    /// When it was sent.
    began: Instant,
    booked: Option<(Hold, Box<Receipt>)>,
}

impl Open<'_> {
    /// Puts the hold on record before anything is sent: a crash meanwhile must find the money spent.
    async fn record(&self) -> Result<(), LedgerError> {
        let Some((_, receipt)) = &self.booked else { return Ok(()) };
        let _writable = self.app.ledger.begin()?;
        self.app.ledger.hold(HoldRow::of(receipt)).await?.committed().await
    }

    /// What it may have cost, where nobody says: as expected, or for a model paid by time the time it had.
    fn estimate(&self) -> Usd {
        match self.price {
            Price::Tokens(_) => self.expected,
            hourly @ Price::Hourly(_) => {
                hourly.cost(&Usage { engine_us: micros(self.began.elapsed()), ..Usage::default() })
            }
        }
    }

    /// Nothing was sent.
    fn give_back(mut self) {
        if let Some((hold, receipt)) = self.booked.take() {
            hold.release();
            self.app.ledger.release_detached(receipt.request_id);
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Some((hold, mut receipt)) = self.booked.take() else { return };
        let cost = self.estimate();
        receipt.status = ReceiptStatus::Cancelled;
        receipt.usage_estimated = true;
        (receipt.cost, receipt.saved) = (cost, Usd::ZERO.saturating_sub(cost));
        hold.settle(cost);
        self.app.ledger.settle_detached(End { held: true, receipt, content: None });
    }
}

impl Errand<'_> {
    /// Makes the call; the answer's body.
    pub(super) async fn run(self) -> Result<Bytes, Unanswered> {
        let nobody = std::collections::BTreeMap::new();
        let spender =
            Spender { key: None, team: None, tags: &nobody, run: None, learning: Some(&self.policy.name) };
        let wants = self.app.budgets.wants(&spender, self.worst, now_ms());
        self.app.lease(wants).await.map_err(|_not_leased| Unanswered::NoBudget)?;
        let hold = self
            .app
            .budgets
            .reserve(&spender, self.worst, now_ms())
            .map_err(|_no_room| Unanswered::NoBudget)?;
        let receipt = self.receipt(&hold);
        let mut open = Open {
            app: self.app,
            price: &self.model().price,
            expected: self.expected,
            began: Instant::now(),
            booked: Some((hold, Box::new(receipt))),
        };
        if let Err(error) = open.record().await {
            tracing::warn!(%error, "not asked twice: what it costs could not be booked");
            open.give_back();
            return Err(Unanswered::Failed);
        }
        open.began = Instant::now();
        let upstream = &self.app.upstreams[self.place];
        let id = format!("{}-{}", self.request, self.purpose);
        // Nobody waits for it: it takes its turn beside those who pay.
        let turn = Turn { caller: Some(self.purpose), deadline: None };
        let answer = match upstream.ask(Operation::Chat, self.body.clone(), &id, turn).await {
            Ok(response) => {
                read_whole(Operation::Chat, response, upstream, self.app.limits.answer_wait).await
            }
            Err(failure) => Err(failure),
        };
        let estimate = open.estimate();
        let Some((hold, mut receipt)) = open.booked.take() else { return Err(Unanswered::Failed) };
        receipt.timings = Timings { total_ms: millis(open.began.elapsed()), ..Timings::default() };
        let (cost, answer) = match answer {
            Ok(body) => {
                let reported =
                    std::str::from_utf8(&body).ok().and_then(Answer::read).and_then(|said| said.usage());
                receipt.usage_estimated = reported.is_none();
                receipt.usage = self.timed(reported.unwrap_or_default(), open.began);
                let cost = reported.map_or(estimate, |_| self.model().price.cost(&receipt.usage));
                (cost, Ok(body))
            }
            Err(failure) => {
                tracing::info!(request = receipt.request_id, error = %failure, "a call made to learn failed");
                receipt.status = ReceiptStatus::Error;
                receipt.http_status = failure.notice().status.as_u16();
                receipt.usage_estimated = failure.may_have_cost();
                let cost = if failure.may_have_cost() { estimate } else { Usd::ZERO };
                (cost, Err(Unanswered::Failed))
            }
        };
        // Without the gateway this call would not have been made.
        (receipt.cost, receipt.saved) = (cost, Usd::ZERO.saturating_sub(cost));
        hold.settle(cost);
        self.app.metrics.lost(&self.model().name, None, cost);
        let settled = self.app.ledger.settle(End { held: true, receipt, content: None }).await;
        if let Err(error) = settled {
            tracing::error!(%error, "a receipt is not written yet");
        }
        answer
    }

    fn model(&self) -> &Model {
        &self.app.catalog.models()[self.place]
    }

    /// Engine time and class of service as the engine tells them, else as they were measured and asked for.
    fn timed(&self, mut usage: Usage, began: Instant) -> Usage {
        usage.service_tier = usage.service_tier.or(self.service_tier);
        if usage.engine_us == 0 {
            usage.engine_us = micros(began.elapsed());
        }
        usage
    }

    fn receipt(&self, hold: &Hold) -> Receipt {
        let model = self.model();
        Receipt {
            request_id: format!("{}-{}", self.request, self.purpose),
            at_ms: now_ms(),
            policy_name: self.policy.name.clone(),
            policy_sha: self.policy.sha.clone(),
            price_version: self.app.price_version.clone(),
            route: self.purpose.to_owned(),
            reason: format!("asked beside {} to learn from it", self.request),
            propensity: 1.0,
            selected: model.name.clone(),
            model: model.name.clone(),
            engine: model.engine.clone(),
            http_status: 200,
            estimate: self.expected,
            held: hold.amount(),
            accounts: hold.accounts().iter().map(Account::from).collect(),
            ..Receipt::default()
        }
    }
}
