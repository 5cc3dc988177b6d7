//! Opening the ledger file: which file, who may write it, and refusing anything that is not a ledger.
//!
//! Nothing is written before the file is known to be new or ours. A gateway holds `FILE.lock` for as long as
//! it runs (the system frees it when the process dies, however it dies); commands that only read, and
//! `keys create`, do not need it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::LedgerError;
use super::schema;

/// How long a writer waits for another process's transaction.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// The ledger file named by `[ledger] url`, relative names lying in `data_dir`.
///
/// # Errors
/// [`LedgerError::Url`] for anything but `sqlite:FILE`.
pub(super) fn path_of_url(url: &str, data_dir: &Path) -> Result<PathBuf, LedgerError> {
    match url.strip_prefix("sqlite:").map(|file| file.strip_prefix("//").unwrap_or(file)) {
        Some(file) if !file.is_empty() => Ok(data_dir.join(file)),
        _ => Err(LedgerError::Url { url: url.to_owned() }),
    }
}

/// Exclusive use of a ledger by one gateway; ends with the value or the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock beside `ledger`, or says who has it.
    pub(crate) fn take(ledger: &Path) -> Result<Lock, LedgerError> {
        let path = suffixed(ledger, ".lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| LedgerError::ReadOnly { path: ledger.to_owned(), source })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::InUse { path: ledger.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(LedgerError::Io { path, source }),
        }
        // The number only serves the message above; failing to write it loses nothing else.
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| write!(file, "{}", std::process::id()));
        written.map_err(|source| LedgerError::ReadOnly { path: ledger.to_owned(), source })?;
        Ok(Lock { _file: file })
    }
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!(" (process {})", text.trim()),
        _ => String::new(),
    }
}

/// `path` with `suffix` appended to its file name.
fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens for writing, making directory and file where there are none, and brings the schema up to date, unless a gateway
/// of an older release is at work, which would go on as if it were still its own.
pub(crate) fn writable(path: &Path) -> Result<Connection, LedgerError> {
    open_for(path, || match Lock::take(path) {
        Err(LedgerError::InUse { path, holder }) => Err(LedgerError::Older { path, holder }),
        taken => taken.map(Some),
    })
}

/// Opens for writing for the gateway that has the lock.
pub(crate) fn owned(path: &Path, _lock: &Lock) -> Result<Connection, LedgerError> {
    open_for(path, || Ok(None))
}

/// Opens for writing; what `lock` gives is held while an older file is brought up to date.
fn open_for(
    path: &Path,
    lock: impl FnOnce() -> Result<Option<Lock>, LedgerError>,
) -> Result<Connection, LedgerError> {
    let read_only = |source| LedgerError::ReadOnly { path: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(read_only)?;
    }
    // Found out by opening for append, which changes nothing, so that the reason is the system's own.
    OpenOptions::new().append(true).create(true).open(path).map_err(read_only)?;
    let mut db = Connection::open(path).map_err(|error| explain(path, error))?;
    db.busy_timeout(BUSY_WAIT)?;
    refuse_others(&db, path)?;
    let is_older = schema::version(&db)? < schema::NEWEST && !schema::is_empty(&db)?;
    let _lock = if is_older { lock()? } else { None };
    tune(&db).and_then(|()| schema::migrate(&mut db)).map_err(|error| explain(path, error))?;
    Ok(db)
}

/// Opens for reading only; a running gateway is not disturbed. A file of an older release is brought up to date first.
pub(crate) fn readable(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(LedgerError::Missing { path: path.to_owned() });
    }
    let db = read_only(path)?;
    let version = schema::version(&db).map_err(|error| explain(path, error))?;
    if version == schema::NEWEST {
        return Ok(db);
    }
    drop((db, writable(path)?));
    read_only(path)
}

fn read_only(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| explain(path, error))?;
    db.busy_timeout(BUSY_WAIT)?;
    refuse_others(&db, path)?;
    if schema::is_empty(&db).map_err(|error| explain(path, error))? {
        return Err(LedgerError::Missing { path: path.to_owned() });
    }
    Ok(db)
}

/// Accepts a new file or one of ours no newer than this release.
fn refuse_others(db: &Connection, path: &Path) -> Result<(), LedgerError> {
    let explained = |error| explain(path, error);
    let application_id = schema::application_id(db).map_err(explained)?;
    let empty = schema::is_empty(db).map_err(explained)?;
    if application_id != schema::APPLICATION_ID && !empty {
        return Err(LedgerError::Foreign { path: path.to_owned(), application_id });
    }
    let found = schema::version(db).map_err(explained)?;
    if found > schema::NEWEST {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known: schema::NEWEST });
    }
    Ok(())
}

/// WAL with `synchronous = NORMAL`: a commit is a write into the log, which survives the process (`kill -9`)
/// without an fsync; a power cut may lose the last commits, never the file's integrity.
fn tune(db: &Connection) -> rusqlite::Result<()> {
    // For a new file: a receipt takes a third of SQLite's own 4 KiB, so a quarter of the page would stay empty, and what a page
    // of the log costs is mostly its two writes. (Larger ones make a commit of one receipt dearer.)
    db.pragma_update(None, "page_size", 8192)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "normal")?;
    // Folding the log in syncs, for which commits would wait: `fold` does it beside them. This is the last resort.
    db.pragma_update(None, "wal_autocheckpoint", 32_768)?;
    db.pragma_update(None, "cache_size", -8192)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Gives SQLite's codes the meaning they have to an operator.
pub(crate) fn explain(path: &Path, error: rusqlite::Error) -> LedgerError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => LedgerError::NotADatabase { path },
        Some(ErrorCode::DatabaseCorrupt) => LedgerError::Corrupt { path, source: error },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            LedgerError::ReadOnly { path, source: std::io::Error::other(error) }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            LedgerError::InUse { path, holder: " or another program".to_owned() }
        }
        _ => LedgerError::Database(error),
    }
}
