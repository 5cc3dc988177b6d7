//! Whether a worker keeps its warm prefixes on disk while it does not run, and where.

use std::ffi::OsString;
use std::path::PathBuf;

/// Most megabytes of KV memory that are kept unless told otherwise.
pub const DEFAULT_SLOT_SAVE_MB: u32 = 256;

/// Where warm prefixes are kept from one run of a worker to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSave {
    /// The file, written when the worker ends and taken away when the next one starts. It holds what was said.
    pub file: PathBuf,
    /// Most megabytes of it.
    pub most_mb: u32,
}

impl SlotSave {
    /// The same as options of `tollgate engine`.
    #[must_use]
    pub fn arguments(&self) -> [OsString; 4] {
        let most = self.most_mb.to_string().into();
        ["--slot-save-file".into(), self.file.clone().into(), "--slot-save-mb".into(), most]
    }
}
