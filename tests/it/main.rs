//! The integration tests, one module a topic, all in one binary so that they link once.
#![expect(clippy::panic, reason = "a test reports a failed expectation by panicking")]

mod budget;
mod calibrate;
mod chaos;
mod chat;
mod command;
mod content;
mod cost;
mod crash;
mod demand;
mod disk;
mod embeddings;
mod errors;
mod escalate;
mod harness;
mod keys;
mod learn;
mod observe;
mod overlap;
mod pacing;
mod policy;
mod prune;
mod quantize;
mod real;
mod replay;
mod report;
mod runs;
mod servers;
mod shared;
mod stage;
mod start;
mod stick;
mod stream;
mod trouble;
mod unusable;
mod worker;
