//! Counters of money: summed as whole nanodollars, turned into dollars only when they are exposed.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts};
use tollgate_policies::Usd;

use super::series::Series;

/// A counter in USD that never adds floats.
#[derive(Debug, Clone)]
pub(super) struct MoneyCounter(IntCounterVec);

impl MoneyCounter {
    pub(super) fn new(series: &Series) -> prometheus::Result<MoneyCounter> {
        IntCounterVec::new(Opts::new(series.name, series.help), series.labels).map(MoneyCounter)
    }

    /// Adds an amount; a negative one counts as nothing (counters only rise).
    pub(super) fn add(&self, labels: &[&str], amount: Usd) {
        self.0.with_label_values(labels).inc_by(u64::try_from(amount.nanos()).unwrap_or(0));
    }
}

impl Collector for MoneyCounter {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        for metric in families.iter_mut().flat_map(|family| family.mut_metric().iter_mut()) {
            let nanos = metric.get_counter().get_value();
            let mut dollars = prometheus::proto::Counter::default();
            dollars.set_value(nanos / 1e9);
            metric.set_counter(dollars);
        }
        families
    }
}
