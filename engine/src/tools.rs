//! Tools that a model may call: how a call is forced in the form its template taught it, and found in what it wrote.
//!
//! Nothing here runs a tool. A forced call is held to the tool's own schema; a free one is read leniently, and what
//! only looks like a call stays text.

mod assemble;
mod head;
mod json;
mod python;
mod syntax;

pub(crate) use assemble::{Assembler, Part};
pub(crate) use syntax::{Forced, Syntax, instruction};

use serde_json::Value;

/// A function the model may call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// The JSON schema of its arguments.
    pub(crate) parameters: Value,
    /// Whether a schema that cannot be held to in full is refused.
    pub(crate) strict: bool,
    /// As the request describes it, which is what templates show.
    pub(crate) described: Value,
}

/// Whether the model calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It may.
    #[default]
    Auto,
    /// It may not.
    None,
    /// It calls one of the tools at least.
    Required,
    /// It calls this one.
    Function(String),
}

/// The tools of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tools {
    pub(crate) list: Vec<Tool>,
    pub(crate) choice: Choice,
    /// Whether an answer may hold several calls.
    pub(crate) parallel: bool,
}

impl Tools {
    /// Whether an answer may hold calls.
    pub(crate) fn callable(&self) -> bool {
        !self.list.is_empty() && self.choice != Choice::None
    }

    /// The tools of which one must be called; none where the model is free.
    pub(crate) fn forced(&self) -> Vec<&Tool> {
        match &self.choice {
            Choice::Auto | Choice::None => Vec::new(),
            Choice::Required => self.list.iter().collect(),
            Choice::Function(name) => self.list.iter().filter(|tool| tool.name == *name).collect(),
        }
    }

    /// Whether an answer may hold more than one call.
    pub(crate) fn several(&self) -> bool {
        self.parallel && !matches!(self.choice, Choice::Function(_))
    }
}
