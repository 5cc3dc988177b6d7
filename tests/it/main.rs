//! The integration tests, one module a topic, all in one binary so that they link once.

mod harness;
