//! What the KV memory holds of one sequence, as bytes that another context of the same model and settings can take.

use super::Context;
use llama_cpp_2::context::session::LlamaStateSeqFlags;

impl Context<'_> {
    /// Whether the memory holds what is said of the sequence: a copy's cells are moved with the next batch only.
    pub(crate) fn settled(&self, sequence: i32) -> bool {
        !self.copied.contains(&sequence)
    }

    /// Bytes of a sequence's state.
    pub(crate) fn state_bytes(&self, sequence: i32) -> usize {
        self.inner.state_seq_get_size_ext(sequence, LlamaStateSeqFlags::empty())
    }

    /// The state of a sequence; `None` where it cannot be had.
    pub(crate) fn state(&self, sequence: i32) -> Option<Vec<u8>> {
        if !self.settled(sequence) {
            return None;
        }
        let bytes = self.state_bytes(sequence);
        let mut state = vec![0_u8; bytes];
        // SAFETY: the buffer is as long as llama.cpp has just said that the state is, and nothing has changed it since: the
        // context is this thread's own.
        #[expect(unsafe_code, reason = "the bindings' safe way keeps the bytes to itself")]
        let written = unsafe {
            self.inner.state_seq_get_data_ext(state.as_mut_ptr(), sequence, LlamaStateSeqFlags::empty())
        };
        (bytes > 0 && written == bytes).then_some(state)
    }

    /// Has a sequence hold this state, and nothing else. False when it was refused, and the sequence holds nothing.
    ///
    /// The caller answers for the bytes being those of [`Context::state`], of the same build, model and settings.
    pub(crate) fn set_state(&mut self, sequence: i32, state: &[u8]) -> bool {
        // SAFETY: llama.cpp reads no further than the slice, and checks counts, types and sizes against its own memory; what
        // is wrong it refuses. That the rest is its own writing is told by the file's digest and key.
        #[expect(unsafe_code, reason = "the bindings take bytes on trust only")]
        let taken =
            unsafe { self.inner.state_seq_set_data_ext(state, sequence, LlamaStateSeqFlags::empty()) };
        let whole = taken && self.state_bytes(sequence) == state.len();
        if !whole {
            self.truncate(sequence, 0);
        }
        whole
    }
}
