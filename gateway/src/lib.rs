//! The gateway: HTTP in front, engines behind, money counted in between.
//!
//! One request reads in `complete`; `stack` holds every layer around it; `app` is what a request
//! needs. `wire` is the callers' dialect, `upstream` is where answers come from. The library exists
//! so that the command (`main`) and the integration tests share one body of code.

// The request path.

// The assembly around it: files, ledger, keys, metrics, the command line.
pub mod config;
pub mod keys;
pub mod ledger;
pub mod metrics;
pub mod telemetry;
