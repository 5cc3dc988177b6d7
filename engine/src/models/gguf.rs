//! GGUF files: reading with every bound checked, writing, and facts for people.

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file does not begin with GGUF's magic bytes.
    #[error("this is not a GGUF file")]
    NotGguf,
}
