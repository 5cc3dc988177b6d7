//! The callers' dialects: what is read from a request, what is metered in an answer, how errors look.
//!
//! Bodies stay the bytes they came as; parsers borrow from them and edits are splices at known offsets, so
//! fields nobody here knows pass through untouched.

pub mod error;
pub mod openai;
pub mod splice;
pub mod sse;
