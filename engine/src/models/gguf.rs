//! GGUF files: reading with every bound checked, writing, and facts for people.
//!
//! A file may be cut, forged or of another kind, so nothing that it says about sizes is believed before the
//! file's length has been asked; memory use is bounded by the file's own size. Tensor data is read on demand.
//! The crates on offer either only read, or believe the counts they read, hence this small module.

mod facts;
mod memory;
mod read;
mod tensor;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use facts::{Experts, GgufFacts, TypeShare, inspect};
pub use memory::memory_needed;
pub use read::Gguf;
pub use tensor::{Tensor, TensorType};
pub use value::Value;
pub use write::{NewTensor, Writer};

/// The alignment of tensor data when a file does not say otherwise, in bytes.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;

/// What is wrong with a GGUF file, or with what was to be written into one.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file does not begin with GGUF's magic bytes.
    #[error("this is not a GGUF file: it does not begin with `GGUF`")]
    NotGguf,
    /// A format version this program does not read.
    #[error("GGUF version {0} is not supported: versions 2 and 3 are, in little-endian byte order")]
    Version(u32),
    /// The file ends before what it announces.
    #[error("the file is cut or damaged: it ends in the middle of {0}")]
    Cut(&'static str),
    /// A count or length larger than the file could hold.
    #[error("the file is damaged: it announces {count} {of}, more than it has room for")]
    Absurd {
        /// What is counted.
        of: &'static str,
        /// The announced number.
        count: u64,
    },
    /// A value of a type that GGUF does not have, or arrays nested too deep.
    #[error("the file is damaged: value type {0} does not exist here")]
    ValueType(u32),
    /// A tensor whose description contradicts itself or the file.
    #[error("tensor `{name}` is damaged: {what}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Two entries of one name.
    #[error("`{0}` is there twice")]
    Duplicate(String),
    /// An alignment that is no power of two.
    #[error("the alignment {0} is not a power of two")]
    Alignment(u64),
    /// A key that is needed and not there, or of another type.
    #[error("the file has no usable `{0}`")]
    MissingKey(String),
    /// A tensor that is needed and not there, or of an unexpected shape or type.
    #[error("the file has no usable tensor `{0}`")]
    MissingTensor(String),
    /// The operating system's refusal.
    #[error("the file cannot be read or written")]
    Io(#[from] std::io::Error),
}
