//! What a request has used and what that costs: as the engine reports it, or as far as it is known here.

use tollgate_policies::{Usage, Usd};

use super::{Booking, Priced};
use crate::stopwatch::micros;

impl Booking {
    /// What the request costs with this usage on the model that serves, and with what was lost before.
    #[must_use]
    pub fn price(&self, usage: Usage) -> Priced {
        let usage = self.timed(usage);
        let cost = self.served_cost(usage).saturating_add(self.receipt.lost());
        let baseline = self.app.catalog.models()[self.baseline].price.cost(&usage);
        Priced { usage, cost, saved: baseline.saturating_sub(cost) }
    }

    /// What this usage costs on the model that serves, without what was lost before.
    #[must_use]
    pub fn served_cost(&self, usage: Usage) -> Usd {
        self.app.catalog.models()[self.serving].price.cost(&self.timed(usage))
    }

    /// The tokens that the model that serves has written as far as is known, for the case that the client goes away.
    pub fn produced(&mut self, completion_tokens: u64) {
        self.produced.completion_tokens = completion_tokens;
    }

    /// The same of all that was used, and whether it was counted here: who leaves after the engine has told pays what it told.
    pub fn so_far(&mut self, usage: Usage, estimated: bool) {
        (self.produced, self.estimated) = (usage, estimated);
    }

    /// A usage of this request with its prompt as estimated, for an engine that reports none.
    #[must_use]
    pub fn estimated(&self, completion_tokens: u64) -> Usage {
        Usage { completion_tokens, ..self.produced }
    }

    /// Engine time as the engine reports it, else the time it was waited for; and the class of service, else the one asked for.
    fn timed(&self, mut usage: Usage) -> Usage {
        usage.service_tier = usage.service_tier.or(self.produced.service_tier);
        if usage.engine_us == 0 {
            usage.engine_us = micros(self.watch.since_sent());
        }
        usage
    }
}
