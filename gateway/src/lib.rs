//! The gateway: HTTP in front, engines behind, money counted in between.
//!
//! One request reads in `complete`; `stack` holds every layer around it; `app` is what a request
//! needs. `wire` is the callers' dialect, `upstream` is where answers come from. The library exists
//! so that the command (`main`) and the integration tests share one body of code.

// The request path.
pub mod app;
pub mod body;
pub mod booking;
pub mod call;
pub mod complete;
pub mod content;
pub mod decision;
pub mod dispatch;
pub mod draft;
pub mod escalate;
pub mod feedback;
pub(crate) mod headers;
pub(crate) mod lanes;
pub mod layer;
pub mod operation;
pub mod plan;
pub mod relay;
pub mod reply;
pub mod request;
pub mod reserve;
pub mod route;
pub(crate) mod said;
pub mod server;
pub mod stack;
pub mod stick;
pub mod stopwatch;
pub mod upstream;
pub mod wind_down;
pub mod wire;

// The assembly around it: files, ledger, keys, metrics, the command line.
pub mod config;
pub mod engines;
pub mod keys;
pub mod labels;
pub mod learn;
pub mod leases;
pub mod ledger;
pub mod metrics;
pub mod pacing;
pub mod prices;
pub mod replay;
pub mod retention;
pub mod serve;
pub mod telemetry;
pub mod tokens;
pub mod warnings;
