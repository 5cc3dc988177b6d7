//! Turns a request into a score and a score into a decision.
