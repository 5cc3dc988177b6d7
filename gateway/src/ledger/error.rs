//! What can go wrong with the ledger, said so that the operator knows what to do next.
//!
//! Every variant's text names the file and the way out; SQLite's own wording stays in the source chain.

use std::path::{Path, PathBuf};

/// Failures of the ledger file, its writer, or a record given to it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The directory or file cannot be written.
    #[error(
        "the ledger {path} cannot be written: {source}\n    help: give this user write access to its directory, \
         or choose another with --data-dir"
    )]
    ReadOnly {
        /// The ledger file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process serves with this ledger.
    #[error(
        "the ledger {path} is in use by another gateway{holder}\n    help: stop that one, or give this one its own \
         --data-dir; two gateways on one file would each spend the same budget"
    )]
    InUse {
        /// The ledger file.
        path: PathBuf,
        /// " (process N)" where known, else empty.
        holder: String,
    },
    /// The file is an older release's, one of whose gateways is at work.
    #[error(
        "the ledger {path} is of an older release, of which a gateway is running{holder}\n    help: start that one anew \
         with this release, which brings the ledger up to date"
    )]
    Older {
        /// The ledger file.
        path: PathBuf,
        /// " (process N)" where known, else empty.
        holder: String,
    },
    /// The file is not an SQLite database at all.
    #[error(
        "{path} is not a ledger: it is not an SQLite database\n    help: name another file in [ledger] url; \
         this one was left as it is"
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A database, but somebody else's.
    #[error(
        "{path} is an SQLite database of another program (application id {application_id:#x})\n    help: name \
         another file in [ledger] url; this one was left as it is"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// SQLite's `application_id` found in it.
        application_id: i32,
    },
    /// Written by a newer release.
    #[error(
        "the ledger {path} has schema {found}, this release knows up to {known}\n    help: run the newer tollgate \
         that wrote it"
    )]
    Newer {
        /// The ledger file.
        path: PathBuf,
        /// Schema version found.
        found: i64,
        /// Newest schema version this release knows.
        known: i64,
    },
    /// SQLite found damage.
    #[error(
        "the ledger {path} is damaged: {source}\n    help: keep a copy, then restore a backup, or move it away to \
         start a new ledger"
    )]
    Corrupt {
        /// The ledger file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// No ledger where one was to be read.
    #[error(
        "there is no ledger at {path}\n    help: `tollgate serve` makes one; --data-dir says where to look"
    )]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// `[ledger] url` of a kind this release cannot use.
    #[error(
        "the ledger url {url:?} is not supported\n    help: write \"sqlite:FILE\", relative to the data directory, or \
         \"postgres://USER:PASSWORD@HOST/DATABASE\", best as \"env:NAME\" or \"file:PATH\""
    )]
    Url {
        /// The url as written.
        url: String,
    },
    /// Writes fail for now; what was accepted is kept in memory and tried again each second.
    #[error("the ledger cannot be written at the moment: {reason}")]
    Stalled {
        /// SQLite's reason (disk full, locked by another process, …).
        reason: String,
    },
    /// A second receipt for one request.
    #[error("request {request_id} already has a receipt")]
    Duplicate {
        /// The request.
        request_id: String,
    },
    /// A receipt's text could not be written or read back.
    #[error("a receipt cannot be encoded or decoded")]
    Receipt(#[from] serde_json::Error),
    /// What has to be known to go on cannot be read.
    #[error(
        "{what} of the ledger {} cannot be read, and what it was charged to would be missing from the budgets: {source}\n    \
         help: `tollgate ledger verify` tells what else is wrong; keep a copy, then restore a backup, or move the ledger away to \
         start a new one", .path.display()
    )]
    Unreadable {
        /// The ledger file.
        path: PathBuf,
        /// "receipt N" or "the hold of REQUEST".
        what: String,
        /// What is wrong with its text.
        source: serde_json::Error,
    },
    /// A key whose receipts cannot be forgotten yet.
    #[error(
        "the key {key:?} still works, and its budgets would begin anew\n    help: revoke it first: tollgate keys revoke {key}"
    )]
    LiveKey {
        /// The key.
        key: String,
    },
    /// There is no such key.
    #[error("there is no key {key:?}\n    help: `tollgate keys list` shows them")]
    NoSuchKey {
        /// The key.
        key: String,
    },
    /// The writer has stopped.
    #[error("the ledger is closed")]
    Closed,
    /// A server that cannot be connected to.
    #[error(
        "the ledger {location} cannot be reached: {}\n    help: check [ledger] url, and that the database is there and takes \
         connections from here", told(.source)
    )]
    Unreachable {
        /// The ledger, without its password.
        location: String,
        /// What the connection said.
        source: postgres::Error,
    },
    /// A server's database failed.
    #[error("the ledger's PostgreSQL failed: {}", told(.0))]
    Server(#[from] postgres::Error),
    /// The other gateways took this one for dead, and what it had leased is theirs.
    #[error("this gateway was cut off from the ledger for too long, and is signing on again")]
    Expired,
    /// Any other database failure.
    #[error("the ledger's database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// A file beside the ledger (export target, lock) failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl LedgerError {
    /// That `what` cannot be read, in a file that [`LedgerError::at`] names.
    pub(super) fn unreadable(what: String, source: serde_json::Error) -> LedgerError {
        LedgerError::Unreadable { path: PathBuf::new(), what, source }
    }

    /// The same, said as what it means for the file at `path`.
    pub(super) fn at(self, path: &Path) -> LedgerError {
        match self {
            LedgerError::Database(error) => super::explain(path, error),
            LedgerError::Unreadable { what, source, .. } => {
                LedgerError::Unreadable { path: path.to_owned(), what, source }
            }
            other => other,
        }
    }
}

/// What PostgreSQL said, without where in its source.
fn told(error: &postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
