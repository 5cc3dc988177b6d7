//! Turns a request into a score, and a score into a decision.
//!
//! Two halves that meet in [`Score`]: `task`, `features`, `bag`, `graph`, `links` and `classify` read text and run the ONNX
//! graph (`calibrate` fits what it says to a user's own outcomes); `catalog`, `filter`, `objective` and `decision` are pure arithmetic over a checked policy.
//! Nothing here does network I/O, reads a clock for a decision, or keeps state between requests.

mod ability;
mod bag;
pub mod calibrate;
pub mod catalog;
mod chance;
mod choice;
pub mod classify;
mod decide;
pub mod decision;
pub mod error;
mod facts;
pub mod features;
mod filter;
mod graph;
mod identity;
pub mod learn;
mod links;
mod memo;
mod objective;
pub mod quality;
pub mod task;
pub mod tokens;

pub use ability::{Abilities, Ability, ability_by_mmlu_pro, known_abilities, known_ability, mmlu_pro_range};
pub use calibrate::{Calibration, CalibrationError, FitError, Label};
pub use catalog::{Capabilities, Catalog, Live, Model};
pub use choice::{Candidate, Choice};
pub use classify::{DOMAINS, OutputTokens, Score, Scorer};
pub use decide::decide;
pub use decision::{Decision, Needs, NoCandidate, RefusalKind, Verdict};
pub use error::RouterError;
pub use identity::{NoRouterId, RouterId};
pub use learn::{Evidence, Learner, Outcome, Trial};
pub use quality::QualityTable;
pub use task::{Role, Task, Turn};
pub use tokens::{PART_TOKENS, prompt_tokens, prompt_tokens_upper, text_tokens};
