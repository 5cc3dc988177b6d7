//! SHA-256 of files and streams, as the lower-case hexadecimal people compare.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{ModelError, Progress};

/// Bytes read or written at a time.
pub(crate) const CHUNK: usize = 256 * 1024;

/// A finished digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sha256Hex(String);

impl Sha256Hex {
    /// The digest of `bytes`.
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// Ends a running digest.
    pub(crate) fn finish(running: Sha256) -> Self {
        use std::fmt::Write;
        let mut hex = String::with_capacity(64);
        for byte in running.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// Whether this is the digest written as `expected`.
    pub(crate) fn is(&self, expected: &str) -> bool {
        self.0.eq_ignore_ascii_case(expected)
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Feeds the whole of `file` into `running`, reporting bytes as they go.
pub(crate) fn absorb(running: &mut Sha256, path: &Path, progress: &dyn Progress) -> Result<u64, ModelError> {
    let mut file = File::open(path).map_err(|e| ModelError::io("open", path, e))?;
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let n = file.read(&mut buffer).map_err(|e| ModelError::io("read", path, e))?;
        if n == 0 {
            return Ok(total);
        }
        running.update(&buffer[..n]);
        progress.advance(n as u64);
        total += n as u64;
    }
}

/// The digest of a whole file.
pub(crate) fn of_file(path: &Path, progress: &dyn Progress) -> Result<Sha256Hex, ModelError> {
    let mut running = Sha256::new();
    absorb(&mut running, path, progress)?;
    Ok(Sha256Hex::finish(running))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_standard_one() {
        let hex = Sha256Hex::of(b"abc");
        assert!(hex.is("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"), "{hex}");
    }
}
