//! Series by their description: each kind is made and registered in one step.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use super::money::MoneyCounter;
use super::series::Series;

/// Makes each kind of series and registers it.
pub(super) struct Registrar<'r>(pub(super) &'r Registry);

impl Registrar<'_> {
    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    pub(super) fn counter(&self, series: &Series) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::new(series.name, series.help)?)
    }

    pub(super) fn counters(&self, series: &Series) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(series.name, series.help), series.labels)?)
    }

    pub(super) fn money(&self, series: &Series) -> prometheus::Result<MoneyCounter> {
        self.add(MoneyCounter::new(series)?)
    }

    pub(super) fn int_gauge(&self, series: &Series) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::new(series.name, series.help)?)
    }

    pub(super) fn gauges(&self, series: &Series) -> prometheus::Result<GaugeVec> {
        self.add(GaugeVec::new(Opts::new(series.name, series.help), series.labels)?)
    }

    pub(super) fn histogram(&self, series: &Series) -> prometheus::Result<Histogram> {
        let options = HistogramOpts::new(series.name, series.help).buckets(series.buckets.to_vec());
        self.add(Histogram::with_opts(options)?)
    }

    pub(super) fn histograms(&self, series: &Series) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(series.name, series.help).buckets(series.buckets.to_vec());
        self.add(HistogramVec::new(options, series.labels)?)
    }
}
