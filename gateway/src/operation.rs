//! What a request asks of a model: an answer to a chat, or vectors of texts. The request path is the same for both.

use crate::wire::error::Fault;
use crate::wire::openai::Chat;

/// A paid operation, by its path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Operation {
    /// `/v1/chat/completions`.
    #[default]
    Chat,
    /// `/v1/embeddings`.
    Embeddings,
}

impl Operation {
    /// The operation that a path of ours stands for.
    #[must_use]
    pub fn of(path: &str) -> Operation {
        if path == "/v1/embeddings" { Operation::Embeddings } else { Operation::Chat }
    }

    /// Its name as OpenTelemetry has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Chat => "chat",
            Operation::Embeddings => "embeddings",
        }
    }

    /// Its path below an engine's `/v1`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Operation::Chat => "/chat/completions",
            Operation::Embeddings => "/embeddings",
        }
    }

    /// Reads a request body.
    ///
    /// # Errors
    /// [`Fault::Invalid`] naming the field, or the place in the text.
    pub fn read(self, body: &[u8]) -> Result<Chat<'_>, Fault> {
        match self {
            Operation::Chat => Chat::parse(body),
            Operation::Embeddings => Chat::parse_embeddings(body),
        }
    }
}
